import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { writeCacheFile } from "../../lib/disk/files.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";
import { isSourceFile, type SourceEntry, type SourceFile } from "../tree/tree-source.ts";
import { NO_LIST, type CutFile } from "./content-reader.ts";
import { encodeStatFile, StatFileReader, type Remembered } from "./stat-file.ts";

/**
 * Remembers what each file of a source was cut to, by its stamp, so that an unchanged file is not read again.
 * A cache: a missing, old or damaged one costs time only. A file that changed within the last two seconds before it
 * was listed is not remembered, since it may change again without its times showing it.
 */
export interface StatCache {
  /** What each entry of a tree was cut to, in their order; undefined where that is not known, or it is no file. */
  recall(entries: readonly SourceEntry[], signal: AbortSignal): Promise<Recollection>;
  /** Keeps what the files of a tree were cut to, and no others. Does nothing when that is what was recalled. */
  save(tree: CutTree): Promise<void>;
}

/** Shorter than the tree where nothing further is known. */
export type Recollection = readonly (CutFile | undefined)[];

interface CutTree {
  readonly entries: readonly SourceEntry[];
  /** One for each entry. */
  readonly rows: readonly Row[];
  /** Digest of a file of more than one chunk → its chunks in order. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
}

interface Recalled {
  readonly cuts: Recollection;
  /** How many files are remembered, whether the tree has them still or not. */
  readonly files: number;
}

const NOTHING: Recalled = { cuts: [], files: 0 };
const RACY_MS = 2000;
/** Entries looked up before other work of the process gets its turn. */
const ENTRIES_PER_TURN = 4096;

/** `dir` null: nothing is kept. `now`: when the source was listed, in ms since the epoch. */
export function openStatCache(dir: string | null, key: string | null, now: number): StatCache {
  if (dir === null || key === null) return { recall: async () => [], save: async () => {} };
  const file = path.join(dir, "stat", digestOf(key).slice(0, 32));
  let recalled = NOTHING;
  return {
    recall: async (entries, signal) => {
      recalled = await recallFrom(file, entries, signal);
      return recalled.cuts;
    },
    save: async (tree) => {
      if (!isRecalled(tree, recalled, now))
        await writeCacheFile(file, encodeStatFile(rememberable(tree, now)));
    },
  };
}

async function recallFrom(
  file: string,
  entries: readonly SourceEntry[],
  signal: AbortSignal,
): Promise<Recalled> {
  try {
    using reader = new StatFileReader(file);
    if (!reader.begin()) return NOTHING;
    const recalled = await recallWith(reader, entries, signal);
    // Of many sources those that were not published for longest are forgotten.
    const now = new Date();
    fs.utimesSync(file, now, now);
    return reader.isWhole ? recalled : NOTHING;
  } catch {
    signal.throwIfAborted();
    return NOTHING;
  }
}

/** Goes through both together: they are in the same order. */
async function recallWith(
  reader: StatFileReader,
  entries: readonly SourceEntry[],
  signal: AbortSignal,
): Promise<Recalled> {
  const cuts: (CutFile | undefined)[] = [];
  for (const entry of entries) {
    while (!reader.isAtEnd && !reader.isOf(entry.path) && reader.isBefore(entry.path)) reader.next();
    const isKnown = !reader.isAtEnd && reader.isOf(entry.path);
    cuts.push(isKnown ? cutOf(entry, reader) : undefined);
    if (isKnown) reader.next();
    if (cuts.length % ENTRIES_PER_TURN !== 0) continue;
    await setImmediate();
    signal.throwIfAborted();
  }
  while (!reader.isAtEnd) reader.next();
  return { cuts, files: reader.files };
}

function cutOf(entry: SourceEntry, reader: StatFileReader): CutFile | undefined {
  if (!isSourceFile(entry)) return undefined;
  return entry.stamp !== null && reader.hasStamp(entry.stamp) ? reader.cut : undefined;
}

function* rememberable({ entries, rows, lists }: CutTree, now: number): Generator<Remembered, void> {
  for (const { entry, row } of settledFiles(entries, rows, now)) {
    if (entry.stamp === null) continue;
    const list = lists.get(row.sha256) ?? NO_LIST;
    yield { path: entry.path, stamp: entry.stamp, cut: { sha256: row.sha256, list } };
  }
}

/** Would a file of the tree say what was recalled? */
function isRecalled({ entries, rows }: CutTree, { cuts, files }: Recalled, now: number): boolean {
  let same = 0;
  for (const { entry, row, at } of settledFiles(entries, rows, now)) {
    if (cuts[at]?.sha256 === row.sha256) same += 1;
    else if (entry.stamp !== null) return false;
  }
  return same === files;
}

/** Without those that may change again and their stamp will not show it. */
function* settledFiles(
  entries: readonly SourceEntry[],
  rows: readonly Row[],
  now: number,
): Generator<{ readonly entry: SourceFile; readonly row: FileRow; readonly at: number }, void> {
  for (const [at, entry] of entries.entries()) {
    const row = rows[at];
    if (row === undefined || !isFileRow(row) || !isSourceFile(entry)) continue;
    if (entry.changedMs <= now - RACY_MS) yield { entry, row, at };
  }
}
