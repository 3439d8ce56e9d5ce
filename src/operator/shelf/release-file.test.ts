import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { openBucket, type Bucket } from "../../bucket/bucket.ts";
import { releasePlace } from "../../bucket/layout.ts";
import { publishRelease, withdrawRelease } from "../../bucket/publish.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { install } from "../../release/install/install.ts";
import {
  noise,
  plainSource,
  readTree,
  releaseId,
  tempDir,
  writeTree,
} from "../../release/release.fixture.ts";
import { releaseIdOf, type Release } from "../../trust/document/documents.ts";
import { readUnverified, seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { cluster, type Cluster } from "../cluster.fixture.ts";
import { makeRelease } from "../release/release.fixture.ts";
import { exportRelease, importRelease } from "./release-file.ts";
import { bucketShelf, hubShelf, type Shelf } from "./shelf.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const APP = "shop";

async function released(
  at: Cluster,
  text: string,
): Promise<{ readonly id: string; readonly release: Release }> {
  const { operator, signal, options } = at;
  const dir = writeTree(path.join(at.dir, `tree-${text}`), {
    same: noise(60_000, 1),
    text,
    own: noise(40_000, text.length),
  });
  const { depot } = options({});
  return await makeRelease(operator, { source: plainSource(dir), app: APP, depot, signal });
}

async function bucketAt(t: TestContext, name: string): Promise<Bucket> {
  const bucket = await openBucket(`dir:${path.join(tempDir(t), name)}`, {
    env: {},
    writing: true,
    signal: t.signal,
  });
  atEnd(t, () => bucket[Symbol.dispose]());
  return bucket;
}

const common = (t: TestContext, { operator }: Cluster) => ({
  pin: operator.pin,
  clock: systemClock,
  signal: t.signal,
});

async function emptyOf(t: TestContext, bucket: Bucket): Promise<boolean> {
  const names = await Array.fromAsync(bucket.documents.list("", t.signal));
  return names.length === 0;
}

test("a release goes from a hub through a file into a bucket that knows nothing but the fingerprint", async (t) => {
  const at = await cluster(t);
  const [first, second] = [await released(at, "one"), await released(at, "two two")];
  const hub = hubShelf(at.operator);
  const file = path.join(at.dir, "shop.skein");
  const wish = { app: APP, version: first.id.slice(0, 8), from: null, file, ...common(t, at) };
  const made = await exportRelease(hub, wish);
  assert.equal(made.bytes, fs.statSync(file).size);
  const bucket = await bucketAt(t, "offline");
  const shelf = bucketShelf(bucket, systemClock);
  assert.deepEqual(await importRelease(shelf, { file, ...common(t, at) }), { ...made, already: false });
  assert.deepEqual(await importRelease(shelf, { file, ...common(t, at) }), { ...made, already: true });

  const next = path.join(at.dir, "next.skein");
  const step = await exportRelease(hub, { ...wish, version: second.id, from: first.id, file: next });
  assert.ok(step.bytes < made.bytes - 50_000, `${step.bytes} bytes, whole ${made.bytes}`);
  await importRelease(shelf, { file: next, ...common(t, at) });
  const found = await shelf.find(APP, second.id.slice(0, 6), at.operator.charter, t.signal);
  const tree = readUnverified(found, "release.1");
  assert.equal(releaseIdOf(tree), second.id);
  await assert.rejects(shelf.find(APP, "ffffffff", at.operator.charter, t.signal), {
    code: "RELEASE_NOT_FOUND",
    hint: `See skein list --master ${APP}.`,
  });
  const options = {
    release: releaseId(1),
    tree,
    revs: path.join(at.dir, "revs"),
    link: false,
    signal: t.signal,
  };
  const { dir } = await install({ ...options, depots: [bucket.depot] });
  assert.equal(readTree(dir)["text"], "two two");
});

test("a release goes back from a bucket to a hub", async (t) => {
  const at = await cluster(t);
  const { id } = await released(at, "one");
  const file = path.join(at.dir, "a.skein");
  const wish = { app: APP, version: id, from: null, file, ...common(t, at) };
  await exportRelease(hubShelf(at.operator), wish);
  const shelf = bucketShelf(await bucketAt(t, "bucket"), systemClock);
  await importRelease(shelf, { file, ...common(t, at) });
  const again = path.join(at.dir, "b.skein");
  await exportRelease(shelf, { ...wish, version: `${APP}@${id.slice(0, 8)}`, file: again });
  const back = await importRelease(hubShelf(at.operator), { file: again, ...common(t, at) });
  assert.deepEqual([back.id, back.already], [id, true]);
});

async function refusal(
  t: TestContext,
  at: Cluster,
  file: string,
  pin = at.operator.pin,
): Promise<[unknown, boolean]> {
  const bucket = await bucketAt(t, "bucket");
  const wish = { ...common(t, at), file, pin };
  const outcome = await importRelease(bucketShelf(bucket, systemClock), wish).catch(
    (err: { code?: unknown }) => err.code,
  );
  return [outcome, await emptyOf(t, bucket)];
}

test("a file of another cluster, or with a document that nobody there signed, is refused and nothing kept", async (t) => {
  const [at, other] = [await cluster(t), await cluster(t)];
  const { id, release } = await released(at, "one");
  const file = path.join(at.dir, "a.skein");
  const hub = hubShelf(at.operator);
  const wish = { app: APP, version: id, from: null, file, ...common(t, at) };
  await exportRelease(hub, wish);
  assert.deepEqual(await refusal(t, at, file, other.operator.pin), ["CHARTER_PIN", true]);
  const stranger = generateSigner();
  const forged = await seal("release.1", { ...release, builder: stranger.kid }, [stranger]);
  const lying: Shelf = { ...hub, find: async () => await Promise.resolve(forged) };
  await assert.rejects(exportRelease(lying, wish), { code: "DOC_UNSIGNED" });
  const bytes = fs.readFileSync(file);
  const text = bytes.toString("latin1");
  const envelope = JSON.stringify(await hub.find(APP, id, at.operator.charter, t.signal));
  assert.ok(text.includes(envelope));
  const head = Buffer.from(
    text.slice(19, 19 + bytes.readUInt32LE(15)).replace(envelope, JSON.stringify(forged)),
    "latin1",
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const tail = bytes.subarray(19 + bytes.readUInt32LE(15));
  fs.writeFileSync(file, Buffer.concat([bytes.subarray(0, 15), length, head, tail]));
  assert.deepEqual(await refusal(t, at, file), ["DOC_UNSIGNED", true]);
});

const asidesIn = (dir: string): string[] => fs.readdirSync(dir).filter((name) => name.endsWith(".tmp"));

test("of two exports to one file at once one stays, whole; what a killed one left goes", async (t) => {
  const at = await cluster(t);
  const [one, two] = [await released(at, "one"), await released(at, "two two")];
  const file = path.join(at.dir, "a.skein");
  const wish = { app: APP, from: null, file, ...common(t, at) };
  const hub = hubShelf(at.operator);
  const left = ["a.skein.0123456789ab.tmp", "b.skein.0123456789ab.tmp"].map((name) =>
    path.join(at.dir, name),
  );
  for (const name of left) {
    fs.writeFileSync(name, "skein-exp");
    fs.utimesSync(name, 0, 0);
  }
  // Both have written what they write before one of them gives it its name.
  const { rename } = fs.promises;
  const both = Promise.withResolvers<void>();
  let written = 0;
  t.mock.method(fs.promises, "rename", async (...[from, to]: Parameters<typeof rename>) => {
    if (to === file && (written += 1) === 2) both.resolve();
    if (to === file) await both.promise;
    await rename(from, to);
  });
  const exports = [one, two].map(async ({ id }) => await exportRelease(hub, { ...wish, version: id }));
  for (const one of exports) one.catch(() => both.resolve());
  const made = await Promise.all(exports);
  const shelf = bucketShelf(await bucketAt(t, "bucket"), systemClock);
  const { id, bytes } = await importRelease(shelf, { file, ...common(t, at) });
  assert.deepEqual(
    made.filter((one) => one.id === id).map((one) => one.bytes),
    [bytes],
  );
  assert.deepEqual(asidesIn(at.dir), ["b.skein.0123456789ab.tmp"], "another file's is none of its business");
});

test("a document that nobody there signed does not stand in the way of a good one of the same release", async (t) => {
  const at = await cluster(t);
  const { id, release } = await released(at, "one");
  const file = path.join(at.dir, "a.skein");
  const wish = { app: APP, version: id, from: null, file, ...common(t, at) };
  await exportRelease(hubShelf(at.operator), wish);
  const bucket = await bucketAt(t, "bucket");
  const shelf = bucketShelf(bucket, systemClock);
  await importRelease(shelf, { file, ...common(t, at) });
  const stranger = generateSigner();
  const created = "2026-01-01T00:00:00.000Z";
  const forged = await seal("release.1", { ...release, builder: stranger.kid, created }, [stranger]);
  const place = releasePlace(APP, Date.parse(created), releaseIdOf(release));
  await publishRelease(place, forged, { documents: bucket.documents, clock: systemClock, signal: t.signal });
  const again = await exportRelease(shelf, wish);
  assert.equal(again.id, id);
  await withdrawRelease(releasePlace(APP, Date.parse(release.created), releaseIdOf(release)), {
    documents: bucket.documents,
    clock: systemClock,
    signal: t.signal,
  });
  await assert.rejects(exportRelease(shelf, wish), { code: "DOC_UNSIGNED" });
});

test("what is no such file, or is not there, is refused", async (t) => {
  const at = await cluster(t);
  const file = path.join(at.dir, "a.skein");
  assert.deepEqual(await refusal(t, at, file), ["SOURCE_NOT_FOUND", true]);
  fs.writeFileSync(file, "PK\u0003\u0004 something else");
  assert.deepEqual(await refusal(t, at, file), ["EXPORT_DAMAGED", true]);
  const { id } = await released(at, "one");
  const wish = { app: APP, version: id, from: null, ...common(t, at) };
  await assert.rejects(exportRelease(hubShelf(at.operator), { ...wish, version: "ffffffff", file }), {
    code: "RELEASE_NOT_FOUND",
  });
  const away = path.join(at.dir, "away");
  await assert.rejects(exportRelease(hubShelf(at.operator), { ...wish, file: path.join(away, "a.skein") }), {
    code: "NOT_FOUND",
    hint: new RegExp(`mkdir -p ${away}$`),
  });
  assert.ok(!fs.existsSync(away));
  assert.deepEqual(asidesIn(at.dir), []);
});

test("killed anywhere, an import leaves no release that is not whole, and the next one succeeds (long)", async (t) => {
  const at = await cluster(t);
  const { id } = await released(at, "one");
  const file = path.join(at.dir, "a.skein");
  const wish = { app: APP, version: id, from: null, file, ...common(t, at) };
  await exportRelease(hubShelf(at.operator), wish);
  const script = childProgram(import.meta.dirname, "import.child.ts");
  for (const point of ["import.blob:2", "import.kept", "import.blobs", "bucket.release"]) {
    const bucket = await bucketAt(t, "bucket");
    const run = (fault: string) =>
      spawnSync(process.execPath, [script, bucket.name, file, at.operator.pin], {
        env: { ...process.env, SKEIN_FAULT: fault, TMPDIR: at.dir },
        encoding: "utf8",
      });
    assert.equal(run(point).signal, "SIGKILL", point);
    const shelf = bucketShelf(bucket, systemClock);
    const isThere = async (): Promise<boolean> =>
      await shelf.find(APP, id, at.operator.charter, t.signal).then(
        () => true,
        () => false,
      );
    assert.equal(await isThere(), point === "bucket.release", point);
    const again = run("");
    assert.equal(again.status, 0, again.stderr);
    assert.equal(await isThere(), true);
    const tree = readUnverified(await shelf.find(APP, id, at.operator.charter, t.signal), "release.1");
    const options = { release: releaseId(1), tree, revs: path.join(at.dir, `revs-${point}`), link: false };
    await install({ ...options, depots: [bucket.depot], signal: t.signal });
  }
});
