import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { collectAfter } from "../../lib/memory/collect.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { syncDirectory } from "../../lib/disk/files.ts";
import { mountBelow } from "../../lib/disk/mounts.ts";
import { settleMemoryAfter } from "../../lib/memory/settle-memory.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import { linkText, placeLink } from "./fill-stage.ts";
import { flushFileSystem } from "./flush.ts";
import { layOut, type Layout, type PlannedLink } from "./install-plan.ts";
import { removeTree } from "./remove-tree.ts";
import { installsDir, openRecord, spareDir, spareStage } from "../record/install-record.ts";
import type { PlannedFile } from "./planned-file.ts";
import { modeOf } from "./put-file.ts";
import type { RecordFile } from "../record/record-file.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";
import type { FileRow, Row } from "../tree/rows.ts";
import { removeStrays } from "./strays.ts";
import { clearAway, isStuck, moved, type OnStuck } from "./stuck.ts";

/**
 * A spare is a second tree of the release that is current, of hard links, made while nothing else is to be done. The
 * next install takes it as its own, changes in it what is different, and so need not make as many links and folders as
 * the release has. It is trusted for nothing: each file in it is looked at as the file that it is a link to would be,
 * and each folder has the time that it was given at the end, unless something came into it or went since.
 */

/** A release of fewer files is put down quickly enough without. */
const LEAST_FILES = 2000;
/** Of a link that cannot be made: too many, no such file, or the release's folders are not what they should be. */
const NO_LINKS = ["EMLINK", "EXDEV", "EPERM", "ENOTSUP", "ENOENT", "ENOTDIR", "ELOOP"];
/** Things put down before other work of the process gets its turn. */
const PER_TURN = 32;

/** What is to have a spare. */
export interface SpareWish {
  readonly revs: string;
  /** Installed. */
  readonly release: ReleaseId;
  /** A release of fewer files has none. Default 2000. */
  readonly leastFiles?: number;
  /** This part of the disk, and of its inodes, stays free. Default 0. */
  readonly freeDisk?: number;
}

export interface SpareOptions extends SpareWish {
  readonly signal: AbortSignal;
  /** Told how long a turn took, in ms; the next one begins when this resolves. Default: at once. */
  readonly rest?: (busyMs: number) => Promise<void>;
  /** Told what cannot be removed, and is done without. */
  readonly onStuck?: OnStuck | undefined;
}

/**
 * Makes the spare of a release, of what there is of others or of an earlier try, and removes those that are of no use
 * any more. Broken off or killed at any moment, it goes on at the next call; once it is broken off it changes nothing.
 * @returns false where there is to be none: the release is small, or the disk has no room for the folders
 */
export async function makeSpare(options: SpareOptions): Promise<boolean> {
  const { revs, release, signal } = options;
  signal.throwIfAborted();
  const dir = spareDir(revs, release);
  if (!fs.existsSync(dir) && !(await makeAnyway(dir, options))) {
    dropSpares(revs, options.onStuck);
    return false;
  }
  signal.throwIfAborted();
  removeAll(
    sparesIn(revs).filter((other) => other !== dir),
    options.onStuck,
  );
  return true;
}

/** Of nothing, where that of which it was to be made is stuck. */
async function makeAnyway(dir: string, options: SpareOptions): Promise<boolean> {
  const { revs, release, onStuck, signal } = options;
  try {
    return await makeAnew(dir, options);
  } catch (err) {
    signal.throwIfAborted();
    if (!isStuck(err) || !clearAway(spareStage(revs, release), onStuck)) throw err;
    return await makeAnew(dir, options);
  }
}

async function makeAnew(dir: string, options: SpareOptions): Promise<boolean> {
  const { revs, release, signal } = options;
  using record = recordOf(options);
  if (record === undefined) return false;
  const stage = spareStage(revs, release);
  const isBegun = begin(revs, stage);
  // What the install before left behind would lie beside all that is looked at now.
  collectAfter(record.files);
  const layout = await layoutOf(record, stage, options);
  if (!hasRoom(layout, options)) return false;
  if (isBegun) await removeStrays(layout, () => turn(options));
  if (!(await isFilled(new Filler(layout, record, options)))) return false;
  faultPoint("spare.filled");
  await flushFileSystem(stage, signal);
  signal.throwIfAborted();
  faultPoint("spare.flushed");
  fs.renameSync(stage, dir);
  await syncDirectory(installsDir(revs));
  faultPoint("spare.made");
  // An order may come before that settles.
  collectAfter(layout.files.length);
  settleMemoryAfter(layout.files.length);
  return true;
}

/**
 * Lets the tree of a release that is gone become the spare of another, where there is none yet. It lies beside the
 * records; where it could not be moved there, it is of no use.
 */
export function keepForSpare(tree: string, wish: SpareWish): void {
  const { revs, release } = wish;
  using record = recordOf(wish);
  const isMovable = path.dirname(tree) === installsDir(revs) && isFolder(tree);
  if (record === undefined || sparesIn(revs).length > 0 || !isMovable) return;
  fs.renameSync(tree, spareStage(revs, release));
}

/** Removes all spares. @returns how many */
export function dropSpares(revs: string, onStuck?: OnStuck): number {
  return removeAll(sparesIn(revs), onStuck);
}

/** What is mounted in one is not ours: it stays, and so does the spare. @returns how many went */
function removeAll(spares: readonly string[], onStuck?: OnStuck): number {
  return spares.filter((dir) => mountBelow(dir) === undefined && clearAway(dir, onStuck)).length;
}

/** The open record of a release that is to have a spare. */
function recordOf({ revs, release, leastFiles = LEAST_FILES }: SpareWish): RecordFile | undefined {
  const record = openRecord(revs, release);
  if (record === undefined || record.files >= leastFiles) return record;
  record[Symbol.dispose]();
  return undefined;
}

/** All that is a spare or is to become one. */
function sparesIn(revs: string): readonly string[] {
  const installs = installsDir(revs);
  if (!fs.existsSync(installs)) return [];
  return fs.readdirSync(installs).flatMap((name) => {
    const [id = "", word] = name.split(".");
    return isReleaseId(id) && word === "spare" ? [path.join(installs, name)] : [];
  });
}

/** A link to one is none: what lies there is not ours. */
const isFolder = (at: string): boolean => fs.lstatSync(at, { throwIfNoEntry: false })?.isDirectory() === true;

/** With what there is of a tree: most of it will be the same. @returns whether something is there */
function begin(revs: string, stage: string): boolean {
  if (isFolder(stage)) return true;
  removeTree(stage);
  const other = sparesIn(revs).find((dir) => mountBelow(dir) === undefined && moved(dir, stage));
  if (other === undefined) fs.mkdirSync(stage, { mode: 0o700 });
  return other !== undefined;
}

/** What was put down of the release. */
async function layoutOf(record: RecordFile, stage: string, options: SpareOptions): Promise<Layout> {
  const decoded: Row[][] = [];
  await inTurns(record.segments.keys(), options, (n) => decoded.push(record.rowsOf(n)));
  const segments = record.segments.map((segment, n) => ({ ...segment, rows: decoded[n]?.length ?? 0 }));
  const tree = { rows: decoded.flat(), segments, times: record.times() };
  return layOut(tree, { stage, writable: record.writable });
}

/** What is no hard link is all that it takes. */
function hasRoom({ folders, links, files }: Layout, { revs, freeDisk = 0 }: SpareWish): boolean {
  const { bsize, blocks, bavail, ffree, files: inodes } = fs.statfsSync(revs);
  const taken = folders.length + links.length;
  const empty = files.filter(({ row }) => row.size === 0).length;
  const keptBytes = Math.max(freeDisk * blocks * bsize, KEPT_FREE_BYTES);
  const hasInodes = inodes === 0 || taken + empty + freeDisk * inodes <= ffree;
  return taken * bsize + keptBytes <= bavail * bsize && hasInodes;
}

/** Others fill the disk at the same time. */
async function isFilled(filler: Filler): Promise<boolean> {
  try {
    await filler.fill();
    return true;
  } catch (err) {
    if (["ENOSPC", "EDQUOT"].includes(errnoOf(err) ?? "")) return false;
    throw err;
  }
}

/** Does work for each thing, in turns between which others' work gets its own. */
async function inTurns<T>(
  things: Iterable<T>,
  options: SpareOptions,
  work: (thing: T) => void,
): Promise<void> {
  let began = performance.now();
  let done = 0;
  for (const thing of things) {
    work(thing);
    if (++done % PER_TURN !== 0) continue;
    await turn(options, performance.now() - began);
    began = performance.now();
  }
}

async function turn({ signal, rest }: SpareOptions, busyMs = 1): Promise<void> {
  await rest?.(busyMs);
  await setImmediate();
  signal.throwIfAborted();
}

/** Makes a folder the same as an install, file by file, whatever is in it that has a place. */
class Filler {
  readonly #layout: Layout;
  readonly #dir: string;
  readonly #inodes: Float64Array;
  readonly #options: SpareOptions;

  constructor(layout: Layout, record: RecordFile, options: SpareOptions) {
    this.#layout = layout;
    this.#dir = path.join(options.revs, record.release);
    this.#inodes = record.inodes();
    this.#options = options;
  }

  async fill(): Promise<void> {
    const { folders, files, links } = this.#layout;
    await inTurns(folders, this.#options, (folder) => this.#folder(folder));
    await inTurns(files, this.#options, (file) => this.#file(file));
    await inTurns(links, this.#options, (link) => this.#link(link));
    // Last, and all the same: whatever comes into one later, or goes, changes its time.
    const now = Math.floor(Date.now() / 1000);
    await inTurns(folders, this.#options, (folder) => fs.utimesSync(folder, now, now));
  }

  #folder(folder: string): void {
    if (!fs.existsSync(folder)) fs.mkdirSync(folder, 0o755);
  }

  /** What cannot be linked is left out: an install puts that down itself. */
  #file({ file, index, row, time }: PlannedFile): void {
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat !== undefined && stat.ino === this.#inodes[index]) return;
    if (stat !== undefined) fs.rmSync(file);
    faultPoint("spare.placing");
    if (row.size === 0) return this.#empty(file, row, time);
    try {
      fs.linkSync(path.join(this.#dir, row.path), file);
    } catch (err) {
      if (!NO_LINKS.includes(errnoOf(err) ?? "")) throw err;
    }
  }

  #empty(file: string, row: FileRow, time: number): void {
    fs.writeFileSync(file, "", { flag: "wx", mode: modeOf(row) });
    fs.utimesSync(file, time / 1000, time / 1000);
  }

  #link({ file, target }: PlannedLink): void {
    if (linkText(file) !== target) placeLink(file, target);
  }
}
