/** For tests: `node full-disk.child.ts DEPOT`, on a small disk. Prints what became of uploads that do not fit. */
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { directoryDepot } from "./directory.ts";

const root = process.argv[2] ?? "";
const depot = directoryDepot(root);

async function* zeros(bytes: number): AsyncGenerator<Buffer> {
  for (let left = bytes; left > 0; left -= 65_536) yield Buffer.alloc(Math.min(left, 65_536));
}

const digestOfZeros = (bytes: number): string =>
  createHash("sha256").update(Buffer.alloc(bytes)).digest("hex");

/** Announces `size` bytes and sends them. */
async function upload(name: string, size: number): Promise<unknown> {
  try {
    return (await depot.append(name, { size, sha256: digestOfZeros(size) }, 0, zeros(size))).done;
  } catch (err) {
    return isSkeinError(err) ? err.code : String(err);
  }
}

async function freeBytes(): Promise<number> {
  const { bavail, bsize } = await fs.statfs(root);
  return bavail * bsize;
}

const before = await freeBytes();
const large = await upload("packs/large", before);
const left = before - (await freeBytes());
const MIB = 2 ** 20;
// Each fits, both do not; which one is first is up to the system.
const both = (await Promise.all([upload("packs/one", 5 * MIB), upload("packs/two", 5 * MIB)])).toSorted();
const small: unknown[] = [];
await fs.writeFile(path.join(root, "filler"), Buffer.alloc((await freeBytes()) - 9.5 * MIB));
for (let n = 0; n < 3; n++) small.push(await upload(`packs/small-${n}`, MIB - 1));
const uploads = await fs.readdir(path.join(root, "uploads"));
const free = Math.floor((await freeBytes()) / MIB);
process.stdout.write(JSON.stringify({ large, left, both, small, uploads, free }));
