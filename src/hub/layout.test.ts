import assert from "node:assert/strict";
import test from "node:test";
import { directoryDepot } from "../depot/directory.ts";
import type { KeyId } from "../lib/ids.ts";
import { silentLog } from "../lib/log.ts";
import { publish, type Published } from "../release/publish.ts";
import { plainSource, tempDir, writeTree } from "../release/release.fixture.ts";
import { at, CLUSTER, orderBody, testCluster } from "../trust/cluster.fixture.ts";
import { releaseIdOf, type Order } from "../trust/documents.ts";
import { seal, type Envelope } from "../trust/envelope.ts";
import { layouts } from "./layout.ts";

const MANIFEST = `
app: shop
processes:
  web: { run: node web.js, on: role=web, after: [say] }
  say: { run: node say.js }
`;
const [WEB, OTHER] = ["1".repeat(32) as KeyId, "2".repeat(32) as KeyId];
const nodes = {
  identity: (node: KeyId) => ({
    node,
    name: node === WEB ? "w" : "o",
    labels: node === WEB ? { role: "web" } : { role: "db" },
    serial: 0,
  }),
};

async function sealed({
  tree,
  rows,
  since,
  files,
  bytes,
}: Published): Promise<{ order: Order; envelope: Envelope }> {
  const { alice } = await testCluster();
  const body = {
    cluster: CLUSTER,
    app: "shop",
    tree,
    rows,
    since,
    commit: null,
    source: { kind: "dir" as const, name: "shop" },
    builder: alice.kid,
    created: at(0),
    files,
    bytes,
  };
  const order = orderBody(1, { release: releaseIdOf(body) });
  return { order, envelope: await seal("release.1", body, [alice]) };
}

test("what processes wait for, and where they run, is read from the release", async (t) => {
  const dir = writeTree(tempDir(t), { "skein.yaml": MANIFEST, "web.js": "1", "say.js": "2" });
  const depot = directoryDepot(tempDir(t));
  const options = { depot, previous: null, now: 0, cacheDir: null, signal: t.signal };
  const { order, envelope } = await sealed(await publish({ ...options, source: plainSource(dir) }));
  const core = { depot, log: silentLog, signal: t.signal };
  const layout = await layouts({ core, nodes, releases: { get: () => envelope } })(order);
  assert.deepEqual(layout.after, { web: ["say"], say: [] });
  assert.deepEqual(layout.processesOn(WEB), ["web", "say"]);
  assert.deepEqual(layout.processesOn(OTHER), ["say"]);

  const elsewhere = { ...core, depot: directoryDepot(tempDir(t)) };
  const none = await layouts({ core: elsewhere, nodes, releases: { get: () => envelope } })(order);
  assert.deepEqual(none.after, {});
});
