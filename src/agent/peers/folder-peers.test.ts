/** Nodes whose only meeting place is a folder, as with a bucket: nobody hints hashes, and everybody is proved. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Report } from "../../api/schemas.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import type { TrafficLimits } from "../../depot/traffic/traffic.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { silentLog } from "../../lib/process/log.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { testCluster, testNode, type TestCluster, type TestNode } from "../../trust/cluster.fixture.ts";
import { newNodeState } from "../../trust/node/node-state.ts";
import { NearDepots } from "../source/depots.ts";
import { directorySource } from "../source/source-directory.ts";

const BYTES = randomBytes(5 * 2 ** 20);

/** @param begin where it begins; what is before that comes last */
async function reading(near: NearDepots, t: TestContext, begin = 0): Promise<Map<string, number>> {
  const by = new Map<string, number>();
  const [first] = near.readers();
  const counted = first?.counted?.((kind, bytes) => by.set(kind, (by.get(kind) ?? 0) + bytes));
  assert.ok(counted !== undefined);
  const pieces: Uint8Array[] = [];
  for await (const piece of counted.get("packs/a", t.signal, { start: begin, end: BYTES.length }))
    pieces.push(piece);
  for await (const piece of counted.get("packs/a", t.signal, { start: 0, end: begin })) pieces.push(piece);
  assert.ok(Buffer.concat(pieces).equals(Buffer.concat([BYTES.subarray(begin), BYTES.subarray(0, begin)])));
  return by;
}

async function openNode(
  t: TestContext,
  dir: string,
  cluster: TestCluster,
  node: TestNode,
  limits: TrafficLimits = {},
): Promise<NearDepots> {
  const { signer, ticket, enrol, identity } = node;
  const paths = pathsFrom({ SKEIN_HOME: path.join(dir, identity.name) });
  fs.mkdirSync(paths.lib, { recursive: true });
  const state = newNodeState(cluster.envelope, cluster.pin, Date.now());
  const place = { name: identity.name, address: () => "127.0.0.1", bind: "127.0.0.1" };
  const near = await NearDepots.open({
    options: { paths, clock: systemClock, log: silentLog, near: { limits }, ...place },
    signer,
    store: { state, apply: async () => [] },
  });
  atEnd(t, async () => await near[Symbol.asyncDispose]());
  const source = await directorySource(path.join(dir, "hub"), signer.kid);
  near.source = () => source;
  const documents = { ticket, enrol, label: null, revoke: null };
  const rest = { etag: "-", incarnation: "-", catchingUp: false, duplicate: false };
  const lists = { charters: [cluster.envelope], apps: [], commands: [], lastReceipts: [] };
  const wanted = JSON.stringify({ ...rest, ...lists, identity: documents });
  fs.writeFileSync(path.join(dir, "hub/wanted", `${signer.kid}.json`), wanted);
  const report: Report = {
    boot: "boot-0001",
    at: new Date().toISOString(),
    address: "127.0.0.1",
    endpoint: await near.endpoint(),
    version: "0",
    knows: [],
    receipts: [],
    instances: [],
    apps: [],
    progress: [],
  };
  await source.report(report, t.signal);
  return near;
}

async function world(t: TestContext): Promise<{ dir: string; cluster: TestCluster }> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-folder-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const blob = {
    size: BYTES.length,
    sha256: createHash("sha256").update(BYTES).digest("hex"),
    async *open() {
      yield BYTES;
    },
  };
  await directoryDepot(path.join(dir, "hub/depot")).put("packs/a", blob, t.signal);
  return { dir, cluster: await testCluster() };
}

test("the folder gives each piece about once, and the nodes the rest to each other", async (t) => {
  const { dir, cluster } = await world(t);
  const nodes: NearDepots[] = [];
  for (const name of ["a", "b", "c", "d"])
    nodes.push(await openNode(t, dir, cluster, await testNode(cluster, name)));
  const read = await Promise.all(nodes.map(async (near) => await reading(near, t)));
  const sum = (kind: string): number => read.reduce((all, by) => all + (by.get(kind) ?? 0), 0);
  assert.ok(sum("directory") <= 1.5 * BYTES.length, `${sum("directory") / BYTES.length} copies`);
  assert.ok(sum("peer") >= 2 * BYTES.length);
});

test("two nodes with one transfer at a time each do not wait for each other", async (t) => {
  const { dir, cluster } = await world(t);
  const nodes: NearDepots[] = [];
  for (const name of ["a", "b"])
    nodes.push(await openNode(t, dir, cluster, await testNode(cluster, name), { atOnce: 1 }));
  // Each asks the other for what that one does not want itself yet.
  const half = BYTES.length / 2;
  const read = await Promise.all(nodes.map(async (near, n) => await reading(near, t, n * half)));
  const sum = (kind: string): number => read.reduce((all, by) => all + (by.get(kind) ?? 0), 0);
  // Whoever lost patience would have had its piece from the folder.
  assert.ok(sum("directory") <= 1.1 * BYTES.length, `${sum("directory") / BYTES.length} copies`);
});

test("who lays a report of its own there without a birth certificate is asked nothing, and given nothing", async (t) => {
  const { dir, cluster } = await world(t);
  const stranger = await testNode(await testCluster(), "x");
  const [own, other] = [
    await openNode(t, dir, cluster, await testNode(cluster, "a")),
    await openNode(t, dir, cluster, stranger),
  ];
  assert.equal((await reading(own, t)).get("directory"), BYTES.length);
  assert.equal((await reading(other, t)).get("peer") ?? 0, 0);
});
