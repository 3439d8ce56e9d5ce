import type { Depot, ReadRange } from "../../depot/depot.ts";
import { isSkeinError, SkeinError } from "../../lib/errors.ts";
import { digestOf } from "../../lib/ids.ts";
import { PACK_BYTES } from "../tree/pack.ts";
import { provePack, proveTable } from "../fetch/prove-blob.ts";
import { decodeIndex } from "../tree/release-index.ts";
import { isOwn } from "./ledger.ts";

export interface Damaged {
  readonly name: string;
  readonly why: SkeinError;
}

export interface Examined {
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damaged[];
}

export interface ExamineOptions {
  readonly depot: Depot;
  /** Only tell. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/** In this order: what leads to others comes last. Deltas are not looked at: who finds one damaged takes packs. */
const FOLDERS = ["packs/", "rows/", "since/", "index/"];
/** No blob that is ours is longer, and one that is need not be held. */
const MAX_BYTES = 4 * PACK_BYTES;

/**
 * Reads a whole depot and removes what is not worth its name: bytes that changed on the disk, and packs whose head
 * lies, which somebody put there who could write it. Nodes never take such bytes, and while they lie there, whoever
 * publishes takes them for stored; once they are gone, the next publish stores them again.
 */
export async function removeDamaged({ depot, dryRun, signal }: ExamineOptions): Promise<Examined> {
  const damaged: Damaged[] = [];
  let [blobs, total] = [0, 0];
  for (const folder of FOLDERS) {
    for await (const name of depot.list(folder, signal)) {
      if (!isOwn(name)) continue;
      const bytes = await readWhole(depot, name, signal);
      if (bytes === undefined) continue;
      blobs += 1;
      total += bytes.length;
      const why = await whyDamaged(name, bytes);
      if (why === undefined) continue;
      damaged.push({ name, why });
      if (!dryRun) await depot.delete(name, signal);
    }
  }
  return { blobs, bytes: total, damaged };
}

/** @returns undefined where it is gone; a little more than there may be of what is too long */
async function readWhole(depot: Depot, name: string, signal: AbortSignal): Promise<Buffer | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const piece of depot.get(name, signal)) {
      pieces.push(piece);
      length += piece.length;
      if (length > MAX_BYTES) break;
    }
  } catch (err) {
    if (isSkeinError(err, "BLOB_MISSING")) return undefined;
    throw err;
  }
  return Buffer.concat(pieces);
}

async function whyDamaged(name: string, bytes: Buffer): Promise<SkeinError | undefined> {
  const [folder, id = ""] = name.split("/");
  const read: ReadRange = async ({ start, end }) => await Promise.resolve(bytes.subarray(start, end));
  try {
    if (bytes.length > MAX_BYTES) throw new SkeinError("PACK_CORRUPT", "it is too long");
    if (folder === "packs" && digestOf(bytes) !== id)
      throw new SkeinError("PACK_CORRUPT", "it has other bytes than its name says");
    if (folder === "packs") await provePack(read, bytes.length);
    else if (folder === "rows" || folder === "since") await proveTable(folder, id, read, bytes.length);
    else decodeIndex(bytes);
    return undefined;
  } catch (err) {
    if (isSkeinError(err, "PACK_CORRUPT", "CHUNK_CORRUPT", "TREE_CORRUPT")) return err;
    throw err;
  }
}
