import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import type { ReleaseId, TreeId } from "../../lib/ids.ts";
import { SkeinError } from "../../lib/errors.ts";
import { isUnder } from "./install-plan.ts";
import { readRecord, type InstallRecord } from "../record/install-record.ts";
import { modeOf } from "./put-file.ts";
import type { FileRow, Row } from "../tree/rows.ts";

/** An installed path that is not what its release says. */
export interface Difference {
  readonly path: string;
  readonly reason: "missing" | "added" | "kind" | "content" | "mode" | "link";
}

const READ_BYTES = 1024 * 1024;

/**
 * Reads every file of an install and names what differs, in order of path; empty: all is as it was signed.
 * Folders that the app may write are not looked into.
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
  if (record === undefined || !fs.existsSync(dir)) {
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
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  for (const [i, row] of rows.entries()) {
    const reason = differs(`${dir}/${row.path}`, row, buffer);
    if (reason !== undefined) found.push({ path: row.path, reason });
    if (i % 64 !== 0) continue;
    await setImmediate();
    signal.throwIfAborted();
  }
  for (const at of extraPaths(dir, "", expected, record.writable)) found.push({ path: at, reason: "added" });
  return found;
}

function differs(file: string, row: Row, buffer: Buffer): Difference["reason"] | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return "missing";
  if (row.kind === "d") return stat.isDirectory() ? undefined : "kind";
  if (row.kind === "l") {
    if (!stat.isSymbolicLink()) return "kind";
    return fs.readlinkSync(file) === row.target ? undefined : "link";
  }
  if (!stat.isFile()) return "kind";
  if (stat.size !== row.size || !hasContent(file, row, buffer)) return "content";
  return (stat.mode & 0o7777) === modeOf(row) ? undefined : "mode";
}

function hasContent(file: string, row: FileRow, buffer: Buffer): boolean {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    const sum = createHash("sha256");
    for (;;) {
      const read = fs.readSync(fd, buffer, 0, READ_BYTES, null);
      if (read === 0) return sum.digest("hex") === String(row.sha256);
      sum.update(buffer.subarray(0, read));
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
  for (const entry of fs.readdirSync(path.join(dir, under), { withFileTypes: true })) {
    const at = under + entry.name;
    if (isUnder(at, writable)) continue;
    const leadsToWritable = [...writable.keys()].some((key) => key.startsWith(`${at}/`));
    if (!expected.has(at) && !leadsToWritable) yield at;
    else if (entry.isDirectory()) yield* extraPaths(dir, `${at}/`, expected, writable);
  }
}
