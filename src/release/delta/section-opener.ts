import { setImmediate } from "node:timers/promises";
import { constants, createZstdDecompress, type ZstdDecompress } from "node:zlib";
import { messageOf } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { damaged } from "./byte-io.ts";
import { WINDOW_LOG } from "./limits.ts";
import { ZSTD_MAGIC } from "./zstd.ts";

/** Larger than what zlib would take from memory that it shares with others. */
const CHUNK_BYTES = 256 * 1024;

/** Inflates one section of all blocks, block by block, and never further than the block says. */
export class SectionOpener implements Disposable {
  #stream: ZstdDecompress | undefined;
  #into = Buffer.alloc(0);
  #filled = 0;
  #failure: unknown;

  /**
   * @param isAnew the bytes begin a frame
   * @throws SkeinError DELTA_CORRUPT when they do not inflate to exactly `length` bytes
   */
  async open(bytes: Uint8Array, length: number, isAnew: boolean): Promise<Buffer> {
    if (isAnew) this.#begin();
    const stream = this.#stream;
    if (stream === undefined) throw damaged("a section goes on that never began");
    this.#into = Buffer.allocUnsafeSlow(length);
    this.#filled = 0;
    await this.#feed(stream, isAnew ? Buffer.concat([ZSTD_MAGIC, bytes]) : bytes);
    // What was inflated is told as an event, which may come after that of the write.
    if (this.#filled < length) await setImmediate();
    if (this.#failure !== undefined)
      throw damaged(`a section cannot be inflated (${messageOf(this.#failure)})`);
    if (this.#filled !== length) throw damaged("a section inflates to another length than its block says");
    return this.#into;
  }

  [Symbol.dispose](): void {
    this.#stream?.destroy();
    this.#stream = undefined;
  }

  #begin(): void {
    this[Symbol.dispose]();
    const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG };
    const stream = createZstdDecompress({ params, chunkSize: CHUNK_BYTES });
    stream.on("data", (piece: Buffer) => {
      if (this.#filled + piece.length > this.#into.length) {
        this.#failure ??= new Error("it goes past its end");
        stream.destroy();
        return;
      }
      this.#filled += piece.copy(this.#into, this.#filled);
      freeWhenLast(piece);
    });
    stream.on("error", (err) => {
      this.#failure ??= err;
    });
    this.#stream = stream;
  }

  async #feed(stream: ZstdDecompress, bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off("close", done);
        resolve();
      };
      stream.once("close", done);
      stream.write(bytes, done);
    });
  }
}

/** Pieces come one after the other from a buffer of the stream's; it makes another when this one is used up. */
function freeWhenLast({ buffer, byteOffset, byteLength }: Buffer): void {
  if (byteOffset + byteLength === CHUNK_BYTES && buffer.byteLength === CHUNK_BYTES)
    freeNow(new Uint8Array(buffer));
}
