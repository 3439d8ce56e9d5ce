import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isZeros, reach } from "../../lib/disk/holes.ts";
import type { Content } from "../tree/tree-source.ts";

const READ_BYTES = 256 * 1024;

/** A file without a name: nothing of it is left, however the process ends. */
export class ScratchFile implements Disposable {
  readonly #fd: number;
  /** Where the next byte will stand. */
  end = 0;

  /** `folder`: where there is room. Default: the system's folder for such files. */
  constructor(folder: string = os.tmpdir()) {
    const dir = fs.mkdtempSync(path.join(folder, "skein-delta-"));
    this.#fd = fs.openSync(path.join(dir, "scratch"), "wx+", 0o600);
    fs.rmSync(dir, { recursive: true });
  }

  write(bytes: Uint8Array, at = this.end): void {
    for (let done = 0; done < bytes.length;)
      done += fs.writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    this.end = Math.max(this.end, at + bytes.length);
  }

  /** As `write`, where nothing was written yet: of zeros, which may be most of a file, nothing is. */
  lay(bytes: Buffer, at: number): void {
    if (!isZeros(bytes)) return this.write(bytes, at);
    reach(this.#fd, at + bytes.length);
    this.end = Math.max(this.end, at + bytes.length);
  }

  contentAt(offset: number): Content {
    return { file: this.#fd, offset };
  }

  /** All bytes from `offset` on. */
  async *read(offset: number): AsyncGenerator<Uint8Array, void> {
    for (let at = offset; at < this.end;) {
      const bytes = Buffer.allocUnsafe(Math.min(READ_BYTES, this.end - at));
      const length = fs.readSync(this.#fd, bytes, 0, bytes.length, at);
      if (length === 0) return;
      at += length;
      yield bytes.subarray(0, length);
    }
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#fd);
  }
}
