import fs from "node:fs";
import { faultPoint } from "../../lib/fault.ts";
import type { DepotReader } from "../../depot/depot.ts";

const READ_BYTES = 256 * 1024;

/** A blob that is read as it arrives and kept on the disk as far as it came: what was here is not fetched again. */
export class ArrivingBlob {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** What is here, then the rest from the depot. @throws what the depot throws */
  async *read(depot: DepotReader, name: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const fd = fs.openSync(
      this.#file,
      fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW,
      0o600,
    );
    try {
      let at = 0;
      for (;;) {
        const bytes = Buffer.allocUnsafe(READ_BYTES);
        const length = fs.readSync(fd, bytes, 0, READ_BYTES, at);
        if (length === 0) break;
        at += length;
        yield bytes.subarray(0, length);
      }
      for await (const piece of depot.get(name, signal, at === 0 ? undefined : { start: at })) {
        for (let done = 0; done < piece.length;) {
          done += fs.writeSync(fd, piece, done, piece.length - done, at + done);
        }
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
}
