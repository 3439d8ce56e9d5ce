import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { blobCache, type BlobCache } from "../../depot/cache/blob-cache.ts";
import { PIECE_BYTES } from "../../depot/cache/piece-file.ts";
import { releaseId } from "../../release/release.fixture.ts";
import { world, type World } from "../agent.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const PIECES = 8;

/** What this node holds of a blob that nobody needs now. */
async function filledCache({ paths }: World): Promise<BlobCache> {
  const cache = blobCache({ dir: path.join(paths.lib, "cache"), maxBytes: 2 ** 30, now: () => Date.now() });
  for (let n = 0; n < PIECES; n++) {
    await cache.write("packs/old", n * PIECE_BYTES, randomBytes(PIECE_BYTES), false);
  }
  return cache;
}

function bytesIn(dir: string): number {
  const files = fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return files.reduce((sum, { parentPath, name }) => sum + fs.statSync(path.join(parentPath, name)).size, 0);
}

test("where the disk is full, the cache gives way as far as an install needs it, and no further (long)", async (t) => {
  const w = await world(t);
  const cache = await filledCache(w);
  const before = bytesIn(cache.dir);
  const real = fs.statfsSync;
  // A disk that has 4 MiB less a piece and a half to give, and what the cache gives up.
  const free = (): number => 4 * 2 ** 20 - 1.5 * PIECE_BYTES + before - bytesIn(cache.dir);
  t.mock.method(fs, "statfsSync", (at: string) => Object.assign(real(at), { bsize: 1, bavail: free() }));
  await w.agent();
  const { digest, release } = await w.deploy({ "site.txt": "here" });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  assert.equal(w.current(), release);
  const left = fs.readdirSync(path.join(cache.dir, "packs/old")).length;
  assert.ok(left >= PIECES - 3 && left < PIECES, `${left} of ${PIECES} pieces are left`);
});

test("where not even the whole cache is enough, the order fails for it and the cache lives on", async (t) => {
  const w = await world(t);
  const cache = await filledCache(w);
  const real = fs.statfsSync;
  t.mock.method(fs, "statfsSync", (at: string) => Object.assign(real(at), { bsize: 1, bavail: 1000 }));
  await w.agent();
  const { digest } = await w.deploy({ "site.txt": "here" });
  assert.equal((await w.receipt(digest)).code, "DISK_FULL");
  await cache.write("packs/new", 0, randomBytes(100), true);
  assert.equal((await cache.read("packs/new", 0, 100))?.bytes.length, 100);
});

test("a folder that a cut removal left goes when the agent starts; installs and what is no release stay", async (t) => {
  const w = await world(t);
  const end = await w.agent();
  const { digest, release } = await w.deploy({ "site.txt": "here" });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  await end();
  const revs = path.join(w.paths.lib, "apps/shop/revs");
  const left = path.join(revs, releaseId(7));
  fs.mkdirSync(path.join(left, "deep"), { recursive: true });
  fs.writeFileSync(path.join(left, "deep/file"), "x");
  fs.chmodSync(path.join(left, "deep"), 0o555);
  fs.mkdirSync(path.join(revs, "mine"));
  await w.agent();
  await eventually("it is gone", async () => !fs.existsSync(left));
  assert.deepEqual(fs.readdirSync(revs).sort(), [".install", "mine", release].sort());
  assert.equal(fs.readFileSync(path.join(revs, release, "site.txt"), "utf8"), "here");
});
