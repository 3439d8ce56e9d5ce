/** A depot in a bucket that others upload to through a process here. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { blobCache } from "./blob-cache.ts";
import { depotConformance, prunableConformance } from "../seam/depot.conformance.ts";
import type { PrunableDepot, ReceivingDepot, UploadInfo } from "../seam/depot.ts";
import { directoryDepot } from "../directory/directory.ts";
import { s3Depot } from "../s3/s3-depot.ts";
import { freshBucket, sharedS3Server } from "../s3/s3-server.fixture.ts";
import { spooledDepot } from "./spooled.ts";

/** Small parts, so that blobs of some 100 KB are sent and read in several. */
const PARTS = {
  upload: { singleBytes: 250_000, partBytes: 200_000, atOnce: 2 },
  download: { partBytes: 60_000, atOnce: 2 },
};
const server = sharedS3Server({ conditional: false });

interface World {
  readonly depot: ReceivingDepot;
  readonly far: PrunableDepot;
  readonly dir: string;
  /** The same folders after a restart, with a bucket that may misbehave. */
  readonly again: (far?: PrunableDepot) => ReceivingDepot;
}

async function openWorld(t: TestContext): Promise<World> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-spooled-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const bucket = s3Depot(await freshBucket(t, await server()), "", PARTS);
  const again = (far: PrunableDepot = bucket): ReceivingDepot =>
    spooledDepot({
      far,
      address: "s3://bucket",
      spool: directoryDepot(path.join(dir, "spool")),
      near: blobCache({ dir: path.join(dir, "cache"), maxBytes: 2 ** 26, now: () => Date.now() }),
      signal: t.signal,
    });
  return { depot: again(), far: bucket, dir, again };
}

depotConformance("spooled", async (t) => (await openWorld(t)).depot);
prunableConformance("spooled", async (t) => (await openWorld(t)).depot);

const infoOf = (bytes: Buffer): UploadInfo => ({
  size: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

async function* pieces(...all: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* all;
}

async function readAll(t: TestContext, depot: PrunableDepot, name: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(depot.get(name, t.signal)));
}

const spooledFiles = (dir: string): string[] =>
  fs
    .readdirSync(path.join(dir, "spool"), { recursive: true, withFileTypes: true })
    .flatMap((entry) => (entry.isFile() ? [entry.name] : []));

/** The bucket, of which reads or writes may fail. */
const failing = (
  far: PrunableDepot,
  fails: { readonly put?: boolean; readonly get?: boolean },
): PrunableDepot => ({
  ...far,
  put: async (...args) => {
    if (fails.put === true) throw new Error("no such luck");
    await far.put(...args);
  },
  get: (...args) => {
    assert.ok(fails.get !== true, `${args[0]} was read from the bucket`);
    return far.get(...args);
  },
});

test("an upload in parts counts when it is in the bucket, and leaves nothing here but the cache", async (t) => {
  const { depot, far, dir } = await openWorld(t);
  const bytes = randomBytes(300_000);
  const info = infoOf(bytes);
  const name = `packs/${info.sha256}`;
  const begun = await depot.append(name, info, 0, pieces(bytes.subarray(0, 100_000)));
  assert.deepEqual(begun, { offset: 100_000, done: false });
  assert.equal(await depot.uploaded(name, info.sha256), 100_000);
  assert.deepEqual(await Array.fromAsync(far.list("", t.signal)), []);
  const rest = await depot.append(name, info, 100_000, pieces(bytes.subarray(100_000)));
  assert.deepEqual(rest, { offset: 300_000, done: true });
  assert.ok((await readAll(t, far, name)).equals(bytes));
  assert.deepEqual(spooledFiles(dir), []);
});

test("what went to the bucket through here is not fetched from it again", async (t) => {
  const { depot, far, again } = await openWorld(t);
  const bytes = randomBytes(700_000);
  const info = infoOf(bytes);
  const name = `packs/${info.sha256}`;
  await depot.append(name, info, 0, pieces(bytes));
  assert.ok((await readAll(t, again(failing(far, { get: true })), name)).equals(bytes));
});

test("an upload that could not be sent on is asked for no byte again, also after a restart", async (t) => {
  const { far, dir, again } = await openWorld(t);
  const bytes = randomBytes(200_000);
  const info = infoOf(bytes);
  const name = `packs/${info.sha256}`;
  await assert.rejects(again(failing(far, { put: true })).append(name, info, 0, pieces(bytes)), /luck/);
  const restarted = again();
  assert.equal(await restarted.uploaded(name, info.sha256), bytes.length);
  assert.deepEqual(await restarted.append(name, info, bytes.length, pieces()), {
    offset: bytes.length,
    done: true,
  });
  assert.ok((await readAll(t, far, name)).equals(bytes));
  assert.deepEqual(spooledFiles(dir), []);
});

test("contents that come under one name at a time are sent on whole, and one of them stands", async (t) => {
  const { depot, far, dir } = await openWorld(t);
  const contents = [randomBytes(90_000), randomBytes(80_000), randomBytes(70_000)];
  const uploads = [...contents, ...contents].map((bytes) =>
    depot.append("index/a", infoOf(bytes), 0, pieces(bytes.subarray(0, 10_000), bytes.subarray(10_000))),
  );
  for (const { done } of await Promise.all(uploads)) assert.ok(done);
  const stands = await readAll(t, far, "index/a");
  assert.ok(contents.some((bytes) => bytes.equals(stands)));
  assert.deepEqual(spooledFiles(dir), []);
});

test("bytes that another upload has sent on and cleared away meanwhile are there", async (t) => {
  const { depot, far, dir } = await openWorld(t);
  const bytes = randomBytes(10_000);
  await depot.append("packs/x", infoOf(bytes), 0, pieces(bytes));
  const spool = directoryDepot(path.join(dir, "spool"));
  const overtaken = spooledDepot({
    far,
    address: "s3://bucket",
    spool: {
      ...spool,
      append: async (name, ...more) => {
        const state = await spool.append(name, ...more);
        await spool.delete(name, t.signal);
        return state;
      },
    },
    near: blobCache({ dir: path.join(dir, "cache"), maxBytes: 2 ** 26, now: () => Date.now() }),
    signal: t.signal,
  });
  const again = await overtaken.append("packs/x", infoOf(bytes), 0, pieces(bytes));
  assert.deepEqual(again, { offset: bytes.length, done: true });
  const other = randomBytes(10_000);
  await assert.rejects(async () => await overtaken.append("packs/y", infoOf(other), 0, pieces(other)), {
    code: "BLOB_MISSING",
  });
});

test("uploads that nobody goes on with are swept away, arrived or not", async (t) => {
  const { far, dir, again } = await openWorld(t);
  const bytes = randomBytes(50_000);
  const depot = again(failing(far, { put: true }));
  await assert.rejects(depot.append("packs/a", infoOf(bytes), 0, pieces(bytes)));
  await depot.append("packs/b", infoOf(bytes), 0, pieces(bytes.subarray(0, 100)));
  assert.equal(await depot.sweepUploads(60_000, Date.now(), t.signal), 0);
  assert.equal(spooledFiles(dir).length, 2);
  assert.equal(await depot.sweepUploads(60_000, Date.now() + 120_000, t.signal), 2);
  assert.deepEqual(spooledFiles(dir), []);
});
