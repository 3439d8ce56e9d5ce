import { fstatSync } from "node:fs";
import { kernel } from "../../keeper/ffi.ts";
import { READER_GONE } from "./io.ts";

const LOOK_MS = 500;

/**
 * Who follows something prints seldom: that whoever read that has gone (`| head -1`) would be met with the next line,
 * which may be hours away. Until it is disposed of, the command ends with its reader. Where the kernel cannot be asked,
 * it ends with the next line.
 */
export function leaveWithReader(): Disposable {
  const { stdout } = process;
  const look = (): void => {
    if (stdout.writableLength === 0 && kernel()?.isReaderGone(1) === true) process.exit(READER_GONE);
  };
  const timer = isRead(1) ? setInterval(look, LOOK_MS).unref() : undefined;
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Is it read by another process? A file is not, and a terminal says itself that it was closed. */
function isRead(fd: number): boolean {
  const stat = fstatSync(fd);
  return stat.isFIFO() || stat.isSocket();
}
