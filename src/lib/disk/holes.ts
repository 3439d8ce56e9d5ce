import fs from "node:fs";

/** Never written to, so it takes no memory of its own. */
const ZEROS = Buffer.alloc(1024 * 1024);

/** Nothing but zeros, 1 MiB at most. The ends are looked at first: hardly any other bytes are gone through for it. */
export const isZeros = (bytes: Buffer): boolean =>
  bytes[0] === 0 &&
  bytes.at(-1) === 0 &&
  bytes.length <= ZEROS.length &&
  bytes.equals(ZEROS.subarray(0, bytes.length));

/** Lets a file reach `end` at least. What nobody wrote before it reads as zeros, and takes no room on the disk. */
export function reach(fd: number, end: number): void {
  if (fs.fstatSync(fd).size < end) fs.ftruncateSync(fd, end);
}
