import { damaged } from "./byte-io.ts";

/** Reads numbers and runs of bytes from pieces as they arrive. */
export class ByteStream {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();
  #at = 0;
  #came = 0;
  #most = Infinity;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** From here on no more than so many bytes may follow. */
  bound(most: number): void {
    this.#most = this.#came - (this.#piece.length - this.#at) + most;
    this.#check();
  }

  /** Is there nothing more? @throws SkeinError DELTA_CORRUPT when more came than may */
  async ended(): Promise<boolean> {
    while (this.#at === this.#piece.length) {
      const next = await this.#pieces.next();
      if (next.done === true) return true;
      this.#piece = next.value;
      this.#at = 0;
      this.#came += next.value.length;
      this.#check();
    }
    return false;
  }

  /** @throws SkeinError DELTA_CORRUPT */
  async number(): Promise<number> {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      if (await this.ended()) throw damaged("it ends too early");
      const byte = this.#piece[this.#at++] as number;
      value += (byte & 0x7f) * factor;
      if (value > Number.MAX_SAFE_INTEGER) throw damaged("a number is too large");
      if (byte < 0x80) return value;
    }
  }

  /** @throws SkeinError DELTA_CORRUPT when fewer are left, or more than `most` are asked for */
  async bytes(length: number, most: number): Promise<Buffer> {
    if (length > most) throw damaged("a part of it is longer than it may be");
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length;) {
      if (await this.ended()) throw damaged("it ends too early");
      const part = this.#piece.subarray(this.#at, this.#at + length - done);
      bytes.set(part, done);
      done += part.length;
      this.#at += part.length;
    }
    return bytes;
  }

  #check(): void {
    if (this.#came > this.#most) throw damaged("it is longer than what it leads to");
  }

  /** Lets go of where the pieces come from. */
  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}
