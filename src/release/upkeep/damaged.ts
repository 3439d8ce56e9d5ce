import type { Depot, ReadRange } from "../../depot/seam/depot.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { PACK_BYTES, packName } from "../tree/pack.ts";
import { provePack, proveTable } from "../fetch/prove-blob.ts";
import type { PublishedTree } from "../tree/published.ts";
import { decodeIndex, indexName } from "../tree/release-index.ts";
import { isOwn } from "./ledger.ts";

interface Damaged {
  readonly name: string;
  readonly why: SkeinError;
}

/** A pack or a table that is not there, and one of the indexes of trees that need it. */
interface Lost {
  readonly name: string;
  readonly index: string;
}

export interface Examined {
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damaged[];
  /** Beside those that are damaged. Their indexes stay: what else these name may be all that a node lacks. */
  readonly lost: readonly Lost[];
}

export interface ExamineOptions {
  readonly depot: Depot;
  /** Which say what tables their trees need: nothing in a depot does. Default: none are looked for. */
  readonly releases?: AsyncIterable<PublishedTree>;
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
 * publishes takes them for stored; once they are gone, the next publish stores them again. Tells what is lost, too.
 */
export async function removeDamaged(options: ExamineOptions): Promise<Examined> {
  const { depot, dryRun, signal } = options;
  const damaged: Damaged[] = [];
  const named = new Map<string, string>();
  let [blobs, total] = [0, 0];
  for (const folder of FOLDERS) {
    for await (const name of depot.list(folder, signal)) {
      if (!isOwn(name)) continue;
      const bytes = await readWhole(depot, name, signal);
      if (bytes === undefined) continue;
      blobs += 1;
      total += bytes.length;
      const why = await whyDamaged(name, bytes);
      if (why === undefined && folder === "index/")
        for (const pack of decodeIndex(bytes).packs) named.set(packName(pack), name);
      if (why === undefined) continue;
      damaged.push({ name, why });
      if (!dryRun) await depot.delete(name, signal);
    }
  }
  await nameTables(named, options.releases);
  for (const { name } of damaged) named.delete(name);
  return { blobs, bytes: total, damaged, lost: await lostOf(depot, named, signal) };
}

async function nameTables(named: Map<string, string>, releases: ExamineOptions["releases"]): Promise<void> {
  for await (const { tree, rows, since } of releases ?? []) {
    named.set(`rows/${rows}`, indexName(tree));
    if (since !== null) named.set(`since/${since}`, indexName(tree));
  }
}

/** @param named packs and tables, and an index of a tree that needs each */
async function lostOf(
  depot: Depot,
  named: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<readonly Lost[]> {
  const there = await depot.has([...named.keys()], signal);
  const lacking = [...named].filter(([name]) => !there.has(name));
  if (lacking.length === 0) return [];
  // A collection may have taken packs and index away meanwhile, or the packs alone for a moment (`retired.ts`).
  const indexes = await depot.has([...new Set(lacking.map(([, index]) => index))], signal);
  const retired = new Set<string>();
  for await (const place of depot.list("retired/", signal)) retired.add(place.split("/").slice(2).join("/"));
  return lacking
    .filter(([name, index]) => indexes.has(index) && !retired.has(name))
    .map(([name, index]) => ({ name, index }));
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
