import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { install } from "../../release/install/install.ts";
import { publish, type Published } from "../../release/publish/publish.ts";
import {
  noise,
  plainSource,
  releaseId,
  tempDir,
  writeTree,
  type Tree,
} from "../../release/release.fixture.ts";
import { deltaName } from "../../release/tree/release-index.ts";
import { indexOf } from "../../release/fetch/tree-blobs.ts";
import { verifyInstall } from "../../release/install/verify-install.ts";
import { releaseIdOf } from "../../trust/document/documents.ts";
import { seal } from "../../trust/document/envelope.ts";
import { likelyFrom } from "./delta-pairs.ts";
import { at, startTestHub, type TestHub } from "../hub.fixture.ts";

interface Made {
  readonly published: Published;
  readonly id: ReleaseId;
}

/** Publishes a tree to the hub's depot, and its document when `isTold`. */
async function released(
  t: TestContext,
  hub: TestHub,
  tree: Tree,
  { app = "shop", isTold = true, says = {} } = {},
): Promise<Made> {
  const published = await publish({
    source: plainSource(writeTree(path.join(tempDir(t), "tree"), tree)),
    depot: httpDepot(hub.client),
    previous: null,
    now: 1_700_000_000_000,
    cacheDir: null,
    signal: t.signal,
  });
  const { tree: id, rows, since, files, bytes } = published;
  const body = {
    cluster: hub.cluster.id,
    app,
    tree: id,
    rows,
    since,
    commit: null,
    source: { kind: "dir" as const, name: app },
    builder: hub.cluster.operator.kid,
    created: at(),
    files,
    bytes,
    ...says,
  };
  const envelope = await seal("release.1", body, [hub.cluster.operator]);
  if (isTold) await hub.client.postRelease(envelope, t.signal);
  return { published, id: releaseIdOf(body) };
}

async function get(t: TestContext, hub: TestHub, name: string): Promise<Buffer> {
  return await buffer(Readable.from(httpDepot(hub.client).get(name, t.signal)));
}

const SMALL: Tree = { "skein.yaml": "app: shop\n", "run.js": "console.log(1);\n".repeat(50) };
const LARGE: Tree = { ...SMALL, "big.bin": noise(900_000, 3) };
const edited = Buffer.from(noise(900_000, 3));
edited.fill(1, 5000, 5100);

for (const [size, before, after] of [
  ["small", SMALL, { ...SMALL, "run.js": "console.log(2);\n".repeat(50) }],
  ["large", LARGE, { ...LARGE, "big.bin": edited }],
] as const) {
  test(`a ${size} release's deltas are made when it is published, and nodes follow them`, async (t) => {
    const hub = await startTestHub(t);
    const first = await released(t, hub, before);
    const revs = path.join(tempDir(t), "revs");
    const options = { revs, link: true, signal: t.signal, depots: [httpDepot(hub.client)] };
    await install({ ...options, release: releaseId(1), tree: first.published });
    const second = await released(t, hub, after);
    const installed = await install({ ...options, release: releaseId(2), tree: second.published });
    assert.deepEqual(await verifyInstall(revs, releaseId(2), second.published.tree, t.signal), []);
    assert.ok(installed.bytesFetched < 400, `${installed.bytesFetched} bytes`);
    const index = await indexOf(hub.hub.core.depot, second.published.tree, t.signal);
    assert.deepEqual(
      index?.deltas.map(({ from }) => from),
      [first.published.tree],
    );
    // Small ones are at hand for whoever is told of an order.
    const name = deltaName(second.published.tree, first.published.tree);
    await eventually("its proof", () => hub.hub.peers.hasProof(name));
  });
}

test("what most nodes come from is made at once, two other pairs a little later without being asked for", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  for (const seed of [1, 3, 4, 2]) await released(t, hub, { ...SMALL, more: noise(3000, seed) });
  const newest = await released(t, hub, { ...SMALL, more: noise(3000, 2), another: "x" });
  const { core, deltas } = hub.hub;
  const [likeliest, ...others] = likelyFrom(hub.hub, "shop", newest.published.tree).map(({ tree }) => tree);
  assert.ok(likeliest !== undefined);
  assert.equal(others.length, 2, "of the four releases before");
  const listed = async (): Promise<unknown> =>
    (await indexOf(core.depot, newest.published.tree, t.signal))?.deltas.map(({ from }) => from);
  await deltas.need(deltaName(newest.published.tree, likeliest), t.signal);
  assert.deepEqual(await listed(), [likeliest]);
  clock.advance(3000);
  while (!isDeepStrictEqual(await listed(), [...others.toReversed(), likeliest])) await setImmediate();
});

test("to a release that another one followed only the delta is made that most nodes come by", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const { core } = hub.hub;
  const made: Made[] = [];
  for (const seed of [1, 3, 5, 7]) made.push(await released(t, hub, { ...SMALL, more: noise(3000, seed) }));
  const listed = async ({ published }: Made): Promise<number> =>
    (await indexOf(core.depot, published.tree, t.signal))?.deltas.length ?? 0;
  const [, , before, newest] = made as [Made, Made, Made, Made];
  while ((await listed(newest)) < 1) await setImmediate();
  clock.advance(3000);
  while ((await listed(newest)) < 3) await setImmediate();
  assert.equal(await listed(before), 1);
});

test("a small delta is at hand before the depot has it", async (t) => {
  const hub = await startTestHub(t);
  const { core, peers } = hub.hub;
  const first = await released(t, hub, SMALL);
  const second = await released(t, hub, { ...SMALL, "run.js": "console.log(2);\n".repeat(50) });
  const name = deltaName(second.published.tree, first.published.tree);
  await eventually("its proof", () => peers.hasProof(name), { everyMs: 0 });
  const { bytes } = await peers.proof(name);
  await eventually("the delta", async () => (await core.depot.has([name], t.signal)).has(name));
  assert.deepEqual(Buffer.from(bytes ?? []), await get(t, hub, name));
});

test("a release that is larger than its document says is not compared beside the hub's other work", async (t) => {
  const hub = await startTestHub(t);
  const says = { bytes: 1, files: 1 };
  const before = await released(t, hub, LARGE, { says });
  const after = await released(t, hub, { ...LARGE, "big.bin": edited }, { says });
  const name = deltaName(after.published.tree, before.published.tree);
  await hub.hub.deltas.need(name, t.signal);
  assert.equal((await hub.hub.core.depot.has([name], t.signal)).size, 0);
});

test("a delta that nobody made is made for whoever asks first, once", async (t) => {
  const hub = await startTestHub(t);
  const made: Made[] = [];
  for (let i = 0; i < 5; i++) made.push(await released(t, hub, { ...SMALL, more: noise(3000, i + 1) }));
  const [oldest] = made;
  const newest = await released(t, hub, { ...SMALL, more: noise(3000, 1), another: "x" });
  const name = deltaName(newest.published.tree, oldest?.published.tree ?? newest.published.tree);
  const [one, two] = await Promise.all([get(t, hub, name), get(t, hub, name)]);
  assert.ok(one.length > 0);
  assert.deepEqual(one, two);
  const index = await indexOf(hub.hub.core.depot, newest.published.tree, t.signal);
  const listed = index?.deltas.filter(({ from }) => from === oldest?.published.tree);
  assert.deepEqual(listed, [{ from: oldest?.published.tree, bytes: one.length }]);
});

test("what is not a pair of one app's releases is not made", async (t) => {
  const hub = await startTestHub(t);
  const shop = await released(t, hub, SMALL);
  const other = await released(t, hub, { ...SMALL, other: "app" }, { app: "other" });
  const unknown = await released(t, hub, { ...SMALL, un: "told" }, { isTold: false });
  for (const from of [other, unknown]) {
    const name = deltaName(shop.published.tree, from.published.tree);
    await assert.rejects(get(t, hub, name), { code: "BLOB_MISSING" });
  }
  const nonsense = `deltas/${"0".repeat(64)}.${"1".repeat(64)}`;
  await assert.rejects(get(t, hub, nonsense), { code: "BLOB_MISSING" });
});

test("a pair that packs serve better is asked for in vain, and looked at once (long)", async (t) => {
  const hub = await startTestHub(t);
  const first = await released(t, hub, { a: noise(400_000, 1) });
  const second = await released(t, hub, { a: noise(400_000, 2) });
  const name = deltaName(second.published.tree, first.published.tree);
  await assert.rejects(get(t, hub, name), { code: "BLOB_MISSING" });
  const noted = await eventually("it was looked at", async () => {
    const index = await indexOf(hub.hub.core.depot, second.published.tree, t.signal);
    return index?.deltas[0];
  });
  assert.deepEqual(noted, { from: first.published.tree, bytes: 0 });
  await assert.rejects(get(t, hub, name), { code: "BLOB_MISSING" });
});

test("a hub that stops while it makes a delta leaves nothing half-made", async (t) => {
  const hub = await startTestHub(t);
  await released(t, hub, LARGE);
  const second = await released(t, hub, { ...LARGE, "big.bin": edited });
  await hub.close();
  const left = await fs.readdir(path.join(hub.hub.core.depot.scratch, "blobs/deltas")).catch(() => []);
  const index = await indexOf(hub.hub.core.depot, second.published.tree, t.signal);
  assert.ok((index?.deltas.length ?? 0) <= left.length, "the index lists nothing that is not there");
});
