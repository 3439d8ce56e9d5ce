import assert from "node:assert/strict";
import test from "node:test";
import { directoryDepot } from "../../depot/directory/directory.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import { publish, type Published } from "../../release/publish/publish.ts";
import { plainSource, tempDir, writeTree } from "../../release/release.fixture.ts";
import { at, CLUSTER, orderBody, testCluster } from "../../trust/cluster.fixture.ts";
import { releaseIdOf, type Order } from "../../trust/document/documents.ts";
import { readUnverified, seal, type Envelope } from "../../trust/document/envelope.ts";
import { Layouts } from "./layout.ts";

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
  const parts = { nodes, releases: { get: () => envelope }, orders: { appEnvs: () => [] } };
  const layout = await new Layouts({ ...parts, core }).of(order);
  assert.deepEqual(layout.after, { web: ["say"], say: [] });
  assert.deepEqual(layout.processesOn(WEB), ["web", "say"]);
  assert.deepEqual(layout.processesOn(OTHER), ["say"]);

  const elsewhere = { ...core, depot: directoryDepot(tempDir(t)) };
  const none = await new Layouts({ ...parts, core: elsewhere }).of(order);
  assert.deepEqual(none.after, {});
});

test("a release is read when it is published, and once for each environment", async (t) => {
  const dir = writeTree(tempDir(t), { "skein.yaml": MANIFEST, "web.js": "1", "say.js": "2" });
  const depot = directoryDepot(tempDir(t));
  const options = { depot, previous: null, now: 0, cacheDir: null, signal: t.signal };
  const { order, envelope } = await sealed(await publish({ ...options, source: plainSource(dir) }));
  const asked: string[] = [];
  const counting = {
    ...depot,
    get: (...args: Parameters<typeof depot.get>) => {
      asked.push(args[0]);
      return depot.get(...args);
    },
  };
  const layouts = new Layouts({
    core: { depot: counting, log: silentLog, signal: t.signal },
    nodes,
    releases: { get: () => envelope },
    orders: {
      appEnvs: () => [
        { app: "shop", env: order.env },
        { app: "other", env: "elsewhere" },
      ],
    },
  });
  layouts.expect(readUnverified(envelope, "release.1"));
  assert.deepEqual((await layouts.of(order)).after, { web: ["say"], say: [] });
  const once = asked.length;
  assert.ok(once > 0);
  await layouts.of(order);
  assert.equal(asked.length, once);
  await layouts.of({ ...order, env: "elsewhere" });
  assert.ok(asked.length > once, "another environment may say something else");
});

test("a release that could not be read is looked at again", async (t) => {
  const dir = writeTree(tempDir(t), { "skein.yaml": MANIFEST, "web.js": "1", "say.js": "2" });
  const [depot, empty] = [directoryDepot(tempDir(t)), directoryDepot(tempDir(t))];
  const options = { depot, previous: null, now: 0, cacheDir: null, signal: t.signal };
  const { order, envelope } = await sealed(await publish({ ...options, source: plainSource(dir) }));
  const core = { depot: empty, log: silentLog, signal: t.signal };
  const parts = { nodes, releases: { get: () => envelope }, orders: { appEnvs: () => [] } };
  const layouts = new Layouts({ ...parts, core });
  layouts.expect(readUnverified(envelope, "release.1"));
  assert.deepEqual((await layouts.of(order)).after, {});
  core.depot = depot;
  assert.deepEqual((await layouts.of(order)).after, { web: ["say"], say: [] });
});
