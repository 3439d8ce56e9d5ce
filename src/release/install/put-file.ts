import fs from "node:fs";
import { isZeros, reach } from "../../lib/disk/holes.ts";
import type { FileRow } from "../tree/rows.ts";

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
/** A new file, which leads nowhere else. */
export const CREATE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

/** Files never change once they are put down: whoever may run them may only read and run them. */
export const modeOf = (row: Pick<FileRow, "kind">): number => (row.kind === "x" ? 0o555 : 0o444);

/** So do folders; root's are shut to others as they are. @param owner of the folder. Default: this process's user */
export const folderMode = (owner = process.getuid?.()): number => (owner === 0 ? 0o755 : 0o555);

/** Nobody else gets past the staging directory itself, so what is in it has its final mode at once. */
export const makeFolder = (folder: string): void => fs.mkdirSync(folder, 0o755);

/** What a file has beside its content. */
export interface FileLook {
  readonly mode: number;
  /** In ms since the epoch. */
  readonly time: number;
}

/** Makes a file of these bytes. @returns its inode */
export function putFile(file: string, bytes: Uint8Array, look: FileLook): number {
  const fd = fs.openSync(file, CREATE, look.mode);
  try {
    writeAt(fd, bytes, 0);
    return finishFile(fd, look);
  } finally {
    fs.closeSync(fd);
  }
}

/** Gives an open file its mode and time, where it has others. @returns its inode */
export function finishFile(fd: number, { mode, time }: FileLook): number {
  const stat = fs.fstatSync(fd);
  if ((stat.mode & 0o7777) !== mode) fs.fchmodSync(fd, mode);
  if (Math.round(stat.mtimeMs) !== time) fs.futimesSync(fd, time / 1000, time / 1000);
  return stat.ino;
}

export function writeAt(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length;) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, offset + done);
  }
}

/** As {@link writeAt}, where the file holds nothing yet: of zeros nothing is written. */
export function writeFresh(fd: number, bytes: Buffer, offset: number): void {
  if (isZeros(bytes)) reach(fd, offset + bytes.length);
  else writeAt(fd, bytes, offset);
}
