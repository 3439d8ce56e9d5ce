import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Content } from "../release/tree/tree-source.ts";

/**
 * One file for all that was unpacked, without a name: names from an archive never reach a disk before they are
 * checked, and nothing is left behind however the process ends.
 */
export class Spool implements Disposable {
  readonly #fd: number;
  #end = 0;
  #closed = false;

  constructor(scratch: string = os.tmpdir()) {
    const dir = fs.mkdtempSync(path.join(scratch, "skein-spool-"));
    const file = path.join(dir, "spool");
    this.#fd = fs.openSync(file, "wx+", 0o600);
    fs.rmSync(dir, { recursive: true });
  }

  /** Where the next byte will stand. */
  get end(): number {
    return this.#end;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const written = fs.writeSync(this.#fd, bytes, done, bytes.length - done, this.#end);
      done += written;
      this.#end += written;
    }
  }

  contentAt(offset: number): Content {
    return { file: this.#fd, offset };
  }

  /** Up to `length` bytes from `offset`. */
  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, fs.readSync(this.#fd, bytes, 0, length, offset));
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#fd);
  }
}
