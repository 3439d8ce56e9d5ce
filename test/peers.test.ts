/** Agents that fetch from each other: real hub, real agents, real connections. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { nodeKeys } from "../src/agent/node/node-keys.ts";
import { HubClient } from "../src/api/hub-client.ts";
import { splitAddress } from "../src/api/hub-address.ts";
import { badMiddle } from "../src/depot/s3/bad-middle.fixture.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { PeerClient } from "../src/depot/peers/peer-client.ts";
import { invite } from "../src/operator/nodes/nodes.ts";
import { spkiDigestOf } from "../src/trust/keys/keys.ts";
import { tlsIdentity } from "../src/trust/connection/tls.ts";
import { startCluster, type AgentProcess, type Cluster, type NodeOptions } from "./support/cluster.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";

const MIB = 2 ** 20;
const server = sharedS3Server({ conditional: false });

/** Nodes that are invited by the operator in this process: a command each would take longer. */
async function addNodes(cluster: Cluster, all: readonly NodeOptions[]): Promise<AgentProcess[]> {
  const operator = await cluster.operator();
  const nodes = all.map((options, n) => ({ name: `n${cluster.nodes.length + n + 1}`, options }));
  const lines: string[] = [];
  for (const { name, options } of nodes) {
    const wish = { name, labels: options.labels ?? {}, validMs: 600_000, replace: null };
    lines.push((await invite(operator, wish, cluster.signal)).line);
  }
  return await Promise.all(
    nodes.map(async ({ name, options }, n) => await cluster.startNode(name, lines[n] ?? "", options)),
  );
}

/** An agent within limits. */
const limited = (flag: string, rate: string): NodeOptions => ({ within: () => ["env", `${flag}=${rate}`] });

/** Content of so many bytes that nothing makes smaller. */
async function writeNoise(cluster: Cluster, bytes: number): Promise<string> {
  const dir = path.join(cluster.dir, "src", "noise");
  await fs.mkdir(dir, { recursive: true });
  await fs.writeFile(path.join(dir, "skein.yaml"), "app: noise\nkind: files\n");
  await fs.writeFile(path.join(dir, "noise.bin"), randomBytes(bytes));
  return dir;
}

/** Bytes of the newest order's release by where they came from, over all nodes. */
async function sourcesOf(cluster: Cluster): Promise<Record<string, number>> {
  const { client } = await cluster.operator();
  const sum: Record<string, number> = {};
  for (const { apps } of (await client.nodes(cluster.signal)).nodes) {
    for (const [source, bytes] of Object.entries(apps.find(({ app }) => app === "noise")?.sources ?? {}))
      sum[source] = (sum[source] ?? 0) + (bytes ?? 0);
  }
  return sum;
}

/** Bytes that a node's cache holds. */
async function cachedBytes(node: AgentProcess): Promise<number> {
  const dir = path.join(node.home, "lib/cache/packs");
  const files = existsSync(dir) ? await fs.readdir(dir, { recursive: true, withFileTypes: true }) : [];
  let sum = 0;
  for (const file of files.filter((entry) => entry.isFile())) {
    const { size } = await fs.stat(path.join(file.parentPath, file.name)).catch(() => ({ size: 0 }));
    sum += size;
  }
  return sum;
}

const isPlaced = async (node: AgentProcess): Promise<boolean> => {
  const revs = path.join(node.home, "lib/apps/noise/revs");
  const found = existsSync(revs) ? await fs.readdir(revs) : [];
  return found.some((name) => /^[0-9a-f]{32}$/.test(name) && existsSync(path.join(revs, name, "noise.bin")));
};

/** @param copies most that the hub may give of the release, to so many nodes */
async function isShared(cluster: Cluster, nodes: number, copies: number): Promise<void> {
  const bytes = 12 * MIB;
  await addNodes(
    cluster,
    Array.from({ length: nodes }, () => ({})),
  );
  const source = await writeNoise(cluster, bytes);
  await cluster.okIn(source, "deploy", "--bake", "0s", "--all-at-once");
  let sources: Record<string, number> = {};
  await cluster.until("every node has told where its bytes came from", async () => {
    sources = await sourcesOf(cluster);
    const came = Object.values(sources).reduce((sum, one) => sum + one, 0);
    return came >= nodes * bytes;
  });
  assert.ok((sources["hub"] ?? 0) <= copies * bytes, JSON.stringify(sources));
  assert.ok((sources["peer"] ?? 0) >= (nodes - 0.5 - copies) * bytes, JSON.stringify(sources));
}

test("five nodes fetch a release for what it costs the hub to give it about once", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await isShared(cluster, 5, 1.5);
});

test("so they do where the hub's releases lie in a bucket, which gives it about once as well (long)", async (t) => {
  const s3 = await server();
  const middle = await badMiddle(t, s3);
  let given = 0;
  middle.distort = (request, body) => {
    if (request.method === "GET" && (request.url ?? "").includes("/packs/")) given += body.length;
    return body;
  };
  const hubEnv = { ...middle.env, SKEIN_DEPOT: `s3://${await s3.makeBucket()}` };
  await using cluster = await startCluster({ signal: t.signal, hubEnv });
  await isShared(cluster, 3, 1.5);
  assert.ok(given <= 1.5 * 12 * MIB, `${given} bytes`);
});

test("a peer and then the hub are killed in the middle, and a revoked node is given nothing (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const slowly = limited("SKEIN_LIMIT_UP", "1MB");
  const [one] = await addNodes(cluster, [slowly, slowly]);
  const source = await writeNoise(cluster, 8 * MIB);
  await cluster.okIn(source, "cp", "--from", ".");
  const [late] = await addNodes(cluster, [{}]);
  assert.ok(one !== undefined && late !== undefined);
  // What it lacks flows at the two peers' pace. The command outlives whoever sent it, until its time is over.
  const sent = cluster.skein(["--timeout", "1m", "cp", "noise", "--on", "n3"], { cwd: source });
  await cluster.until("the third is in the middle of it", async () => (await cachedBytes(late)) > MIB);
  await one.kill();
  await cluster.until("it goes on without the first", async () => (await cachedBytes(late)) > 2 * MIB);
  assert.equal(await isPlaced(late), false);
  await cluster.hub.kill();
  await cluster.until("it has everything", async () => await isPlaced(late));
  await sent;
  await cluster.hub.start();
  await one.start();
  await cluster.present("n1");
  await refusedOnceRevoked(cluster, one, late);
});

/** Asks `node` as `other`, whose key is on this machine, once an operator has revoked it. */
async function refusedOnceRevoked(cluster: Cluster, node: AgentProcess, other: AgentProcess): Promise<void> {
  const asked = await nodeKeys(path.join(node.home, "etc"));
  const { signer } = await nodeKeys(path.join(other.home, "etc"));
  const identity = tlsIdentity(signer.privateKey, "n3");
  using hub = new HubClient({ hubs: [{ spki: cluster.hub.key, address: cluster.hubAddress }], identity });
  let address = "";
  await cluster.until("the hub names it as a peer", async () => {
    const { peers } = await hub.call("peers", { query: {} });
    address = peers?.find((peer) => peer.node === asked.signer.kid)?.address ?? "";
    return address !== "";
  });
  const place = { ...splitAddress(address), spki: spkiDigestOf(asked.signer.pub) };
  const [pack = ""] = await fs.readdir(path.join(node.home, "lib/cache/packs"));
  const want = { name: `packs/${pack}`, start: 0, end: 100 };
  const how = { held: true, patienceMs: () => 5000, signal: cluster.signal };
  await cluster.ok("node", "rm", "n3", "--yes");
  using client = new PeerClient(identity);
  await assert.rejects(client.ask("n1", place, want, how), { code: "UNKNOWN_CLIENT" });
}

test("a node behind a slow line slows nobody else (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const [slow, ...others] = await addNodes(cluster, [limited("SKEIN_LIMIT_RATE", "64KiB"), {}, {}, {}]);
  assert.ok(slow !== undefined);
  const source = await writeNoise(cluster, 8 * MIB);
  // Nobody waits for its end, which the slow one has long to come to.
  const { command, args } = cluster.program;
  const at = { cwd: source, env: cluster.env(cluster.operatorHome), log: path.join(cluster.dir, "cp.log") };
  cluster.processes.start(command, [...args, "--timeout", "2m", "cp", "--from", "."], at);
  for (const node of others) {
    const placed = async (): Promise<boolean> => await isPlaced(node);
    await eventually(`${node.name} has it`, placed, { signal: t.signal });
  }
  assert.equal(await isPlaced(slow), false);
  assert.ok((await cachedBytes(slow)) < 4 * MIB, "the others did not wait for it");
});
