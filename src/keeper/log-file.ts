import fs from "node:fs";
import path from "node:path";

/**
 * Instances write straight to a file that is opened with O_APPEND: a pipe would kill them with its reader. It is
 * rotated by copying and truncating; a line written between the two is lost, which is the price of never blocking.
 */
export interface LogFile {
  readonly file: string;
  readonly maxBytes: number;
  /** Rotated files kept: `web.log.1` is the newest. */
  readonly keep: number;
}

export function openLog(log: LogFile): number {
  fs.mkdirSync(path.dirname(log.file), { recursive: true, mode: 0o750 });
  return fs.openSync(
    log.file,
    fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW,
    0o640,
  );
}

/** Rotates when the file is larger than its bound. */
export function rotate(log: LogFile): void {
  const size = fs.statSync(log.file, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= log.maxBytes) return;
  for (let n = log.keep - 1; n >= 1; n--) {
    if (fs.existsSync(`${log.file}.${n}`)) fs.renameSync(`${log.file}.${n}`, `${log.file}.${n + 1}`);
  }
  if (log.keep > 0) fs.copyFileSync(log.file, `${log.file}.1`);
  fs.truncateSync(log.file, 0);
}

/** The last lines, at most 64 KiB of them. */
export function tailOf(file: string, lines: number): string[] {
  let fd: number;
  try {
    fd = fs.openSync(file, "r");
  } catch {
    return [];
  }
  try {
    const size = fs.fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.min(size, 65_536));
    fs.readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8").trimEnd().split("\n").slice(-lines);
  } finally {
    fs.closeSync(fd);
  }
}
