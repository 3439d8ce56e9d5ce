import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { noise, tempDir } from "../release.fixture.ts";
import { ScratchFile } from "./scratch-file.ts";

const PIECE = 256 * 1024;

test("zeros that are laid down in any order take no room on the disk", async (t) => {
  using scratch = new ScratchFile(tempDir(t));
  const [zeros, other] = [Buffer.alloc(PIECE), noise(PIECE)];
  scratch.lay(zeros, 20 * PIECE);
  scratch.lay(other, 3 * PIECE);
  for (let at = 0; at < 3; at++) scratch.lay(zeros, at * PIECE);
  assert.equal(scratch.end, 21 * PIECE);
  const content = Buffer.concat(await Array.fromAsync(scratch.read(0)));
  const wanted = Buffer.concat([Buffer.alloc(3 * PIECE), other, Buffer.alloc(17 * PIECE)]);
  assert.ok(content.equals(wanted));
  const fd = scratch.contentAt(0).file as number;
  assert.ok(fs.fstatSync(fd).blocks * 512 <= PIECE + 8192);
});
