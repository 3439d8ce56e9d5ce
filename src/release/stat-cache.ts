import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { digestOf, type ChunkId, type Digest } from "../lib/ids.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { NO_LIST, type CutFile } from "./content-reader.ts";
import { CUTTER } from "./gear.ts";
import type { ChunkRef } from "./pack.ts";
import type { SourceFile } from "./tree-source.ts";

/**
 * Remembers what each file of a source was cut to, by its stamp, so that an unchanged file is not read again.
 * A cache: a missing, old or damaged one costs time only. A file that changed within the last two seconds before it
 * was listed is not remembered, since it may change again without its times showing it.
 */
export interface StatCache {
  get(file: SourceFile): CutFile | undefined;
  set(file: SourceFile, cut: CutFile): void;
  /** Keeps what was got or set since loading. Does nothing when that is what was loaded. */
  save(): Promise<void>;
}

interface Entry {
  readonly stamp: string;
  readonly sha256: Digest;
  /** Alternating id and length; empty when the file is one chunk or none. */
  readonly list: readonly (string | number)[];
}

const NO_ENTRIES: Entry["list"] = [];
const VERSION = `skein-stat-1 ${CUTTER}`;
const RACY_MS = 2000;

/** `dir` null: nothing is kept. `now`: when the source was listed, in ms since the epoch. */
export function openStatCache(dir: string | null, key: string | null, now: number): StatCache {
  if (dir === null || key === null)
    return { get: () => undefined, set: () => undefined, save: async () => {} };
  const file = path.join(dir, "stat", `${digestOf(key).slice(0, 32)}.json`);
  const old = load(file);
  const kept = new Map<string, Entry>();
  let changed = false;
  return {
    get: (source) => {
      const entry = old.get(source.path);
      if (entry === undefined || source.stamp === null || entry.stamp !== source.stamp) return undefined;
      kept.set(source.path, entry);
      return { sha256: entry.sha256, list: entry.list.length === 0 ? NO_LIST : chunksOf(entry) };
    },
    set: (source, cut) => {
      if (source.stamp === null || isRacy(source.stamp, now)) return;
      const list = cut.list.length === 0 ? NO_ENTRIES : cut.list.flatMap((chunk) => [chunk.id, chunk.length]);
      kept.set(source.path, { stamp: source.stamp, sha256: cut.sha256, list });
      changed = true;
    },
    save: async () => {
      if (!changed && kept.size === old.size) return;
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      const rows = [...kept].map(([at, entry]) => [at, entry.stamp, entry.sha256, ...entry.list]);
      await writeFileAtomic(file, JSON.stringify([VERSION, ...rows]));
    },
  };
}

function chunksOf(entry: Entry): ChunkRef[] {
  const chunks: ChunkRef[] = [];
  for (let i = 0; i < entry.list.length; i += 2) {
    chunks.push({ id: entry.list[i] as ChunkId, length: Number(entry.list[i + 1]) });
  }
  return chunks;
}

function isRacy(stamp: string, now: number): boolean {
  const mtime = stamp.indexOf(" ") + 1;
  // Numbers end at the blank that follows them.
  const ctime = stamp.indexOf(" ", mtime) + 1;
  return (
    Math.max(Number.parseFloat(stamp.slice(mtime)), Number.parseFloat(stamp.slice(ctime))) > now - RACY_MS
  );
}

function load(file: string): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  try {
    const [version, ...rows] = JSON.parse(readFileSync(file, "utf8")) as [
      string,
      ...[string, string, Digest][],
    ];
    if (version !== VERSION) return entries;
    for (const [at, stamp, sha256, ...list] of rows) {
      entries.set(at, { stamp, sha256, list: list.length === 0 ? NO_ENTRIES : list });
    }
  } catch {
    entries.clear();
  }
  return entries;
}
