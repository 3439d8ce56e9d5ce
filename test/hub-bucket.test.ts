/** A hub whose releases lie in an S3 bucket: real hub, agents, commands and S3 server. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { openBucket } from "../src/depot/s3/bucket.ts";
import { s3Depot } from "../src/depot/s3/s3-depot.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { get } from "./support/answers.ts";
import { FAST, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { startCluster } from "./support/cluster.ts";
import { processesIn } from "./support/processes.ts";

const server = sharedS3Server({ conditional: false });

test("a hub keeps its releases in a bucket, makes deltas there, tidies it up, and needs no folder of its own for them (long)", async (t) => {
  const s3 = await server();
  const address = `s3://${await s3.makeBucket()}/skein`;
  const hubEnv = { ...s3.env, SKEIN_DEPOT: address };
  await using cluster = await startCluster({ signal: t.signal, hubEnv });
  await cluster.addNode("n1");
  const large = randomBytes(1_200_000);
  const source = await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": serverSource("one"),
  });
  await fs.writeFile(path.join(source, "large.bin"), large);
  await cluster.okIn(source, "deploy", ...FAST);
  assert.equal((await get(await urlOf(cluster, "shop", "n1"))).text, "one");

  using bucket = await openBucket(address, s3.env);
  const stored = async (prefix: string): Promise<string[]> =>
    await Array.fromAsync(s3Depot(bucket, "").list(prefix, t.signal));
  assert.equal((await stored("owners/")).length, 1, "the bucket is this cluster's from its first charter on");
  assert.equal((await stored("packs/")).length, 1);
  large.fill(7, 500_000, 500_100);
  await fs.writeFile(path.join(source, "large.bin"), large);
  await fs.writeFile(path.join(source, "server.js"), serverSource("two"));
  await cluster.okIn(source, "deploy", ...FAST);
  // Until the settle has come to the node, the old instance stands in the port table beside the new one.
  await cluster.until(
    "n1 serves it",
    async () => (await get(await urlOf(cluster, "shop", "n1"))).text === "two",
  );
  await cluster.until("the delta is in the bucket", async () => (await stored("deltas/")).length === 1);

  // Another machine takes the hub's place, with its state and without what it kept of the bucket.
  await cluster.hub.kill();
  for (const name of ["cache", "spool"])
    await fs.rm(path.join(cluster.hub.home, "lib/hub", name), { recursive: true, force: true });
  await cluster.hub.start();
  await cluster.addNode("n2");
  await cluster.until(
    "n2 serves",
    async () => (await get(await urlOf(cluster, "shop", "n2"))).text === "two",
  );
  assert.match((await cluster.ok("gc", "--depot")).stdout, /in use/);
  const secret = s3.env["AWS_SECRET_ACCESS_KEY"];
  assert.ok(secret !== undefined);
  const seen = [await cluster.hub.printed(), ...processesIn(cluster.dir).map(({ command }) => command)];
  assert.ok(seen.length > 4);
  for (const text of seen) assert.ok(!text.includes(secret), "the bucket's key is in no log and no argv");
  assert.equal((await stored("owners/")).length, 1);

  // A second cluster in the same place would lose its releases to the first one's collections.
  const other = await cluster.skein(["init", "--bucket", address], {
    home: path.join(cluster.dir, "other"),
    env: { ...s3.env, SKEIN_HOME: path.join(cluster.dir, "other") },
  });
  assert.notEqual(other.code, 0);
  assert.match(other.stderr, /keeps the releases of cluster.*WRONG_CLUSTER/s);
});

test("a hub says at once what is wrong with its bucket, and starts all the same when its server is away (long)", async (t) => {
  const s3 = await server();
  const address = `s3://${await s3.makeBucket()}`;
  await using cluster = await startCluster({ signal: t.signal });
  const hub = async (words: readonly string[], env: Readonly<Record<string, string>>) =>
    await cluster.skein(["hub", "--listen", "127.0.0.1:0", ...words], {
      home: path.join(cluster.dir, "second"),
      env: { ...s3.env, ...env },
    });
  const refusals: readonly [RegExp, readonly string[], Readonly<Record<string, string>>][] = [
    [/is no bucket.*USAGE/s, ["--depot", "/srv/skein"], {}],
    [/BUCKET_NOT_FOUND/, ["--depot", "s3://no-such-bucket"], {}],
    [/DEPOT_DENIED/, ["--depot", address], { AWS_SECRET_ACCESS_KEY: "wrong" }],
  ];
  for (const [said, words, env] of refusals) {
    const { code, stderr } = await hub(words, env);
    assert.notEqual(code, 0, String(said));
    assert.match(stderr, said);
  }
  await using away = await startCluster({
    signal: t.signal,
    hubEnv: { ...s3.env, SKEIN_DEPOT: address, AWS_ENDPOINT_URL: "http://127.0.0.1:9" },
  });
  assert.match(await away.hub.printed(), /the depot cannot be reached/);
});
