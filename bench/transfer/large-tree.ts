import fs from "node:fs/promises";
import { randomFillSync } from "node:crypto";
import path from "node:path";

const FILES = 64;
const FILE_BYTES = 16 * 2 ** 20;
const BLOCK_BYTES = 8192;
/** Of each block; the rest is text. Together it compresses about as well as a tree of packages. */
const RANDOM_BYTES = 2048;

/** A tree of 1 GiB in files of 16 MiB, into a folder that is made. */
export async function writeLargeTree(dir: string): Promise<void> {
  await fs.mkdir(dir);
  await fs.writeFile(
    path.join(dir, "skein.yaml"),
    "kind: files\nstrategy: { type: all_at_once, bake: 0s }\n",
  );
  const buffer = Buffer.alloc(FILE_BYTES, "const answer = (question) => question.length; // and so on\n");
  for (let n = 0; n < FILES; n++) {
    for (let at = 0; at < FILE_BYTES; at += BLOCK_BYTES) randomFillSync(buffer, at, RANDOM_BYTES);
    await fs.writeFile(path.join(dir, `part-${n}.bin`), buffer);
  }
}
