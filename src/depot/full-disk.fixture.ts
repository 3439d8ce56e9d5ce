/** For tests: `node full-disk.fixture.ts DEPOT`, on a small disk. Prints what became of uploads that do not fit. */
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError } from "../lib/errors.ts";
import { directoryDepot } from "./directory.ts";

const root = process.argv[2] ?? "";
const depot = directoryDepot(root);
const sha256 = createHash("sha256").update("").digest("hex");

async function* zeros(bytes: number): AsyncGenerator<Buffer> {
  for (let left = bytes; left > 0; left -= 65_536) yield Buffer.alloc(Math.min(left, 65_536));
}

/** Announces `size` bytes and sends them. */
async function upload(name: string, size: number): Promise<unknown> {
  try {
    return await depot.append(name, { size, sha256 }, 0, zeros(size));
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
await fs.writeFile(path.join(root, "filler"), Buffer.alloc((await freeBytes()) - 500_000));
const small = await upload("packs/small", 900_000);
const uploads = await fs.readdir(path.join(root, "uploads"));
process.stdout.write(JSON.stringify({ large, left, small, uploads, free: (await freeBytes()) > 400_000 }));
