import fs from "node:fs";
import path from "node:path";
import { collectAfter } from "../../lib/memory/collect.ts";
import { asSkeinError, refusedAt, syncDirectory } from "../../lib/disk/files.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { forgetDelta } from "../delta/arrive.ts";
import { EarlierContent } from "./earlier-content.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { EarlyFlushes, flushPut } from "./flush.ts";
import { fillStage } from "./fill-stage.ts";
import { layOut, type InstallPlan, type Layout } from "./install-plan.ts";
import { InstallMeter, type BytesBySource, type InstallProgress } from "./install-progress.ts";
import {
  asideDir,
  installsDir,
  OpenRecords,
  openOthers,
  openRecord,
  stagingDir,
  writeFirstRecord,
} from "../record/install-record.ts";
import type { PublishedTree } from "../tree/published.ts";
import { reachTree, type ReachedTree } from "./reach-tree.ts";
import type { RecordFile } from "../record/record-file.ts";
import { clearAway, isStuck, type OnStuck } from "./stuck.ts";
import { takeSpare, type TakeOptions } from "./take-spare.ts";

export interface InstallOptions {
  readonly release: ReleaseId;
  /** From the signed release document. */
  readonly tree: PublishedTree;
  /** Tried in order: the nearest first. */
  readonly depots: readonly DepotReader[];
  /** The folder of the app's revision directories; what is put down appears as `<revs>/<release>`. */
  readonly revs: string;
  /** Share unchanged files with the last releases by hard links. False where the app may write to its own files. */
  readonly link: boolean;
  /**
   * Path in the tree → absolute target of a link laid there instead: folders that outlive releases. Where the tree has a
   * file or a link, none is; the record says which are. Default: none.
   */
  readonly writable?: ReadonlyMap<string, string>;
  /** Fetch all of it, whatever of it is here, and put it down anew. Default false. */
  readonly full?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: InstallProgress) => void;
  /** Told what an earlier try or a spare left that cannot be removed, and is done without. */
  readonly onStuck?: OnStuck | undefined;
}

export interface Installed {
  /** `<revs>/<release>` */
  readonly dir: string;
  /** Nothing was to be done: it had been installed before. */
  readonly already: boolean;
  readonly files: number;
  /** Files shared with an earlier release. */
  readonly linked: number;
  /** Files taken from an earlier release by copying. */
  readonly copied: number;
  /** Files that an earlier, unfinished install had put down. */
  readonly resumed: number;
  /** Bytes that came from depots. */
  readonly bytesFetched: number;
  readonly sources: BytesBySource;
}

/** Earlier installs that are looked at for unchanged content. */
export const MAX_PREVIOUS = 3;

/**
 * Puts a release down as `<revs>/<release>`, whole or not at all. Killed at any moment, or cut off from its depots, it
 * goes on at the next call with what had arrived.
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT, TREE_REFUSED, DISK_FULL, IO
 */
export async function install(options: InstallOptions): Promise<Installed> {
  const { revs, release, full = false } = options;
  const dir = path.join(revs, release);
  try {
    await fs.promises.mkdir(revs, { recursive: true });
    await fs.promises.mkdir(installsDir(revs), { recursive: true, mode: 0o700 });
    if (full) forget(options);
    using record = !full && fs.existsSync(dir) ? openRecord(revs, release) : undefined;
    if (record === undefined) {
      const done = await putDownAnyway(dir, options);
      return done;
    }
    forgetDelta(revs, release);
    return { ...nothingDone(dir), files: record.files };
  } catch (err) {
    const failure = asSkeinError(err, refusedAt(err) ?? dir);
    // A full disk is not helped by what could not be finished there.
    if (isSkeinError(failure, "DISK_FULL")) forget(options);
    throw failure;
  }
}

/** Removes what an unfinished install left. */
function forget({ revs, release, onStuck }: InstallOptions): void {
  clearAway(stagingDir(revs, release), onStuck);
  forgetDelta(revs, release);
}

function nothingDone(dir: string): Installed {
  return { dir, already: true, files: 0, linked: 0, copied: 0, resumed: 0, bytesFetched: 0, sources: {} };
}

/** From nothing, where what an earlier try or a spare left is stuck. */
async function putDownAnyway(dir: string, options: InstallOptions): Promise<Installed> {
  const { revs, release, onStuck } = options;
  const stage = stagingDir(revs, release);
  try {
    return await putDown(dir, options);
  } catch (err) {
    if (!isStuck(err) || !fs.existsSync(stage) || !clearAway(stage, onStuck)) throw err;
    return await putDown(dir, options);
  }
}

async function putDown(dir: string, options: InstallOptions): Promise<Installed> {
  const { revs, release, signal, full = false } = options;
  const fetcher = new Fetcher(options.depots, signal);
  using earlier = full ? new OpenRecords([]) : await openOthers(revs, release, MAX_PREVIOUS);
  const records = earlier.all;
  const meter = new InstallMeter(fetcher.bytesBy, options.onProgress);
  meter.enter("rows");
  const mayAsk = options.depots.some(({ kind }) => kind === "hub");
  const onContent = (bytes: number): void => {
    meter.fromDepot(bytes);
    meter.tell();
  };
  const tree = await reachTree(fetcher, { wanted: options.tree, revs, release, records, mayAsk, onContent });
  const stage = stagingDir(revs, release);
  const whole = layOut(tree, { writable: options.writable ?? new Map(), stage });
  faultPoint("install.planned");
  const begun = await beginStage(whole, { ...options, records });
  const plan = planRest(begun, tree, records, revs);
  meter.bytesTotal = whole.bytes;
  meter.fromDisk(whole.bytes - plan.bytes);
  meter.reused(tree.reused);
  const flushes = new EarlyFlushes(stage, signal);
  const done = await fillStage(plan, tree, { ...options, ...begun, meter, flushes });
  faultPoint("install.filled");
  meter.enter("flush");
  const flushed = finishStage(whole, plan, flushes, signal);
  // Both take the disk's time; a failure is met when the record is written.
  flushed.catch(() => undefined);
  collectAfter(plan.files.length);
  const { rows, segments, times } = tree;
  const { inodes, lists } = done;
  const { writable } = whole;
  const id = options.tree.tree;
  await writeFirstRecord(revs, { release, tree: id, rows, segments, times, inodes, lists, writable });
  faultPoint("install.recorded");
  await flushed;
  faultPoint("install.flushed");
  await appear(stage, dir, options);
  forgetDelta(revs, release);
  return {
    dir,
    already: false,
    files: whole.files.length,
    ...done.counts,
    linked: done.counts.linked + begun.linked,
    bytesFetched: fetcher.bytes,
    sources: meter.sources,
  };
}

interface BegunStage {
  /** What is left to be put down. */
  readonly layout: Layout;
  readonly inodes?: Float64Array;
  /** Files that are there and shared with an earlier release. */
  readonly linked: number;
  readonly resuming: boolean;
}

/** The staging directory: what an earlier try left, else a spare where files may be shared, else an empty one. */
async function beginStage(
  layout: Layout,
  options: TakeOptions & Pick<InstallOptions, "link">,
): Promise<BegunStage> {
  const { stage } = layout;
  if (fs.existsSync(stage)) return { layout, linked: 0, resuming: true };
  const taken = options.link ? await takeSpare(layout, options) : undefined;
  if (taken !== undefined) {
    const { inodes, linked } = taken;
    return { layout: taken.layout, inodes, linked, resuming: false };
  }
  await fs.promises.mkdir(stage, { mode: 0o700 });
  return { layout, linked: 0, resuming: false };
}

/** Nothing needs to be looked for that came along. */
function planRest(
  { layout, inodes }: BegunStage,
  tree: ReachedTree,
  records: readonly RecordFile[],
  revs: string,
): InstallPlan {
  const files = layout.files.filter(({ row }) => !tree.fresh.has(row.sha256));
  const isPart = inodes !== undefined;
  return { ...layout, earlier: new EarlierContent({ tree, files, isPart, records, revs }) };
}

/** What was put down goes to the disk. Root's folders are shut to others as they are. */
async function finishStage(
  { stage, folders }: Layout,
  { files, changed }: Layout,
  flushes: EarlyFlushes,
  signal: AbortSignal,
): Promise<void> {
  if (process.getuid?.() !== 0) {
    for (const folder of folders.toReversed()) if (folder !== stage) fs.chmodSync(folder, 0o555);
  }
  await flushes.end();
  await flushPut(stage, files, changed, signal);
}

/** The finished tree takes its name. What stood there without a record (never by our hand) makes way. */
async function appear(stage: string, dir: string, { revs, release, onStuck }: InstallOptions): Promise<void> {
  fs.chmodSync(stage, 0o755);
  if (fs.existsSync(dir)) {
    const aside = asideDir(revs, release);
    fs.renameSync(dir, aside);
    fs.renameSync(stage, dir);
    clearAway(aside, onStuck);
  } else {
    fs.renameSync(stage, dir);
  }
  faultPoint("install.renamed");
  if (process.getuid?.() !== 0) fs.chmodSync(dir, 0o555);
  await syncDirectory(path.dirname(dir));
}
