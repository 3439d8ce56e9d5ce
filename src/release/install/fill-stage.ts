import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { collectAfter } from "../../lib/memory/collect.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { digestOf, type ChunkId, type Digest } from "../../lib/text/ids.ts";
import {
  fillFromHere,
  folded,
  type Counts,
  type FilledFromHere,
  type LocalOptions,
} from "./fill-from-here.ts";
import { fillFromNothing } from "./fill-from-nothing.ts";
import type { EarlyFlushes } from "./flush.ts";
import type { PackMap } from "../fetch/pack-map.ts";
import type { FrameTaker } from "../fetch/fetch-frames.ts";
import type { InstallPlan } from "./install-plan.ts";
import { MAX_CHUNK, MIN_CHUNK } from "../tree/gear.ts";
import type { ChunkRef } from "../tree/pack.ts";
import { isUnread, Placer } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";
import { PlacingThread } from "./placing-thread.ts";
import type { FreshContents, ReachedTree } from "./reach-tree.ts";
import type { RecordList } from "../record/record-file.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";
import { neededRoom } from "./room.ts";
import { Pauses } from "../../lib/async/pauses.ts";
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
    const isFirst = isNothingHere(plan, fresh, options);
    await using thread = isFirst ? secondThread(plan.files.length, placer) : undefined;
    const local = thread ? fillFromNothing(plan, thread) : await fillFromHere(plan, fresh, placer, options);
    counts = local.counts;
    faultPoint("install.local");
    await fillFromDepots(plan, local, { ...options, lists, packs, placer, thread });
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

/** No content of an earlier release, nor of an earlier try. */
const isNothingHere = (
  { earlier }: InstallPlan,
  fresh: FreshContents,
  { inodes, resuming }: FillOptions,
): boolean => earlier.isEmpty && fresh.size === 0 && inodes === undefined && !resuming;

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

interface DepotOptions extends FillOptions {
  readonly lists: Lists;
  readonly packs: PackMap;
  readonly placer: Placer;
  /** Where one runs already. */
  readonly thread: PlacingThread | undefined;
}

async function fillFromDepots(
  plan: InstallPlan,
  { todo, folders }: FilledFromHere,
  options: DepotOptions,
): Promise<void> {
  const { meter, flushes, packs, placer, signal } = options;
  const pauses = new Pauses(signal);
  const listOf = (id: Digest): readonly ChunkRef[] | undefined =>
    packs.lists.get(id) ?? options.lists.get(id);
  let known = 0;
  await packs.readUntil(() => {
    for (; known < todo.length; known++) {
      const { sha256, size } = (todo[known] as PlannedFile).row;
      if (size > 0 && !isChunk(packs, sha256) && listOf(sha256) === undefined) return false;
    }
    return true;
  });
  meter.enter("fetch");
  placer.onWritten = (bytes) => meter.fromDisk(bytes);
  await folders;
  for (const file of todo) {
    const { sha256, size } = file.row;
    const list = isChunk(packs, sha256) ? undefined : listOf(sha256);
    if (size === 0) placer.placeEmpty(file);
    else if (list === undefined) placer.expectWhole(file);
    else await placer.expectChunks(file, list, pauses);
  }
  if (todo.length > 0) await takeFromHere(plan, placer, pauses);
  collectAfter(todo.length);
  placer.onWritten = (bytes) => {
    flushes.written(bytes);
    meter.fromDepot(bytes);
    meter.tell();
  };
  let taken = 0;
  await using late = options.thread === undefined ? secondThread(todo.length, placer) : undefined;
  const thread = options.thread ?? late;
  const takeFrame: FrameTaker | undefined = thread && ((frame, bytes) => thread.takeFrame(frame, bytes));
  await packs.fetch(
    placer.wanted,
    (chunk, bytes) => {
      placer.take(chunk, bytes);
      if (++taken % CHUNKS_PER_COLLECTION === 0) collectAfter(CHUNKS_PER_COLLECTION);
    },
    takeFrame,
  );
  await placer.end(pauses);
}

/** To put so many files down together with this one; undefined where that is not worth it. */
function secondThread(files: number, placer: Placer): PlacingThread | undefined {
  const isWorthIt = files >= FILES_PER_THREAD && os.availableParallelism() > 1;
  return isWorthIt ? new PlacingThread(placer) : undefined;
}

const isChunk = (packs: PackMap, id: Digest): boolean => packs.chunks.has(id as string as ChunkId);

/** A large file's new version shares most chunks with the old one, which is on this disk. */
async function takeFromHere(plan: InstallPlan, placer: Placer, pauses: Pauses): Promise<void> {
  for (const { file, chunks } of plan.earlier.chunked()) {
    if (!chunks.some(({ id }) => placer.wanted.has(id))) continue;
    let fd: number;
    try {
      fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    } catch {
      continue;
    }
    try {
      await takeChunks(fd, chunks, placer, pauses);
    } catch (err) {
      if (!isUnread(err)) throw err;
    } finally {
      fs.closeSync(fd);
    }
  }
}

async function takeChunks(
  fd: number,
  chunks: readonly ChunkRef[],
  placer: Placer,
  pauses: Pauses,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(MAX_CHUNK);
  let offset = 0;
  for (const { id, length } of chunks) {
    const bytes = buffer.subarray(0, length);
    const isHere = placer.wanted.has(id) && fs.readSync(fd, bytes, 0, length, offset) === length;
    if (isHere && digestOf(bytes) === String(id)) placer.take({ id, length }, bytes);
    offset += length;
    if (isHere) await pauses.took(length);
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
