import fs from "node:fs";
import path from "node:path";
import { asSkeinError, refusedAt } from "../../lib/disk/files.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { contentKey } from "./earlier-content.ts";
import { fillStage } from "./fill-stage.ts";
import { EarlyFlushes, flushFileSystem } from "./flush.ts";
import type { InstallOptions } from "./install.ts";
import { planInstall, type InstallPlan } from "./install-plan.ts";
import { addSources, InstallMeter, type BytesBySource } from "./install-progress.ts";
import { mendingDir, openOthers, OpenRecords, openRecord, rewriteRecord } from "../record/install-record.ts";
import { placeFile, placeLinkTo, setRight } from "./put-in-place.ts";
import { reachTree } from "./reach-tree.ts";
import type { RecordFile } from "../record/record-file.ts";
import { refuseMounts, removeTree } from "./remove-tree.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";
import { assertInstall, verifyInstall, type Difference } from "./verify-install.ts";

export interface MendOptions extends Pick<
  InstallOptions,
  "release" | "tree" | "depots" | "revs" | "signal" | "onProgress"
> {
  /** Fetch and replace every file, also those that are as they should be, and use nothing that this machine has. */
  readonly full: boolean;
}

export interface Mending {
  /** What was found, in order of path. */
  readonly differences: readonly Difference[];
  /** Files that were replaced, in this release and in others that shared them by hard links. */
  readonly files: number;
  readonly shared: number;
  readonly bytesFetched: number;
  readonly sources: BytesBySource;
}

/** What is behind something that was mended may turn out to be wrong, too: a folder that was a link, for example. */
const PASSES = 3;

/**
 * Makes an installed release what its document says again, under whatever runs from it: each differing file is put
 * together aside, proved, and takes its name in one step; who has the old one open keeps that. Other releases that
 * share a damaged file by a hard link get the good one first, so that a crash in between hides no damage.
 * @throws SkeinError RELEASE_NOT_FOUND, MOUNTED, TREE_CORRUPT, INSTALL_TAMPERED when it differs still, and what `install` throws
 */
export async function mendInstall(options: MendOptions): Promise<Mending> {
  const { revs, release, tree, signal } = options;
  let mending = await mendOnce(options);
  for (let pass = 1; pass < PASSES && mending.differences.length > 0; pass++) {
    const more = await mendOnce({ ...options, full: false });
    if (more.differences.length === 0) return mending;
    mending = sumOf(mending, more);
  }
  await assertInstall(revs, release, tree.tree, signal);
  return mending;
}

function sumOf(a: Mending, b: Mending): Mending {
  return {
    differences: [...a.differences, ...b.differences],
    files: a.files + b.files,
    shared: a.shared + b.shared,
    bytesFetched: a.bytesFetched + b.bytesFetched,
    sources: addSources(a.sources, b.sources),
  };
}

async function mendOnce(options: MendOptions): Promise<Mending> {
  const { revs, release, tree, signal, full } = options;
  const stage = mendingDir(revs, release);
  removeTree(stage);
  const differences = await verifyInstall(revs, release, tree.tree, signal);
  const nothing = { differences, files: 0, shared: 0, bytesFetched: 0, sources: {} };
  if (differences.length === 0 && !full) return nothing;
  refuseMounts(path.join(revs, release));
  using record = openRecord(revs, release);
  if (record === undefined) {
    throw new SkeinError("RELEASE_NOT_FOUND", `release ${release} is not installed here`, {
      data: { release },
    });
  }
  const rows = new Map(rowsOf(record).map((row) => [row.path, row]));
  const rowAt = (at: string): Row | undefined => {
    const target = record.writable.get(at);
    return target === undefined ? rows.get(at) : { kind: "l", path: at, target };
  };
  try {
    const fresh = await freshCopies(stage, record, [...rows.values()], differences, options);
    faultPoint("mend.filled");
    const dir = path.join(revs, release);
    for (const one of inOrder(differences)) setRight(path.join(dir, one.path), one, rowAt(one.path));
    const shared = full ? 0 : await mendShared(revs, release, { stage, files: fresh.files });
    faultPoint("mend.shared");
    const inodes = record.inodes();
    for (const [index, { path: at }] of fresh.files)
      inodes[index] = placeFile(path.join(stage, at), path.join(dir, at));
    faultPoint("mend.placed");
    await flushFileSystem(dir, signal);
    await renumberInodes(revs, record, inodes);
    return { ...nothing, ...fresh.counts, files: fresh.files.size, shared };
  } catch (err) {
    throw asSkeinError(err, refusedAt(err) ?? stage);
  } finally {
    removeTree(stage);
  }
}

/** What was added goes first: once its folder is the link again that it was, its path leads to files that belong there. */
function inOrder(differences: readonly Difference[]): readonly Difference[] {
  const { added = [], others = [] } = Object.groupBy(differences, ({ reason }) =>
    reason === "added" ? "added" : "others",
  );
  return [...added, ...others];
}

const rowsOf = (record: RecordFile): Row[] => record.segments.flatMap((_, n) => record.rowsOf(n));

async function renumberInodes(revs: string, record: RecordFile, inodes: Float64Array): Promise<void> {
  const { release, tree, segments, writable } = record;
  const rows = rowsOf(record);
  await rewriteRecord(revs, {
    release,
    tree,
    segments,
    writable,
    rows,
    times: record.times(),
    inodes,
    lists: record.lists(),
  });
}

interface Fresh {
  /** The files that lie in the stage, by index. */
  readonly files: ReadonlyMap<number, FileRow>;
  readonly counts: Pick<Mending, "bytesFetched" | "sources">;
}

/** Proved copies of the files whose content is wrong or gone, on the disk beside the install. */
async function freshCopies(
  stage: string,
  record: RecordFile,
  rows: readonly Row[],
  differences: readonly Difference[],
  options: MendOptions,
): Promise<Fresh> {
  const { revs, tree: wanted, release, depots, signal, onProgress, full } = options;
  const bad = new Set(differences.filter(({ reason }) => reason !== "mode").map((one) => one.path));
  const files = new Map<number, FileRow>();
  const inodes = record.inodes();
  for (const [index, row] of rows.filter(isFileRow).entries()) {
    if (full ? inodes[index] !== 0 : bad.has(row.path)) files.set(index, row);
  }
  if (files.size === 0) return { files, counts: { bytesFetched: 0, sources: {} } };
  fs.mkdirSync(stage, { recursive: true, mode: 0o700 });
  using others = full ? new OpenRecords([]) : await openOthers(revs, release);
  const fetcher = new Fetcher(depots, signal);
  const meter = new InstallMeter(fetcher.bytesBy, onProgress);
  // The rows are here, and proved by what was signed: without a file to fetch nobody is asked.
  const known = full ? [] : [record];
  const onContent = (bytes: number): void => meter.fromDepot(bytes);
  const tree = await reachTree(fetcher, { wanted, revs, release, records: known, mayAsk: false, onContent });
  const { writable } = record;
  const plan = part(planInstall(tree, { revs, stage, writable, records: others.all }), files);
  meter.bytesTotal = plan.bytes;
  const flushes = new EarlyFlushes(stage, signal);
  await fillStage(plan, tree, { link: false, resuming: false, signal, meter, flushes });
  await flushes.end();
  await flushFileSystem(stage, signal);
  return { files, counts: { bytesFetched: fetcher.bytes, sources: meter.sources } };
}

/** The plan for some of its files only. */
function part(plan: InstallPlan, wanted: ReadonlyMap<number, FileRow>): InstallPlan {
  const files = plan.files.filter(({ index }) => wanted.has(index));
  const folders = new Set<string>();
  for (const { file } of files) {
    for (let at = path.dirname(file); at.length >= plan.stage.length; at = path.dirname(at)) folders.add(at);
  }
  return {
    ...plan,
    files,
    links: [],
    folders: plan.folders.filter((folder) => folders.has(folder)),
    bytes: files.reduce((sum, { row }) => sum + row.size, 0),
  };
}

/** Good files that lie in the stage, by index. */
interface Staged {
  readonly stage: string;
  readonly files: ReadonlyMap<number, FileRow>;
}

/**
 * What is wrong in a file is wrong in every release that has it by the same inode, unless that is to have other content:
 * then it was laid over ours by somebody else's hand. @returns how many files
 */
async function mendShared(revs: string, release: ReleaseId, fresh: Staged): Promise<number> {
  const bad = sharedFiles(path.join(revs, release), fresh);
  if (bad.size === 0) return 0;
  let count = 0;
  using others = await openOthers(revs, release);
  for (const other of others.all) {
    const inodes = other.inodes();
    if (!inodes.some((inode) => bad.has(inode))) continue;
    const rows = rowsOf(other).filter(isFileRow);
    const before = count;
    for (const [index, row] of rows.entries()) {
      const good = bad.get(inodes[index] ?? 0)?.get(contentKey(row));
      if (good === undefined) continue;
      placeLinkTo(good, path.join(revs, other.release, row.path));
      inodes[index] = fs.lstatSync(good).ino;
      count += 1;
    }
    if (count > before) await renumberInodes(revs, other, inodes);
  }
  return count;
}

/** Of files that have other names: inode → what it may be → the good file of that. */
function sharedFiles(
  dir: string,
  { stage, files }: Staged,
): ReadonlyMap<number, ReadonlyMap<string, string>> {
  const shared = new Map<number, Map<string, string>>();
  for (const row of files.values()) {
    const stat = fs.lstatSync(path.join(dir, row.path), { throwIfNoEntry: false });
    if (stat === undefined || stat.nlink === 1) continue;
    const good = shared.get(stat.ino) ?? new Map<string, string>();
    shared.set(stat.ino, good.set(contentKey(row), path.join(stage, row.path)));
  }
  return shared;
}
