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

/** Of a log that grew beyond its bound within one look, this many bounds are kept. */
const MOST_COPIED = 4;
const COPY_BYTES = 1024 * 1024;

export function openLog(log: LogFile): number {
  fs.mkdirSync(path.dirname(log.file), { recursive: true, mode: 0o750 });
  try {
    // Who ends before anybody looks, again and again, would fill the disk.
    rotate(log);
  } catch {
    // A longer log is no reason not to run.
  }
  return fs.openSync(
    log.file,
    fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW,
    0o640,
  );
}

/** The same, where running without a log is better than not to run. */
export function openLogOrNone(log: LogFile): number {
  try {
    return openLog(log);
  } catch {
    return fs.openSync("/dev/null", "w");
  }
}

/** Rotates when the file is larger than its bound. */
export function rotate(log: LogFile): void {
  const size = fs.statSync(log.file, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= log.maxBytes) return;
  for (let n = log.keep - 1; n >= 1; n--) {
    if (fs.existsSync(`${log.file}.${n}`)) fs.renameSync(`${log.file}.${n}`, `${log.file}.${n + 1}`);
  }
  if (log.keep > 0) copyEnd(log.file, `${log.file}.1`, Math.min(size, MOST_COPIED * log.maxBytes));
  fs.truncateSync(log.file, 0);
}

/** The writer holds the file: by truncating it to a length that no disk has, it could have the copy fill this one. */
function copyEnd(from: string, to: string, bytes: number): void {
  const source = fs.openSync(from, "r");
  const target = fs.openSync(to, "w", 0o640);
  try {
    const buffer = Buffer.alloc(COPY_BYTES);
    let at = Math.max(0, fs.fstatSync(source).size - bytes);
    for (let left = bytes; left > 0;) {
      const read = fs.readSync(source, buffer, 0, Math.min(left, buffer.length), at);
      if (read === 0) return;
      fs.writeSync(target, buffer, 0, read);
      at += read;
      left -= read;
    }
  } finally {
    fs.closeSync(source);
    fs.closeSync(target);
  }
}

/** The last lines, at most 64 KiB of them. @param from bytes before which they are another instance's */
export function tailOf(file: string, lines: number, from: number): string[] {
  let fd: number;
  try {
    fd = fs.openSync(file, "r");
  } catch {
    return [];
  }
  try {
    const size = fs.fstatSync(fd).size;
    const own = from > size ? size : size - from; // a shorter file was rotated meanwhile
    const buffer = Buffer.alloc(Math.min(own, 65_536));
    fs.readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    const text = buffer.toString("utf8").trimEnd();
    return text === "" ? [] : text.split("\n").slice(-lines);
  } finally {
    fs.closeSync(fd);
  }
}
