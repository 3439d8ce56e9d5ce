import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import type { ReleaseId, TreeId } from "../../lib/text/ids.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import { isUnder } from "./install-plan.ts";
import { readRecord, type InstallRecord } from "../record/install-record.ts";
import { folderMode, modeOf } from "./put-file.ts";
import type { FileRow, Row } from "../tree/rows.ts";

/** An installed path that is not what its release says; `.` is the release's own folder. */
export interface Difference {
  readonly path: string;
  readonly reason: "missing" | "added" | "kind" | "content" | "mode" | "link";
}

const READ_BYTES = 1024 * 1024;

/**
 * Reads every file of an install and names what differs, in order of path; empty: all is as it was signed.
 * Folders that the app may write are not looked into, but they are there.
 * @throws SkeinError RELEASE_NOT_FOUND when it is not installed; TREE_CORRUPT when the record is of another tree
 */
export async function verifyInstall(
  revs: string,
  release: ReleaseId,
  tree: TreeId,
  signal: AbortSignal,
): Promise<readonly Difference[]> {
  const record = await readRecord(revs, release);
  const dir = path.join(revs, release);
  if (record === undefined || fs.lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new SkeinError("RELEASE_NOT_FOUND", `release ${release} is not installed here`, {
      data: { release },
    });
  }
  if (record.tree !== tree) {
    throw new SkeinError("TREE_CORRUPT", `the record of ${release} is of another tree`, {
      data: { release },
    });
  }
  return await compare(dir, record, signal);
}

/** @throws SkeinError INSTALL_TAMPERED with data.files when anything differs */
export async function assertInstall(
  revs: string,
  release: ReleaseId,
  tree: TreeId,
  signal: AbortSignal,
): Promise<void> {
  const differences = await verifyInstall(revs, release, tree, signal);
  const [first] = differences;
  if (first === undefined) return;
  const more = differences.length > 1 ? ` and ${differences.length - 1} more` : "";
  throw new SkeinError(
    "INSTALL_TAMPERED",
    `${first.path} differs from its release (${first.reason})${more}`,
    {
      data: { release, files: differences.slice(0, 100) },
    },
  );
}

async function compare(dir: string, record: InstallRecord, signal: AbortSignal): Promise<Difference[]> {
  const found: Difference[] = [];
  const rows = record.rows.filter((row) => !isUnder(row.path, record.writable));
  const expected = new Set(rows.map((row) => row.path));
  const reading = { buffer: Buffer.allocUnsafeSlow(READ_BYTES), pauses: new Pauses(signal) };
  /** What should be a folder and is none: a link there may lead to the very files, which are not in it then. */
  const noFolders = new Set<string>();
  if (!hasFolderMode(fs.lstatSync(dir))) found.push({ path: ".", reason: "mode" });
  for (const [i, row] of rows.entries()) {
    const isCutOff = noFolders.has(path.dirname(row.path));
    const reason = isCutOff ? "missing" : await differs(`${dir}/${row.path}`, row, reading);
    if (reason !== undefined) found.push({ path: row.path, reason });
    if (row.kind === "d" && (reason === "missing" || reason === "kind")) noFolders.add(row.path);
    if (i % 64 !== 0) continue;
    await setImmediate();
    signal.throwIfAborted();
  }
  for (const at of record.writable.keys())
    if (isGone(`${dir}/${at}`)) found.push({ path: at, reason: "missing" });
  for (const at of extraPaths(dir, "", expected, record.writable)) found.push({ path: at, reason: "added" });
  return found;
}

/** What the app may write is its own, whatever it is; only when there is nothing there is the link of ours lost. */
function isGone(file: string): boolean {
  try {
    return fs.lstatSync(file, { throwIfNoEntry: false }) === undefined;
  } catch (err) {
    if (errnoOf(err) !== "EACCES" && errnoOf(err) !== "ENOTDIR") throw err;
    return false;
  }
}

/** How files are read, one at a time. */
interface Reading {
  readonly buffer: Buffer;
  readonly pauses: Pauses;
}

type Reason = Difference["reason"];

/** What lies in a folder that is shut to us counts as right until that is open: its mode is a difference itself. */
async function differs(file: string, row: Row, reading: Reading): Promise<Reason | undefined> {
  try {
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return "missing";
    if (row.kind === "d") return differsAsFolder(stat);
    if (row.kind === "l") {
      if (!stat.isSymbolicLink()) return "kind";
      return fs.readlinkSync(file) === row.target ? undefined : "link";
    }
    return await differsAsFile(file, stat, row, reading);
  } catch (err) {
    if (errnoOf(err) === "EACCES") return undefined;
    throw err;
  }
}

function differsAsFolder(stat: fs.Stats): Reason | undefined {
  if (!stat.isDirectory()) return "kind";
  return hasFolderMode(stat) ? undefined : "mode";
}

async function differsAsFile(
  file: string,
  stat: fs.Stats,
  row: FileRow,
  reading: Reading,
): Promise<Reason | undefined> {
  if (!stat.isFile()) return "kind";
  const hasRightMode = (stat.mode & 0o7777) === modeOf(row);
  // Its owner may not read it: its content is looked at when that was set right.
  if ((stat.mode & 0o400) === 0 && stat.size === row.size) return "mode";
  if (stat.size !== row.size || !(await hasContent(file, row, reading))) return "content";
  return hasRightMode ? undefined : "mode";
}

/** A folder takes the bit of its group from the one that it is made in. */
const hasFolderMode = ({ mode, uid }: fs.Stats): boolean => (mode & 0o777) === folderMode(uid);

async function hasContent(file: string, row: FileRow, { buffer, pauses }: Reading): Promise<boolean> {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    const sum = createHash("sha256");
    for (;;) {
      const read = fs.readSync(fd, buffer, 0, READ_BYTES, null);
      if (read === 0) return sum.digest("hex") === String(row.sha256);
      sum.update(buffer.subarray(0, read));
      await pauses.took(read);
    }
  } finally {
    fs.closeSync(fd);
  }
}

function* extraPaths(
  dir: string,
  under: string,
  expected: ReadonlySet<string>,
  writable: ReadonlyMap<string, string>,
): Generator<string> {
  for (const entry of entriesOf(path.join(dir, under))) {
    const at = under + entry.name;
    if (isUnder(at, writable)) continue;
    const leadsToWritable = [...writable.keys()].some((key) => key.startsWith(`${at}/`));
    if (!expected.has(at) && !(leadsToWritable && entry.isDirectory())) yield at;
    else if (entry.isDirectory()) yield* extraPaths(dir, `${at}/`, expected, writable);
  }
}

function entriesOf(folder: string): readonly fs.Dirent[] {
  try {
    return fs.readdirSync(folder, { withFileTypes: true });
  } catch (err) {
    if (errnoOf(err) === "EACCES") return [];
    throw err;
  }
}
