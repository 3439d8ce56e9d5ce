import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { home, seenBy, serve } from "./chain.fixture.ts";
import { renewed } from "./credentials.ts";
import { sharedS3Server } from "./s3-server.fixture.ts";

const server = sharedS3Server({ conditional: false });
const KEYS = { AccessKeyId: "test:tester", SecretAccessKey: "testing" };
const ENDS = { Expiration: "2099-01-01T00:00:00Z" };

const SHARED = "[default]\naws_access_key_id = test:tester\naws_secret_access_key = testing\n";

test("keys are taken from variables, or those that are named Skein's", async (t) => {
  const named = { SKEIN_AWS_ACCESS_KEY_ID: "test:tester", SKEIN_AWS_SECRET_ACCESS_KEY: "testing" };
  const wrong = { AWS_ACCESS_KEY_ID: "test:tester", AWS_SECRET_ACCESS_KEY: "wrong" };
  assert.equal(await seenBy(t, await server(), { ...wrong, ...named, HOME: home(t, {}) }), "found");
  assert.match(await seenBy(t, await server(), { ...wrong, HOME: home(t, {}) }), /^DEPOT_DENIED /);
});

test("keys are taken from the shared files: the default profile, a named one, a process of a profile (long)", async (t) => {
  assert.equal(await seenBy(t, await server(), { HOME: home(t, { credentials: SHARED }) }), "found");
  const maker = path.join(
    home(t, { "keys.json": JSON.stringify({ Version: 1, ...KEYS, ...ENDS }) }),
    ".aws/keys.json",
  );
  const config = `[profile far]\ncredential_process = cat ${maker}\n[profile broken]\ncredential_process = false hunter2`;
  const env = { HOME: home(t, { config, credentials: SHARED.replace("testing", "wrong") }) };
  assert.equal(await seenBy(t, await server(), { ...env, AWS_PROFILE: "far" }), "found");
  const stale = { AWS_ACCESS_KEY_ID: "test:tester", AWS_SECRET_ACCESS_KEY: "wrong" };
  const good = { ...stale, AWS_SECRET_ACCESS_KEY: "testing" };
  assert.match(await seenBy(t, await server(), { ...env, ...stale, AWS_PROFILE: "far" }), /^DEPOT_DENIED /);
  assert.equal(await seenBy(t, await server(), { ...env, ...good, AWS_PROFILE: "broken" }), "found");
  assert.equal(await seenBy(t, await server(), { ...env, ...stale, SKEIN_AWS_PROFILE: "far" }), "found");
  assert.equal(await seenBy(t, await server(), { ...env, ...stale }, "?profile=far"), "found");
  const broken = await seenBy(t, await server(), { ...env, SKEIN_AWS_PROFILE: "broken" });
  assert.match(broken, /^DEPOT_CREDENTIALS /);
  assert.ok(!broken.includes("hunter2"), broken);
});

test("keys are taken from a container's or pod's agent, and from the machine's role", async (t) => {
  const pod = await serve(t, ({ headers }) =>
    headers.authorization === "a token" ? JSON.stringify({ ...KEYS, Token: "", ...ENDS }) : undefined,
  );
  const token = path.join(home(t, { token: "a token" }), ".aws/token");
  const inPod = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${pod}/v1`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
  };
  assert.equal(await seenBy(t, await server(), { ...inPod, HOME: home(t, {}) }), "found");
  const machine = await serve(t, ({ method, url = "", headers }) => {
    if (method === "PUT" && url === "/latest/api/token") return "session";
    if (headers["x-aws-ec2-metadata-token"] !== "session") return undefined;
    const role = "/latest/meta-data/iam/security-credentials/";
    if (url === role) return "releases";
    return url === `${role}releases`
      ? JSON.stringify({ Code: "Success", ...KEYS, Token: "", ...ENDS })
      : undefined;
  });
  const onMachine = { AWS_EC2_METADATA_DISABLED: "false", AWS_EC2_METADATA_SERVICE_ENDPOINT: machine };
  assert.equal(await seenBy(t, await server(), { ...onMachine, HOME: home(t, {}) }), "found");
});

test("where there are none, that is said", async (t) => {
  assert.match(
    await seenBy(t, await server(), { HOME: home(t, {}) }),
    /^DEPOT_CREDENTIALS no credentials for S3/,
  );
});

test("credentials are loaded once for many who ask, renewed before they end, and again when they are refused", async () => {
  const clock = fakeClock();
  let loads = 0;
  const source = renewed(clock, async () => {
    loads += 1;
    return await Promise.resolve({
      accessKeyId: String(loads),
      secretAccessKey: "",
      expiresMs: clock.now() + 3_600_000,
    });
  });
  await Promise.all([source.get(), source.get(), source.get()]);
  assert.equal(loads, 1);
  clock.advance(3_600_000 - 6 * 60_000);
  assert.equal((await source.get()).accessKeyId, "1");
  clock.advance(2 * 60_000);
  assert.equal((await source.get()).accessKeyId, "2");
  const second = await source.get();
  assert.deepEqual(await Promise.all([source.refused(second), source.refused(second)]), [true, true]);
  assert.equal((await source.get()).accessKeyId, "3");
  assert.deepEqual([await source.refused(second), loads], [true, 3], "others are here already");
});

test("keys that are rotated in the shared files while a process lives are read when the old ones are refused", async (t) => {
  const before = home(t, { credentials: SHARED.replace("testing", "wrong") });
  const file = path.join(before, ".aws/credentials");
  const said = await seenBy(t, await server(), { HOME: before }, "", [file, SHARED]);
  assert.match(said, /^DEPOT_DENIED .*, then found$/);
});

test("keys that are refused and stay the same are not tried again", async () => {
  const source = renewed(fakeClock(), async () =>
    Promise.resolve({ accessKeyId: "a", secretAccessKey: "b" }),
  );
  assert.equal(await source.refused(await source.get()), false);
});

test("of credentials that live shortly new ones are looked for at half of what is left, and not for each request", async () => {
  const clock = fakeClock();
  const endsAt = clock.now() + 60_000;
  let loads = 0;
  let fails = false;
  const source = renewed(clock, async () => {
    loads += 1;
    await Promise.resolve();
    if (fails) throw new Error("nobody answers");
    return { accessKeyId: "a", secretAccessKey: "b", expiresMs: endsAt };
  });
  for (const [passedMs, loaded] of [
    [0, 1],
    [29_000, 1],
    [2000, 2],
    [14_000, 2],
    [1000, 3],
  ] as const) {
    clock.advance(passedMs);
    await Promise.all([source.get(), source.get(), source.get()]);
    assert.equal(loads, loaded, `after ${passedMs} ms more`);
  }
  fails = true;
  clock.advance(7000);
  for (const _request of [1, 2, 3]) assert.equal((await source.get()).accessKeyId, "a", "they are good yet");
  assert.equal(loads, 4, "what failed is tried again as seldom");
  clock.advance(7000);
  await assert.rejects(source.get(), { code: "DEPOT_CREDENTIALS" });
});

test("a failure to load is not kept", async () => {
  let fails = true;
  const source = renewed(fakeClock(), async () => {
    if (fails) throw new Error("not yet\nand more");
    return await Promise.resolve({ accessKeyId: "a", secretAccessKey: "b" });
  });
  await assert.rejects(source.get(), {
    code: "DEPOT_CREDENTIALS",
    message: "no credentials for S3: not yet",
  });
  fails = false;
  assert.equal((await source.get()).accessKeyId, "a");
});
