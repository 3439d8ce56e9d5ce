import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { directoryDocuments } from "../depot/directory/directory-documents.ts";
import type { DocumentStore } from "../depot/seam/documents.ts";
import { sharedS3Server, type S3Server } from "../depot/s3/s3-server.fixture.ts";
import { orderBody, release, testCluster } from "../trust/cluster.fixture.ts";
import type { Order } from "../trust/document/documents.ts";
import { digestOfEnvelope } from "../trust/document/envelope.ts";
import { openBucket } from "./bucket.ts";
import { entryOf, folder, lateListings, tools, unconditional } from "./bucket.fixture.ts";
import { listRoot, namesUnder, readCharters, readOrderEntry, readRoot } from "./entries.ts";
import { withLateListing } from "./late-listing.ts";
import { orderName, orderPlaceOf, releaseName, releasePlace } from "./layout.ts";
import { ordersOf, publishCharters, publishOrder, publishRelease, withdrawRelease } from "./publish.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

const MADE = 1_800_000_000_000;
const plainServer = sharedS3Server({ conditional: false });
const comparingServer = sharedS3Server({ conditional: true });

/** By what it is, and whether it compares: that is found out, on a server. */
const KINDS = [
  ["a folder", async (t: TestContext) => directoryDocuments(folder(t))],
  ["a folder that cannot compare", async (t: TestContext) => unconditional(directoryDocuments(folder(t)))],
  [
    "a server whose listings are late",
    async (t: TestContext) => withLateListing(lateListings(directoryDocuments(folder(t)))),
  ],
  ["an S3 server", async (t: TestContext) => await onServer(t, await plainServer(), false)],
  ["an S3 server that compares", async (t: TestContext) => await onServer(t, await comparingServer(), true)],
] as const;

async function onServer(t: TestContext, server: S3Server, compares: boolean) {
  const address = `s3://${await server.makeBucket()}/some/prefix`;
  const bucket = await openBucket(address, { env: server.env, writing: true, signal: t.signal });
  atEnd(t, () => bucket[Symbol.dispose]());
  assert.equal(bucket.documents.conditional, compares);
  return bucket.documents;
}

async function rootNow(documents: DocumentStore, signal: AbortSignal) {
  const look = await readRoot(documents, undefined, signal);
  assert.notEqual(look, "same");
  return look === "same" ? assert.fail() : look;
}

for (const [kind, made] of KINDS) {
  test(`${kind}: what was published is what the root leads to`, async (t) => {
    const cluster = await testCluster();
    const documents = await made(t);
    const bucket = tools(documents, t.signal);
    const entry = await entryOf(cluster, orderBody(1));
    await publishCharters([cluster.envelope], bucket);
    const place = releasePlace("shop", MADE, release(1));
    await publishRelease(place, cluster.envelope, bucket);
    assert.equal(await publishOrder(entry, bucket), "published");
    const { root, etag } = await rootNow(documents, t.signal);
    assert.deepEqual(await readCharters(documents, 0, root.charter, t.signal), [cluster.envelope]);
    const name = root.apps["shop"]?.orders["default"] ?? "";
    assert.deepEqual(await readOrderEntry(documents, name, t.signal), entry);
    assert.deepEqual(root.apps["shop"]?.releases.newest, [releaseName(place)]);
    assert.equal(await readRoot(documents, etag, t.signal), "same");
    await withdrawRelease(place, bucket);
    assert.equal((await rootNow(documents, t.signal)).root.apps["shop"]?.releases.count, 0);
  });

  test(`${kind}: an order that is sent again changes nothing, and an older one comes too late`, async (t) => {
    const cluster = await testCluster();
    const bucket = tools(await made(t), t.signal);
    const [one, two] = [await entryOf(cluster, orderBody(1)), await entryOf(cluster, orderBody(2))];
    await publishOrder(one, bucket);
    await publishOrder(one, bucket);
    await publishOrder(two, bucket);
    assert.equal(await publishOrder(one, bucket), "published");
    const rival = await entryOf(cluster, orderBody(2, { release: release(77) }));
    await assert.rejects(publishOrder(rival, bucket), { code: "HEAD_MOVED" });
    const late = await entryOf(cluster, orderBody(1, { release: release(77) }));
    await assert.rejects(publishOrder(late, bucket), {
      code: "HEAD_MOVED",
      hint: /skein list --master shop/,
    });
    assert.deepEqual(
      (await ordersOf("shop", "default", bucket)).map(({ seq }) => seq),
      [1, 2],
    );
  });

  test(`${kind}: publishers of many packages at once lose nothing of each other`, async (t) => {
    const cluster = await testCluster();
    const documents = await made(t);
    const bucket = tools(documents, t.signal);
    const apps = Array.from({ length: 6 }, (_, n) => `app-${n}`);
    await Promise.all(
      apps.map(async (app, n) => {
        await publishRelease(releasePlace(app, MADE, release(n)), cluster.envelope, bucket);
        await publishOrder(await entryOf(cluster, orderBody(1, { app })), bucket);
      }),
    );
    const { root } = await rootNow(documents, t.signal);
    assert.deepEqual(root, await listRoot(documents, t.signal));
    assert.deepEqual(Object.keys(root.apps), apps);
    for (const app of apps) assert.equal(Object.keys(root.apps[app]?.orders ?? {}).length, 1);
  });

  test(`${kind}: of two orders with one serial at most one stays, and the other's publisher is told`, async (t) => {
    const cluster = await testCluster();
    const documents = await made(t);
    const bucket = tools(documents, t.signal);
    for (let round = 1; round <= 3; round++) {
      const seq = round * 3;
      const rivals = await Promise.all(
        [1, 2, 3].map(async (n) => await entryOf(cluster, orderBody(seq, { release: release(n) }))),
      );
      const ended = await Promise.all(
        rivals.map(async (entry) => await publishOrder(entry, bucket).catch((err: unknown) => err)),
      );
      const told = ended.filter((end) => end !== "published" && end !== "contested");
      for (const err of told) assert.equal((err as { code: string }).code, "HEAD_MOVED");
      const published = ended.filter((end) => end === "published");
      const there = (await ordersOf("shop", "default", bucket)).filter((one) => one.seq === seq);
      assert.equal(there.length, published.length, JSON.stringify(ended));
      assert.ok(published.length <= 1);
      if (documents.conditional) assert.deepEqual([published.length, told.length], [1, 2]);
      else assert.ok(published.length === 1 || ended.includes("contested"));
      // Whoever was told to sign anew does: nodes that saw either order take the next one.
      if (ended.includes("contested")) {
        const again = await entryOf(cluster, orderBody(seq + 2));
        assert.equal(await publishOrder(again, bucket), "published");
      }
    }
  });
}

test("a bucket with another cluster's charter is not taken over", async (t) => {
  const [cluster, other] = [await testCluster(), await testCluster({ cluster: "d2".repeat(16) })];
  const bucket = tools(directoryDocuments(folder(t)), t.signal);
  await publishCharters([cluster.envelope], bucket);
  await publishCharters([cluster.envelope], bucket);
  await assert.rejects(publishCharters([other.envelope], bucket), { code: "CONFLICT" });
});

test("only so many orders are kept, the newest among them", async (t) => {
  const cluster = await testCluster();
  const documents = directoryDocuments(folder(t));
  const bucket = tools(documents, t.signal);
  for (let seq = 1; seq <= 103; seq++) {
    const name = orderName({ app: "shop", env: "default", epoch: 0, seq, digest: null });
    await documents.write(name, Buffer.from("{}"), {}, t.signal);
  }
  await publishOrder(await entryOf(cluster, orderBody(104)), bucket);
  const kept = await ordersOf("shop", "default", bucket);
  assert.equal(kept.length, 100);
  assert.equal(kept.at(-1)?.seq, 104);
});

test("killed anywhere, a publisher goes on with the same bytes", async (t) => {
  const dir = folder(t);
  const documents = directoryDocuments(dir);
  const bucket = tools(documents, t.signal);
  const cluster = await testCluster();
  for (const [n, fault] of [
    "bucket.order",
    "bucket.root",
    "documents.compared",
    "documents.written",
  ].entries()) {
    const entry = await entryOf(cluster, orderBody(n + 1));
    const child = spawn(process.execPath, [childProgram(import.meta.dirname, "publisher.child.ts"), dir], {
      env: { ...process.env, SKEIN_FAULT: fault },
      stdio: ["pipe", "inherit", "inherit"],
    });
    child.stdin.end(JSON.stringify(entry));
    const [, signal] = (await once(child, "exit")) as [number | null, string | null];
    assert.equal(signal, "SIGKILL", fault);
    assert.equal(await publishOrder(entry, bucket), "published", fault);
    const { root } = await rootNow(documents, t.signal);
    const head = orderPlaceOf(root.apps["shop"]?.orders["default"] ?? "");
    assert.equal(head?.seq, n + 1);
    assert.deepEqual(root, await listRoot(documents, t.signal));
  }
  assert.equal((await namesUnder(documents, "orders/", t.signal)).length, 4);
});

test("the root of a bucket that was never written follows from its listing", async (t) => {
  const cluster = await testCluster();
  const documents = directoryDocuments(folder(t));
  const order: Order = orderBody(5);
  const entry = await entryOf(cluster, order);
  await publishOrder(entry, tools(documents, t.signal));
  await documents.delete("root.json", t.signal);
  const { root, etag } = await rootNow(documents, t.signal);
  assert.equal(etag, undefined);
  const found = await readOrderEntry(documents, root.apps["shop"]?.orders["default"] ?? "", t.signal);
  assert.equal(found && digestOfEnvelope(found.order), digestOfEnvelope(entry.order));
});
