import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import type { BlobSource } from "../depot/seam/depot.ts";
import { asSkeinError, syncDirectory } from "../lib/disk/files.ts";
import { errnoOf, isSkeinError, SkeinError } from "../lib/errors/errors.ts";

/**
 * Whole files at the top of a bucket, by any name: what FTL's own clients read there. Nothing of a cluster's own
 * depends on them.
 */
export interface BucketFiles {
  /** Names at the top that begin so, sorted. */
  list(prefix: string, signal: AbortSignal): Promise<readonly string[]>;
  /** @throws SkeinError BLOB_MISSING */
  get(name: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Replaces what is there, whole or not at all. */
  put(name: string, file: BlobSource, signal: AbortSignal): Promise<void>;
  /** Idempotent. */
  delete(name: string, signal: AbortSignal): Promise<void>;
}

const MOST_TEXT_BYTES = 1024;

/** A file that holds a line; more of it is not read. undefined: there is none. */
export async function topText(
  files: BucketFiles,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const piece of files.get(name, signal)) {
      pieces.push(piece);
      length += piece.length;
      if (length >= MOST_TEXT_BYTES) break;
    }
    return Buffer.concat(pieces).toString("utf8", 0, MOST_TEXT_BYTES);
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING")) return undefined;
    throw err;
  }
}

export function folderFiles(dir: string): BucketFiles {
  const fileOf = (name: string): string => {
    if (/^[^./\\][^/\\]*$/.test(name)) return path.join(dir, name);
    throw new SkeinError("BAD_REQUEST", `${JSON.stringify(name)} is no name of a file`);
  };
  return {
    async list(prefix) {
      const entries = await fs.readdir(dir, { withFileTypes: true }).catch((err: unknown) => {
        if (errnoOf(err) === "ENOENT") return [];
        throw asSkeinError(err, dir);
      });
      return entries
        .filter((entry) => entry.isFile() && !entry.name.startsWith(".") && entry.name.startsWith(prefix))
        .map(({ name }) => name)
        .sort();
    },
    async *get(name, signal) {
      try {
        for await (const piece of createReadStream(fileOf(name), { signal })) yield piece as Buffer;
      } catch (err) {
        if (errnoOf(err) !== "ENOENT") throw asSkeinError(err, fileOf(name));
        throw new SkeinError("BLOB_MISSING", `the bucket has no ${name}`, { data: { blob: name } });
      }
    },
    async put(name, file, signal) {
      const final = fileOf(name);
      const aside = path.join(dir, `.put-${randomBytes(6).toString("hex")}-${name}`);
      try {
        signal.throwIfAborted();
        await fs.mkdir(dir, { recursive: true });
        await fs.writeFile(aside, file.open(0), { signal, flush: true, mode: 0o644 });
        await fs.rename(aside, final);
        await syncDirectory(dir);
      } catch (err) {
        await fs.rm(aside, { force: true });
        throw asSkeinError(err, final);
      }
    },
    async delete(name) {
      await fs.rm(fileOf(name), { force: true });
    },
  };
}
