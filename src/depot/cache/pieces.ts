import fs from "node:fs/promises";
import path from "node:path";
import { errnoOf, isSkeinError } from "../../lib/errors/errors.ts";
import { filesUnder } from "../directory/folder-files.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import { PIECE_BYTES } from "./piece-file.ts";

/** What lies in a cache's folder: the files of its pieces, by `<blob>/P<number>`. */
export interface Entry {
  readonly bytes: number;
  usedAt: number;
  /** The time that its file bears. */
  writtenAt: number;
}

/** What a writer laid aside and did not rename for so long was left by one that was killed. */
const LEFT_MS = 60_000;
const NUMBER = /^P(0|[1-9][0-9]{0,9})$/;

/**
 * The pieces in a folder, the one used longest ago first; what killed writers left goes. Other processes write and
 * remove there meanwhile.
 */
export async function piecesIn(dir: string): Promise<Map<string, Entry>> {
  const found: [string, Entry][] = [];
  for (const key of await filesUnder(dir)) {
    const file = path.join(dir, key);
    const stat = await fs.lstat(file).catch(ifGone);
    if (stat === undefined) continue;
    if (stat.isFile() && NUMBER.test(path.basename(key))) {
      found.push([key, { bytes: stat.size, usedAt: stat.mtimeMs, writtenAt: stat.mtimeMs }]);
    } else if (Date.now() - stat.mtimeMs > LEFT_MS) {
      await fs.rm(file, { force: true });
    }
  }
  return inOrderOfUse(found);
}

export const sizeOf = (entries: ReadonlyMap<string, Entry>): number =>
  entries.values().reduce((sum, { bytes }) => sum + bytes, 0);

export const inOrderOfUse = (entries: Iterable<[string, Entry]>): Map<string, Entry> =>
  new Map([...entries].sort(([, a], [, b]) => a.usedAt - b.usedAt));

/** @throws SkeinError BAD_REQUEST */
export function pieceAt(name: string, at: number): { readonly key: string; readonly base: number } {
  checkBlobName(name);
  const piece = Math.floor(at / PIECE_BYTES);
  return { key: `${name}/P${piece}`, base: piece * PIECE_BYTES };
}

export const pieceOf = (key: string): number => Number(key.slice(key.lastIndexOf("/") + 2));
export const blobOf = (key: string): string => key.slice(0, key.lastIndexOf("/"));

const errnoIn = (err: unknown): unknown => (isSkeinError(err) ? err.data["errno"] : errnoOf(err));

const unless = (errno: string) => (err: unknown) => {
  if (errnoIn(err) !== errno) throw err;
  return undefined;
};
export const ifGone = unless("ENOENT");
export const ifLost = unless("EIO");
