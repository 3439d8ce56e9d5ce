import fs from "node:fs";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";

const READ_BYTES = 256 * 1024;

/**
 * A blob that is read as it arrives and kept on the disk as far as it came and there is room: what was here is not
 * fetched again.
 */
export class ArrivingBlob {
  readonly #file: string;
  /** So many bytes more may be kept. */
  #room = 0;
  /** Up to here it is kept. */
  #end = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Keeps at most so many bytes more: a blob may be longer than anybody said. */
  keepAtMost(bytes: number): void {
    this.#room = bytes;
  }

  /** What is here, then the rest from the depot. @throws what the depot throws */
  async *read(depot: DepotReader, name: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const fd = fs.openSync(
      this.#file,
      fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW,
      0o600,
    );
    try {
      const { bsize, bavail } = fs.statfsSync(path.dirname(this.#file));
      this.keepAtMost(bavail * bsize - KEPT_FREE_BYTES);
      let at = 0;
      for (;;) {
        const bytes = Buffer.allocUnsafe(READ_BYTES);
        const length = fs.readSync(fd, bytes, 0, READ_BYTES, at);
        if (length === 0) break;
        at += length;
        yield bytes.subarray(0, length);
      }
      this.#end = at;
      for await (const piece of depot.get(name, signal, at === 0 ? undefined : { start: at })) {
        this.#keep(fd, piece, at);
        at += piece.length;
        faultPoint("install.delta-piece");
        yield piece;
      }
    } finally {
      fs.closeSync(fd);
    }
  }

  forget(): void {
    fs.rmSync(this.#file, { force: true });
  }

  /** Once something was not kept nothing is, also where there is room again: the file has no holes. */
  #keep(fd: number, piece: Uint8Array, at: number): void {
    if (at !== this.#end || piece.length > this.#room) return;
    for (let done = 0; done < piece.length;) {
      done += fs.writeSync(fd, piece, done, piece.length - done, at + done);
    }
    this.#room -= piece.length;
    this.#end += piece.length;
  }
}
