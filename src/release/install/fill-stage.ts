import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { collectAfter } from "../../lib/collect.ts";
import { errnoOf, SkeinError } from "../../lib/errors.ts";
import { faultPoint } from "../../lib/fault.ts";
import { digestOf, type ChunkId, type Digest } from "../../lib/ids.ts";
import { fillFromHere, folded, type Counts, type LocalOptions } from "./fill-from-here.ts";
import type { EarlyFlushes } from "./flush.ts";
import type { PackMap } from "../fetch/pack-map.ts";
import type { FrameTaker } from "../fetch/fetch-frames.ts";
import type { InstallPlan } from "./install-plan.ts";
import { MAX_CHUNK, MIN_CHUNK } from "../tree/gear.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { isUnread, Placer, type PlannedFile } from "./placer.ts";
import { PlacingThread } from "./placing-thread.ts";
import type { FreshContents, ReachedTree } from "./reach-tree.ts";
import type { RecordList } from "../record/record-file.ts";
import { KEPT_FREE_BYTES } from "../../lib/kept-free.ts";
import { neededRoom } from "./room.ts";
import { isFileRow, type Row } from "../tree/rows.ts";

export interface FillOptions extends LocalOptions {
  /** Told what lies in files and not yet on the disk. */
  readonly flushes: EarlyFlushes;
  /** Per file row: its inode where it is there already, beyond the plan's files. Default: none is. */
  readonly inodes?: Float64Array;
}

type Lists = ReadonlyMap<Digest, readonly ChunkRef[]>;

export interface Filled {
  readonly inodes: Float64Array;
  /** Of the files of many chunks that are there now. */
  readonly lists: readonly RecordList[];
  readonly counts: Readonly<Counts>;
}

/** Chunks taken before their garbage is collected. */
const CHUNKS_PER_COLLECTION = 10_000;
/** Fewer are put down by this thread before another has begun. */
const FILES_PER_THREAD = 2000;

/**
 * Fills the staging directory: from what an earlier try left, from earlier installs, then from the depots.
 * @throws SkeinError DISK_FULL before the first byte when it cannot fit
 */
export async function fillStage(
  plan: InstallPlan,
  { rows, packs, fresh }: ReachedTree,
  options: FillOptions,
): Promise<Filled> {
  checkSpace(plan, fresh, options);
  const { meter, inodes = new Float64Array(plan.fileRows) } = options;
  const placer = new Placer(inodes);
  const lists = plan.earlier.lists();
  let counts: Counts;
  try {
    meter.enter("local");
    const local = await fillFromHere(plan, fresh, placer, options);
    counts = local.counts;
    faultPoint("install.local");
    await fillFromDepots(plan, local.todo, lists, packs, placer, options);
    faultPoint("install.fetched");
    for (const { file, target } of plan.links) placeLink(file, target);
  } catch (err) {
    const isFile = err instanceof Error && "path" in err && typeof err.path === "string";
    throw errnoOf(err) === "EEXIST" && isFile ? folded(String(err.path), err) : err;
  } finally {
    placer.close();
  }
  for (const { row, index } of plan.files) {
    if (inodes[index] !== 0) continue;
    throw new SkeinError("CHUNK_CORRUPT", `${JSON.stringify(row.path)} could not be put together`, {
      data: { path: row.path },
    });
  }
  return { inodes, lists: listsOf(rows, inodes, lists, packs), counts };
}

/** Space is checked before the first byte: a node whose disk is full goes on as it is. */
function checkSpace(plan: InstallPlan, fresh: FreshContents, { link, resuming }: FillOptions): void {
  const { bsize, bavail, ffree, files: inodes } = fs.statfsSync(plan.stage);
  const { bytes, entries } = neededRoom(plan, { link, bsize, fresh, resuming });
  const needed = bytes + KEPT_FREE_BYTES;
  const free = bavail * bsize;
  if (needed <= free && (inodes === 0 || entries <= ffree)) return;
  const what = needed <= free ? `${entries} inodes` : `${needed} bytes`;
  throw new SkeinError("DISK_FULL", `the release needs ${what}; ${free} bytes and ${ffree} inodes are free`, {
    data: { path: path.dirname(plan.stage), needed: bytes, free, ...lacking(needed - free) },
  });
}

/** What would have to be freed, in bytes; nothing where it is not bytes that lack. */
const lacking = (bytes: number): { readonly lacking?: number } => (bytes > 0 ? { lacking: bytes } : {});

/** Whatever stands there makes way. */
export function placeLink(file: string, target: string): void {
  if (fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined) fs.rmSync(file, { recursive: true });
  fs.symlinkSync(target, file);
}

/** Where a link leads; undefined where none is. */
export function linkText(file: string): string | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  return stat?.isSymbolicLink() === true ? fs.readlinkSync(file) : undefined;
}

async function fillFromDepots(
  plan: InstallPlan,
  todo: readonly PlannedFile[],
  lists: Lists,
  packs: PackMap,
  placer: Placer,
  { meter, flushes }: FillOptions,
): Promise<void> {
  let known = 0;
  const listOf = (id: Digest): readonly ChunkRef[] | undefined => packs.lists.get(id) ?? lists.get(id);
  await packs.readUntil(() => {
    for (; known < todo.length; known++) {
      const { sha256 } = (todo[known] as PlannedFile).row;
      if (!isChunk(packs, sha256) && listOf(sha256) === undefined) return false;
    }
    return true;
  });
  meter.enter("fetch");
  placer.onWritten = (bytes) => meter.fromDisk(bytes);
  for (const file of todo) {
    const list = isChunk(packs, file.row.sha256) ? undefined : listOf(file.row.sha256);
    if (list === undefined) placer.expectWhole(file);
    else placer.expectChunks(file, list);
  }
  if (todo.length > 0) takeFromHere(plan, placer);
  collectAfter(todo.length);
  placer.onWritten = (bytes) => {
    flushes.written(bytes);
    meter.fromDepot(bytes);
    meter.tell();
  };
  let taken = 0;
  const isWorthIt = todo.length >= FILES_PER_THREAD && os.availableParallelism() > 1;
  await using thread = isWorthIt ? new PlacingThread(placer) : undefined;
  const takeFrame: FrameTaker | undefined = thread && ((frame, bytes) => thread.takeFrame(frame, bytes));
  await packs.fetch(
    placer.wanted,
    (chunk, bytes) => {
      placer.take(chunk, bytes);
      if (++taken % CHUNKS_PER_COLLECTION === 0) collectAfter(CHUNKS_PER_COLLECTION);
    },
    takeFrame,
  );
}

const isChunk = (packs: PackMap, id: Digest): boolean => packs.chunks.has(id as string as ChunkId);

/** A large file's new version shares most chunks with the old one, which is on this disk. */
function takeFromHere(plan: InstallPlan, placer: Placer): void {
  for (const { file, chunks } of plan.earlier.chunked()) {
    if (!chunks.some(({ id }) => placer.wanted.has(id))) continue;
    let fd: number;
    try {
      fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    } catch {
      continue;
    }
    try {
      takeChunks(fd, chunks, placer);
    } catch (err) {
      if (!isUnread(err)) throw err;
    } finally {
      fs.closeSync(fd);
    }
  }
}

function takeChunks(fd: number, chunks: readonly ChunkRef[], placer: Placer): void {
  const buffer = Buffer.allocUnsafe(MAX_CHUNK);
  let offset = 0;
  for (const { id, length } of chunks) {
    const bytes = buffer.subarray(0, length);
    const isHere = placer.wanted.has(id) && fs.readSync(fd, bytes, 0, length, offset) === length;
    if (isHere && digestOf(bytes) === String(id)) placer.take({ id, length }, bytes);
    offset += length;
  }
}

/** The chunk lists that a later install may use, each with one file that is made of it. */
function listsOf(rows: Iterable<Row>, inodes: Float64Array, lists: Lists, packs: PackMap): RecordList[] {
  const used = new Map<Digest, RecordList>();
  let index = 0;
  for (const row of rows) {
    if (!isFileRow(row)) continue;
    const isThere = inodes[index++] !== 0;
    if (!isThere || row.size <= MIN_CHUNK || used.has(row.sha256)) continue;
    const chunks = packs.lists.get(row.sha256) ?? lists.get(row.sha256);
    if (chunks !== undefined) used.set(row.sha256, { path: row.path, sha256: row.sha256, chunks });
  }
  return [...used.values()];
}
