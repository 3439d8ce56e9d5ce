/** An operator of one app who writes where all read: what becomes of the others' releases. */
import assert from "node:assert/strict";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { HubClient } from "../../api/hub-client.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { bytesBlob, readBlob } from "../../release/fetch/blobs.ts";
import { install } from "../../release/install/install.ts";
import { compress, encodePack, packName, type EncodedPack } from "../../release/tree/pack.ts";
import { publish, type Published, type PublishOptions } from "../../release/publish/publish.ts";
import {
  noise,
  plainSource,
  readTree,
  releaseId,
  tempDir,
  writeTree,
  type Tree,
} from "../../release/release.fixture.ts";
import { decodeIndex, encodeIndex, indexName, type DeltaRef } from "../../release/tree/release-index.ts";
import { seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { at, charterWithOperator, operatorClient, startTestHub, type TestHub } from "../hub.fixture.ts";

interface World {
  readonly hub: TestHub;
  /** May deploy `blog` alone. */
  readonly bob: HubClient;
  publish(tree: Tree, more?: Partial<PublishOptions>): Promise<Published>;
  /** Says whose a tree is. */
  release(app: string, tree: Published, client?: HubClient): Promise<void>;
  /** What a new node gets. */
  installed(tree: Published): Promise<Record<string, string | Buffer | null>>;
}

async function world(t: TestContext): Promise<World> {
  const hub = await startTestHub(t);
  const key = generateSigner();
  await hub.client.postCharter(await charterWithOperator(hub.cluster, key, ["deploy:blog/default"]));
  const bob = await operatorClient(hub.cluster, hub.address, key);
  atEnd(t, () => bob.close());
  const dir = tempDir(t);
  let times = 0;
  return {
    hub,
    bob,
    publish: async (tree, more = {}) =>
      await publish({
        source: plainSource(writeTree(path.join(dir, `source-${(times += 1)}`), tree)),
        depot: httpDepot(hub.client),
        previous: null,
        now: 1_700_000_000_000,
        cacheDir: null,
        signal: t.signal,
        ...more,
      }),
    async release(app, { tree, rows, since, files, bytes }, client = hub.client) {
      const signer = client === bob ? key : hub.cluster.operator;
      const made = {
        cluster: hub.cluster.id,
        app,
        tree,
        rows,
        since,
        commit: null,
        source: { kind: "dir", name: app } as const,
        builder: signer.kid,
        created: at(),
        files,
        bytes,
      };
      await client.postRelease(await seal("release.1", made, [signer]));
    },
    async installed(tree) {
      const revs = path.join(dir, `revs-${(times += 1)}`);
      const depots = [httpDepot(hub.client)];
      const done = await install({
        release: releaseId(times),
        tree,
        depots,
        revs,
        link: true,
        signal: t.signal,
      });
      return readTree(done.dir);
    },
  };
}

/** The client's own way to put a blob, whatever its name says. */
const put = async (t: TestContext, client: HubClient, name: string, bytes: Buffer): Promise<void> =>
  await httpDepot(client).put(name, bytesBlob(bytes), t.signal);

const putPack = async (t: TestContext, client: HubClient, pack: EncodedPack): Promise<void> =>
  await put(t, client, packName(pack.id), Buffer.concat(pack.pieces));

const packOf = (
  chunk: Buffer,
  lists: Parameters<typeof encodePack>[2] = new Map(),
  id = digestOf(chunk),
): EncodedPack => {
  const frame = compress(chunk, 3);
  const chunks = [{ id: id as string as ChunkId, length: chunk.length }];
  return encodePack([{ length: frame.length, chunks }], frame, lists);
};

const indexOf = async (t: TestContext, { hub }: World, { tree }: Published) =>
  decodeIndex(await readBlob(httpDepot(hub.client), indexName(tree), 1_000_000, t.signal));

test("tables are held to what their names say (long)", async (t) => {
  const it = await world(t);
  const tree = await it.publish({ a: "one", b: "two" });
  await it.release("shop", tree);
  for (const name of [`rows/${tree.rows}`, `since/${tree.since}`]) {
    await assert.rejects(put(t, it.bob, name, Buffer.from("garbage")), { code: "TREE_CORRUPT" }, name);
    const bomb = Buffer.concat([Buffer.from([0, 0, 0, 4]), compress(Buffer.alloc(2 ** 26), 3)]);
    await assert.rejects(put(t, it.bob, name, bomb), { code: "TREE_CORRUPT" }, name);
  }
  assert.deepEqual(await it.installed(tree), { a: "one", b: "two" });
});

test("a pack holds the chunks that its head names", async (t) => {
  const it = await world(t);
  const bytes = Buffer.from("what somebody will publish");
  const lies = [
    packOf(Buffer.alloc(bytes.length), new Map(), digestOf(bytes)),
    { ...packOf(bytes), pieces: [Buffer.from("skpack1\n no head")] },
    { ...packOf(bytes), pieces: [...packOf(bytes).pieces, Buffer.from("more")] },
  ].map((pack) => ({ ...pack, id: digestOf(Buffer.concat([...pack.pieces])) }));
  for (const [n, pack] of lies.entries()) {
    await assert.rejects(putPack(t, it.bob, pack), { code: /^(CHUNK|PACK)_CORRUPT$/ }, String(n));
  }
  const taken = { ...packOf(Buffer.from("nothing of it")), id: packOf(bytes).id };
  await assert.rejects(putPack(t, it.bob, taken), {
    code: "BAD_REQUEST",
    message: /bytes of another digest$/,
  });
  assert.deepEqual(await it.installed(await it.publish({ a: bytes })), { a: bytes.toString() });
});

test("a pack that lies about how a file is cut keeps nobody from publishing that file", async (t) => {
  const it = await world(t);
  const [file, other] = [noise(600_000, 3), noise(20_000, 5)];
  const own = noise(30_000, 7);
  const list = [{ id: digestOf(own) as string as ChunkId, length: own.length }];
  await putPack(t, it.bob, packOf(own, new Map([[digestOf(file), list]])));
  for (const tree of [
    { file, own },
    { file, own, other },
  ]) {
    assert.deepEqual(await it.installed(await it.publish(tree)), tree);
  }
});

test("an index that leads to a release is not replaced by who may not deploy it", async (t) => {
  const it = await world(t);
  const tree = await it.publish({ a: "one" });
  await it.release("shop", tree);
  const before = await indexOf(t, it, tree);
  const pack = packOf(Buffer.from("bob's"));
  await putPack(t, it.bob, pack);
  const other = encodeIndex({ packs: [pack.id], deltas: [] });
  // Whoever has a release of the same tree has no more to say.
  await it.release("blog", tree, it.bob);
  await put(t, it.bob, indexName(tree.tree), other);
  assert.deepEqual(await indexOf(t, it, tree), before);
  assert.deepEqual(await it.installed(tree), { a: "one" });
  await assert.rejects(put(t, it.bob, indexName(tree.tree), Buffer.from("garbage")), {
    code: "PACK_CORRUPT",
  });
});

test("an index that leads nowhere is replaced by who publishes its tree", async (t) => {
  const it = await world(t);
  const tree = { a: "one", b: noise(300_000, 3) };
  const published = await it.publish(tree);
  await it.hub.client.raw({ method: "DELETE", path: `/v1/depot/blobs/${indexName(published.tree)}` });
  const pack = packOf(Buffer.from("bob's"));
  await putPack(t, it.bob, pack);
  await put(t, it.bob, indexName(published.tree), encodeIndex({ packs: [pack.id], deltas: [] }));
  await it.release("blog", published, it.bob);
  await it.release("shop", published);
  assert.deepEqual(await it.installed(await it.publish(tree)), tree);
});

test("a client's index says nothing of deltas, and takes none away", async (t) => {
  const it = await world(t);
  const tree = await it.publish({ a: "one" });
  const { packs } = await indexOf(t, it, tree);
  const [made, bogus] = ["1", "2"].map((digit): DeltaRef => ({ from: digit.repeat(64) as never, bytes: 7 }));
  const { depot } = it.hub.hub.core;
  await depot.put(
    indexName(tree.tree),
    bytesBlob(encodeIndex({ packs, deltas: [made as DeltaRef] })),
    t.signal,
  );
  const pack = packOf(Buffer.from("more"));
  await putPack(t, it.hub.client, pack);
  const sent = { packs: [pack.id, ...packs], deltas: [bogus as DeltaRef] };
  await put(t, it.hub.client, indexName(tree.tree), encodeIndex(sent));
  assert.deepEqual(await indexOf(t, it, tree), { packs: sent.packs, deltas: [made] });
});

test("what no release consists of is for admins, and what the hub goes by for nobody", async (t) => {
  const it = await world(t);
  const bytes = Buffer.from("x");
  for (const name of [
    `owners/${"0".repeat(32)}`,
    `deltas/${"a".repeat(64)}.${"b".repeat(64)}`,
    "deltas",
    "upkeep/1",
  ]) {
    await assert.rejects(put(t, it.hub.client, name, bytes), { code: "BAD_REQUEST" }, name);
  }
  for (const name of ["packs", "index", `packs/${"1".repeat(64)}/x`, "anything/else", "rows/short"]) {
    await assert.rejects(put(t, it.bob, name, bytes), { code: "NOT_AUTHORISED" }, name);
  }
});

test("a blob that is longer than one of its kind can be is refused before it comes", async (t) => {
  const it = await world(t);
  const headers = (name: string, size: number) => ({
    "upload-offset": "0",
    "upload-length": String(size),
    "upload-sha256": name.slice(-64),
  });
  const zeros = "0".repeat(64);
  for (const [name, size] of [
    [`packs/${zeros}`, 2 ** 26],
    [`rows/${zeros}`, 2 ** 27],
    [`index/${zeros}`, 2 ** 21],
  ] as const) {
    const request = {
      method: "PUT",
      path: `/v1/depot/blobs/${name}`,
      headers: headers(name, size),
      body: "x",
    };
    await assert.rejects(it.bob.raw(request), { code: "BAD_REQUEST" }, name);
  }
});
