import assert from "node:assert/strict";
import fs, { readFile, readlink } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { agentOptions, answer, webApp } from "../../agent/agent.fixture.ts";
import { runAgent } from "../../agent/agent.ts";
import { endKeeper } from "../../agent/runtime/runtime.fixture.ts";
import { joinBucket } from "../../agent/node/join-bucket.ts";
import { bucketSource } from "../../agent/source/source-bucket.ts";
import { nodeKeys } from "../../agent/node/node-keys.ts";
import { joinNode } from "../../agent/node/open-node.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { orderName } from "../../bucket/layout.ts";
import { remakeRoot } from "../../bucket/publish.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { jsonLog, silentLog } from "../../lib/process/log.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { parseCarriedTicket } from "../../trust/members/carried-ticket.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import { inviteToBucket } from "./bucket-invite.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

/** An agent with its keeper that knows nothing but the bucket and the fingerprint. */
async function agent(world: BucketWorld, name: string, line?: string): Promise<() => Promise<void>> {
  const paths = pathsFrom({ SKEIN_HOME: path.join(world.dir, name) });
  const { bucket, pin } = world;
  const stop = new AbortController();
  const running = runAgent({
    ...agentOptions(paths, name),
    source: async (_keys, store) =>
      await Promise.resolve(
        bucketSource(store, { bucket, wish: () => true, everyMs: 60, clock: systemClock, log: silentLog }),
      ),
    begin: async (stateDir, keys) =>
      await joinBucket({ bucket, line, pin, name, stateDir, keys, clock: systemClock, signal: stop.signal }),
    log: silentLog,
    clock: systemClock,
    signal: stop.signal,
  });
  const ended = running.then(
    () => undefined,
    (err: unknown) => err,
  );
  const end = async (): Promise<void> => {
    stop.abort();
    assert.equal(await ended, undefined);
  };
  world.onEnd(async () => {
    await end();
    await endKeeper(paths.run);
  });
  return end;
}

/** The old version is gone, too. */
async function handedOver(world: BucketWorld, name: string): Promise<void> {
  const record = path.join(world.dir, name, "lib", "state", "apps", "shop.json");
  await eventually("the end of the hand-over", async () => {
    const { attempt } = JSON.parse(await readFile(record, "utf8")) as { attempt: unknown };
    return await Promise.resolve(attempt === null);
  });
}

test("an agent pulls a service from a bucket, updates it, and brings it back without the bucket's help", async (t) => {
  const world = await bucketWorld(t);
  const port = await freePort();
  const end = await agent(world, "n1");
  const serves = async (version: string): Promise<void> => {
    await eventually(`version ${version}`, async () => (await answer(port)) === version);
  };
  await world.jump(await world.spool("shop", webApp(port, "v1")));
  await serves("v1");
  await world.jump(await world.spool("shop", webApp(port, "v2")));
  await serves("v2");
  await handedOver(world, "n1");
  await end();
  assert.equal(await answer(port), "v2", "the agent's end stops nobody");
  await agent(world, "n1");
  await world.jumpBack("shop");
  await serves("v1");
});

test("a node that was invited has its labels, for its agent and for sync on the same machine", async (t) => {
  const world = await bucketWorld(t);
  const wish = { name: "web1", labels: { role: "web" }, validMs: 60_000 };
  const { line } = await inviteToBucket(await world.operator(), wish, t.signal);
  const end = await agent(world, "n1", line);
  await world.jump(await world.spool("site", { version: "v1" }), { selector: "role=db" });
  await world.jump(await world.spool("site", { version: "v2" }), { selector: "role=web" });
  const at = path.join(world.dir, "n1", "lib", "apps", "site", "current", "version");
  await eventually("the order for its role", async () => await readFile(at, "utf8"));
  await end();
  const paths = pathsFrom({ SKEIN_HOME: path.join(world.dir, "n1") });
  const machine = world.machine("n1", ["site"], { paths });
  assert.equal((await machine.sync()).isDone, true);
  assert.equal(await readFile(path.join(machine.root, "site/current/version"), "utf8"), "v2");
  const stranger = world.machine("n2", ["site"]);
  await stranger.sync();
  assert.equal(stranger.current("site"), undefined);
});

test("a ticket holds a node to what was for it, and to nothing that only the root says", async (t) => {
  const world = await bucketWorld(t);
  const { documents } = world.bucket;
  await world.jump(await world.spool("site", { version: "v1" }));
  await world.jump(await world.spool("site", { version: "v2" }), { selector: "role=web" });
  await world.jump(await world.spool("site", { version: "v3" }), { selector: "role=db" });
  const void9 = orderName({ app: "site", env: "default", epoch: 0, seq: 9_000_000, digest: null });
  await documents.write(void9, Buffer.from("{}"), {}, t.signal);
  await remakeRoot({ documents, clock: systemClock, signal: t.signal });
  const floorFor = async (labels: Readonly<Record<string, string>>) => {
    const wish = { name: null, labels, validMs: 60_000 };
    const { line } = await inviteToBucket(await world.operator(), wish, t.signal);
    return readUnverified(parseCarriedTicket(line).ticket, "ticket.1").floor["site/default"]?.seq;
  };
  assert.deepEqual([await floorFor({ role: "web" }), await floorFor({ role: "db" })], [2, 3]);
  const { line } = await inviteToBucket(
    await world.operator(),
    { name: "n1", labels: {}, validMs: 60_000 },
    t.signal,
  );
  await agent(world, "n1", line);
  const at = path.join(world.dir, "n1", "lib", "apps", "site", "current", "version");
  assert.equal(await eventually("what was for all", async () => await readFile(at, "utf8")), "v1");
});

test("a ticket is for one cluster and one time, and what is none is refused", async (t) => {
  const world = await bucketWorld(t);
  const operator = await world.operator();
  const { bucket, pin } = world;
  const keys = await nodeKeys(path.join(world.dir, "etc"));
  const join = async (line: string, now = Date.now()): Promise<unknown> =>
    await joinBucket({
      bucket,
      line,
      pin,
      name: "n",
      stateDir: world.dir,
      keys,
      clock: fakeClock(now),
      signal: t.signal,
    });
  const { line } = await inviteToBucket(operator, { name: null, labels: {}, validMs: 60_000 }, t.signal);
  await assert.rejects(join(line, Date.now() + 61_000), { code: "TICKET_EXPIRED" });
  const other = await bucketWorld(t);
  const foreign = await inviteToBucket(
    await other.operator(),
    { name: null, labels: {}, validMs: 60_000 },
    t.signal,
  );
  await assert.rejects(join(foreign.line), { code: "CHARTER_PIN" });
  for (const bad of ["", "skj1_x@h:1", "skjb1_", `${line}x`, line.slice(0, 40)]) {
    await assert.rejects(join(bad), { code: "TICKET_BAD" });
  }
});

test("a bucket that does not answer while a machine joins is waited for, and not for ever", async (t) => {
  const world = await bucketWorld(t);
  const wish = { name: "n1", labels: {}, validMs: 60_000 };
  const { line } = await inviteToBucket(await world.operator(), wish, t.signal);
  const paths = pathsFrom({ SKEIN_HOME: path.join(world.dir, "n1") });
  let away = 2;
  const read: Bucket["documents"]["read"] = async (...asked) => {
    if (away-- > 0) throw new SkeinError("DEPOT_UNREACHABLE", "s3.example.org does not answer");
    return await world.bucket.documents.read(...asked);
  };
  const bucket = { ...world.bucket, documents: { ...world.bucket.documents, read } };
  const said: string[] = [];
  const clock = { ...systemClock, sleep: async () => await Promise.resolve() };
  const { pin } = world;
  const machine = (): Parameters<typeof joinNode>[0] => ({
    paths,
    name: "host",
    begin: async (stateDir, keys) =>
      await joinBucket({ bucket, line, pin, name: "host", stateDir, keys, clock, signal: t.signal }),
    log: jsonLog((text) => said.push(text)),
    clock,
    signal: t.signal,
  });
  await joinNode(machine());
  assert.match(said[1] ?? "", /"warn","msg":"waiting for the bucket, to join".*"triesLeft":13/);
  assert.match(said[2] ?? "", /"joined".*"node":"n1"/);
  await fs.rm(path.join(paths.lib, "state"), { recursive: true });
  away = Infinity;
  await assert.rejects(joinNode(machine()), {
    code: "DEPOT_UNREACHABLE",
    hint: /^See that this machine reaches the bucket's server; then type the same line/,
  });
  assert.equal(said.length, 3 + 14);
});

test("without a hub each node begins a spread order at its own moment", async (t) => {
  const world = await bucketWorld(t);
  const port = await freePort();
  await agent(world, "n1");
  await world.jump(await world.spool("shop", webApp(port, "v1")), { spreadMs: 3_000_000_000 });
  await world.jump(await world.spool("other", { "post-jump.sh": "true" }));
  const current = path.join(world.dir, "n1", "lib", "apps", "other", "current");
  await eventually("the order without a spread", async () => await readlink(current));
  await assert.rejects(answer(port), "the other one waits");
});
