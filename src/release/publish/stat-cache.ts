import { readFileSync, utimesSync } from "node:fs";
import path from "node:path";
import { digestOf, type ChunkId, type Digest } from "../../lib/ids.ts";
import { writeCacheFile } from "../../lib/files.ts";
import { NO_LIST, type CutFile } from "./content-reader.ts";
import { CUTTER } from "../tree/gear.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { isFileRow, type Row } from "../tree/rows.ts";
import type { SourceEntry, SourceFile } from "../tree/tree-source.ts";

/**
 * Remembers what each file of a source was cut to, by its stamp, so that an unchanged file is not read again.
 * A cache: a missing, old or damaged one costs time only. A file that changed within the last two seconds before it
 * was listed is not remembered, since it may change again without its times showing it.
 */
export interface StatCache {
  get(file: SourceFile): CutFile | undefined;
  /** Keeps what the files of a tree were cut to, and no others. Does nothing when that is what was loaded. */
  save(tree: CutTree): Promise<void>;
}

export interface CutTree {
  readonly entries: readonly SourceEntry[];
  /** One for each entry. */
  readonly rows: readonly Row[];
  /** Digest of a file of more than one chunk → its chunks in order. */
  readonly lists: ReadonlyMap<Digest, readonly ChunkRef[]>;
}

interface Remembered {
  readonly stamp: string;
  readonly cut: CutFile;
}

const VERSION = `skein-stat-2 ${CUTTER}`;
const RACY_MS = 2000;

/** `dir` null: nothing is kept. `now`: when the source was listed, in ms since the epoch. */
export function openStatCache(dir: string | null, key: string | null, now: number): StatCache {
  if (dir === null || key === null) return { get: () => undefined, save: async () => {} };
  const file = path.join(dir, "stat", `${digestOf(key).slice(0, 32)}.json`);
  const old = load(file);
  return {
    get: ({ path: at, stamp }) => {
      const entry = lookUp(old, at);
      return stamp !== null && entry?.stamp === stamp ? entry.cut : undefined;
    },
    save: async (tree) => {
      const text = encode(tree, old, now);
      if (text !== undefined) await writeCacheFile(file, text);
    },
  };
}

/**
 * One array for all: a path, its stamp, its digest, how many chunks, and an id and a length for each. An array for
 * each file takes twice as long to write. Undefined when it would say what `old` says.
 */
function encode(
  { entries, rows, lists }: CutTree,
  old: ReadonlyMap<string, Remembered>,
  now: number,
): string | undefined {
  const words: (string | number)[] = [VERSION];
  let files = 0;
  let same = 0;
  let at = 0;
  for (const entry of entries) {
    const row = rows[at++];
    if (row === undefined || !isFileRow(row) || !("stamp" in entry)) continue;
    const { path: where, stamp } = entry;
    if (stamp === null || entry.changedMs > now - RACY_MS) continue;
    const list = lists.get(row.sha256) ?? NO_LIST;
    words.push(where, stamp, row.sha256, list.length);
    for (const { id, length } of list) words.push(id, length);
    files += 1;
    if (saysTheSame(lookUp(old, where), stamp, row.sha256)) same += 1;
  }
  return same === files && files === old.size ? undefined : JSON.stringify(words);
}

/** A path is hashed when it is looked up for the first time, and of a first publish none is there. */
const lookUp = (old: ReadonlyMap<string, Remembered>, at: string): Remembered | undefined =>
  old.size === 0 ? undefined : old.get(at);

const saysTheSame = (before: Remembered | undefined, stamp: string, sha256: Digest): boolean =>
  before?.stamp === stamp && before.cut.sha256 === sha256;

function load(file: string): Map<string, Remembered> {
  const entries = new Map<string, Remembered>();
  try {
    const words = JSON.parse(readFileSync(file, "utf8")) as (string | number)[];
    // Of many sources those that were not published for longest are forgotten.
    const now = new Date();
    utimesSync(file, now, now);
    if (words[0] !== VERSION) return entries;
    for (let at = 1; at < words.length;) {
      const next = at + 4 + 2 * Number(words[at + 3]);
      const list = next === at + 4 ? NO_LIST : chunksOf(words.slice(at + 4, next));
      const cut = { sha256: words[at + 2] as Digest, list };
      entries.set(words[at] as string, { stamp: words[at + 1] as string, cut });
      at = next;
    }
  } catch {
    entries.clear();
  }
  return entries;
}

/** Of alternating ids and lengths. */
function chunksOf(words: readonly (string | number)[]): ChunkRef[] {
  const chunks: ChunkRef[] = [];
  for (let i = 0; i < words.length; i += 2) {
    chunks.push({ id: words[i] as ChunkId, length: Number(words[i + 1]) });
  }
  return chunks;
}
