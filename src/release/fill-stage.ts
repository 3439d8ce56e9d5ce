import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { collectAfter } from "../lib/collect.ts";
import { errnoOf, SkeinError } from "../lib/errors.ts";
import { faultPoint } from "../lib/fault.ts";
import { digestOf, type ChunkId, type Digest } from "../lib/ids.ts";
import type { EarlierFile } from "./earlier-content.ts";
import type { EarlyFlushes } from "./flush.ts";
import type { PackMap } from "./fetch.ts";
import type { InstallPlan } from "./install-plan.ts";
import { MAX_CHUNK, MIN_CHUNK } from "./gear.ts";
import type { InstallMeter } from "./install-progress.ts";
import type { ChunkRef } from "./pack.ts";
import { modeOf, Placer, type PlannedFile } from "./placer.ts";
import type { FreshContents, ReachedTree } from "./reach-tree.ts";
import type { RecordList } from "./record-file.ts";
import { neededRoom, SPARE_BYTES } from "./room.ts";

export interface FillOptions {
  readonly link: boolean;
  /** An earlier try left something in the staging directory. */
  readonly resuming: boolean;
  readonly signal: AbortSignal;
  readonly meter: InstallMeter;
  /** Told what lies in files and not yet on the disk. */
  readonly flushes: EarlyFlushes;
}

type Lists = ReadonlyMap<Digest, readonly ChunkRef[]>;

/** How many files came from where. */
export interface Counts {
  linked: number;
  copied: number;
  resumed: number;
}

export interface Filled {
  readonly inodes: Float64Array;
  /** Of the files of many chunks that are there now. */
  readonly lists: readonly RecordList[];
  readonly counts: Readonly<Counts>;
}

/** Files handled before other work of the process gets its turn. */
const FILES_PER_TURN = 128;
/** Chunks taken before their garbage is collected. */
const CHUNKS_PER_COLLECTION = 20_000;

/**
 * Fills the staging directory: from what an earlier try left, from earlier installs, then from the depots.
 * @throws SkeinError DISK_FULL before the first byte when it cannot fit
 */
export async function fillStage(
  plan: InstallPlan,
  { packs, fresh }: ReachedTree,
  options: FillOptions,
): Promise<Filled> {
  checkSpace(plan, fresh, options);
  const placer = new Placer(plan.fileRows);
  const counts: Counts = { linked: 0, copied: 0, resumed: 0 };
  const { meter } = options;
  meter.bytesTotal = plan.bytes;
  const lists = plan.earlier.lists();
  try {
    for (const folder of plan.folders) if (folder !== plan.stage) makeFolder(folder, options.resuming);
    placeFresh(plan, fresh, placer, options.resuming);
    const todo = await fillFromHere(plan, placer, counts, options);
    faultPoint("install.local");
    await fillFromDepots(plan, todo, lists, packs, placer, options);
    faultPoint("install.fetched");
    for (const { file, target } of plan.links) makeLink(file, target);
  } catch (err) {
    const isFile = err instanceof Error && "path" in err && typeof err.path === "string";
    throw errnoOf(err) === "EEXIST" && isFile ? folded(String(err.path), err) : err;
  } finally {
    placer.close();
  }
  for (const { row, index } of plan.files) {
    if (placer.inodes[index] !== 0) continue;
    throw new SkeinError("CHUNK_CORRUPT", `${JSON.stringify(row.path)} could not be put together`, {
      data: { path: row.path },
    });
  }
  return { inodes: placer.inodes, lists: listsOf(plan, lists, packs), counts };
}

/** Space is checked before the first byte: a node whose disk is full goes on as it is. */
function checkSpace(plan: InstallPlan, fresh: FreshContents, { link, resuming }: FillOptions): void {
  const { bsize, bavail, ffree, files: inodes } = fs.statfsSync(plan.stage);
  const { bytes, entries } = neededRoom(plan, { link, bsize, fresh, resuming });
  const needed = bytes + SPARE_BYTES;
  const free = bavail * bsize;
  if (needed <= free && (inodes === 0 || entries <= ffree)) return;
  const what = needed <= free ? `${entries} inodes` : `${needed} bytes`;
  throw new SkeinError("DISK_FULL", `the release needs ${what}; ${free} bytes and ${ffree} inodes are free`, {
    data: { path: path.dirname(plan.stage), needed: bytes, free, ...lacking(needed - free) },
  });
}

/** What would have to be freed, in bytes; nothing where it is not bytes that lack. */
const lacking = (bytes: number): { readonly lacking?: number } => (bytes > 0 ? { lacking: bytes } : {});

/** Nobody else gets past the staging directory itself, so what is in it has its final mode at once. */
function makeFolder(folder: string, resuming: boolean): void {
  try {
    fs.mkdirSync(folder, 0o755);
  } catch (err) {
    if (errnoOf(err) !== "EEXIST") throw err;
    if (resuming && fs.lstatSync(folder).isDirectory()) return fs.chmodSync(folder, 0o755);
    throw folded(folder, err);
  }
}

/** Two rows cannot have one path; when their names meet on the disk, it is the disk that folds them. */
function folded(file: string, cause: unknown): SkeinError {
  const reason = "its name is the same as another's on this disk";
  return new SkeinError(
    "TREE_REFUSED",
    `${JSON.stringify(path.basename(file))} cannot be installed: ${reason}`,
    {
      data: { path: file, reason },
      cause,
    },
  );
}

function makeLink(file: string, target: string): void {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat !== undefined) fs.rmSync(file, { recursive: true });
  fs.symlinkSync(target, file);
}

/** Contents that came with a delta take their names; a second file of the same content is copied from the first. */
function placeFresh(plan: InstallPlan, fresh: FreshContents, placer: Placer, resuming: boolean): void {
  const placed = new Map<Digest, string>();
  for (const file of fresh.size === 0 ? [] : plan.files) {
    const { sha256 } = file.row;
    const from = fresh.get(sha256);
    if (from === undefined || (resuming && placer.isThere(file))) continue;
    if (resuming) fs.rmSync(file.file, { force: true });
    const first = placed.get(sha256);
    if (first !== undefined) placer.copyFrom(first, file);
    else placer.moveFrom(from, file);
    placed.set(sha256, first ?? file.file);
  }
}

/** @returns the files whose content is not on this machine */
async function fillFromHere(
  plan: InstallPlan,
  placer: Placer,
  counts: Counts,
  options: FillOptions,
): Promise<PlannedFile[]> {
  const todo: PlannedFile[] = [];
  const { meter } = options;
  meter.enter("local");
  let handled = 0;
  for (const file of plan.files) {
    if (placer.inodes[file.index] !== 0) continue;
    const how = placeFromHere(file, plan.earlier.get(file.index), placer, options);
    if (how === undefined) todo.push(file);
    else meter.fromDisk(file.row.size);
    if (how !== undefined && how !== "empty") counts[how] += 1;
    if (++handled % FILES_PER_TURN !== 0) continue;
    meter.tell();
    await setImmediate();
    options.signal.throwIfAborted();
  }
  return todo;
}

function placeFromHere(
  plan: PlannedFile,
  earlier: EarlierFile | undefined,
  placer: Placer,
  options: FillOptions,
): keyof Counts | "empty" | undefined {
  if (options.resuming && placer.isThere(plan)) return "resumed";
  if (plan.row.size === 0) {
    placer.placeEmpty(plan);
    return "empty";
  }
  if (earlier === undefined || !isAsRecorded(plan, earlier)) return undefined;
  if (options.link && earlier.time === plan.time && tryLink(earlier.file, plan.file)) {
    placer.inodes[plan.index] = earlier.inode;
    return "linked";
  }
  return placer.copyFrom(earlier.file, plan) ? "copied" : undefined;
}

/** An unchanged size, time and inode is what a link is worth: whoever can fake them can read nothing new by it. */
function isAsRecorded(plan: PlannedFile, earlier: EarlierFile): boolean {
  const stat = fs.lstatSync(earlier.file, { throwIfNoEntry: false });
  return (
    stat !== undefined &&
    stat.isFile() &&
    stat.size === plan.row.size &&
    stat.ino === earlier.inode &&
    Math.round(stat.mtimeMs) === earlier.time &&
    (stat.mode & 0o7777) === modeOf(plan.row)
  );
}

/** False where the file has as many links as its file system allows, or cannot be linked to. */
function tryLink(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (err) {
    if (["EMLINK", "EXDEV", "EPERM", "ENOTSUP"].includes(errnoOf(err) ?? "")) return false;
    throw err;
  }
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
  await packs.fetch(placer.wanted, (chunk, bytes) => {
    placer.take(chunk, bytes);
    if (++taken % CHUNKS_PER_COLLECTION === 0) collectAfter(CHUNKS_PER_COLLECTION);
  });
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
function listsOf(plan: InstallPlan, lists: Lists, packs: PackMap): RecordList[] {
  const used = new Map<Digest, RecordList>();
  for (const { row } of plan.files) {
    if (row.size <= MIN_CHUNK || used.has(row.sha256)) continue;
    const chunks = packs.lists.get(row.sha256) ?? lists.get(row.sha256);
    if (chunks !== undefined) used.set(row.sha256, { path: row.path, sha256: row.sha256, chunks });
  }
  return [...used.values()];
}
