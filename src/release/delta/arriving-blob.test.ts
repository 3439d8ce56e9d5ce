import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { origin, BLOB } from "../../depot/peers/peers.fixture.ts";
import { ArrivingBlob } from "./arriving-blob.ts";
import { FreshFiles } from "./fresh-files.ts";

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-arriving-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function read(blob: ArrivingBlob, far: ReturnType<typeof origin>, keep: number, signal: AbortSignal) {
  const pieces: Uint8Array[] = [];
  for await (const piece of blob.read(far, BLOB, signal)) {
    if (pieces.length === 0) blob.keepAtMost(keep);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

test("a blob that is longer than there is room is kept as far as that goes, and read whole", async (t) => {
  const file = path.join(folder(t), "some.delta");
  const far = origin(3_000_000);
  const whole = await read(new ArrivingBlob(file), far, 1_000_000, t.signal);
  assert.equal(whole.length, 3_000_000);
  const kept = fs.readFileSync(file);
  assert.ok(kept.length > 0 && kept.length < 1_300_000, String(kept.length));
  assert.ok(kept.equals(whole.subarray(0, kept.length)), "without holes");
  const again = await read(new ArrivingBlob(file), far, Infinity, t.signal);
  assert.ok(again.equals(whole), "what was kept, and then the rest");
  assert.equal(fs.statSync(file).size, 3_000_000);
});

test("what comes after something that was not kept is not either, though there is room again", async (t) => {
  const file = path.join(folder(t), "some.delta");
  const far = origin(3_000_000);
  const blob = new ArrivingBlob(file);
  const pieces: Uint8Array[] = [];
  for await (const piece of blob.read(far, BLOB, t.signal)) {
    pieces.push(piece);
    blob.keepAtMost(pieces.length === 1 ? 0 : Infinity);
  }
  assert.ok(pieces.length > 3);
  assert.ok(fs.readFileSync(file).equals(pieces[0] as Uint8Array), "the first alone");
});

test("new contents tell what room they leave, and refuse what does not fit", (t) => {
  const dir = path.join(folder(t), "fresh");
  using sink = new FreshFiles(dir);
  let room = -1;
  sink.onRoom = (bytes) => (room = bytes);
  const { bsize, bavail } = fs.statfsSync(dir);
  const size = Math.floor(bavail / 2) * bsize;
  sink.expect([{ size, own: undefined }]);
  assert.ok(room > 0 && room <= size * 1.5, String(room));
  assert.throws(() => sink.expect([{ size: 4 * size, own: undefined }]), { code: "DISK_FULL" });
});
