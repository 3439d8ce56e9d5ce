import { ByteWriter } from "./byte-io.ts";
import { BLOCK_BYTES, CONTROL_BYTES, FRAMES_BYTES } from "./limits.ts";
import type { Piece } from "./piece.ts";
import { SectionPacker } from "./section-packer.ts";

const STREAMS = ["control", "differ", "literal"] as const;

/** Puts pieces together to blocks and compresses those. */
export class BlockWriter implements Disposable {
  readonly #packers = STREAMS.map(() => new SectionPacker());
  readonly #write: (bytes: Buffer) => void;
  #pieces: Piece[] = [];

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  async add(piece: Piece): Promise<void> {
    if (!fits([...this.#pieces, piece])) await this.#flush(false);
    this.#pieces.push(piece);
  }

  /** Writes what is left. */
  async end(): Promise<void> {
    if (this.#pieces.length > 0) await this.#flush(true);
  }

  [Symbol.dispose](): void {
    for (const packer of this.#packers) packer[Symbol.dispose]();
  }

  async #flush(isLast: boolean): Promise<void> {
    const pieces = this.#pieces;
    this.#pieces = [];
    const raw = STREAMS.map((name) => Buffer.concat(pieces.map((piece) => piece[name])));
    const frames = Buffer.concat(pieces.map((piece) => piece.frames));
    const packed = await Promise.all(
      this.#packers.map(async (packer, i) => await packer.pack(raw[i] ?? Buffer.alloc(0), isLast)),
    );
    const head = new ByteWriter();
    let flags = 0;
    for (const [i, { isStored, isAnew }] of packed.entries()) {
      flags |= (Number(isStored) << i) | (Number(isAnew) << (STREAMS.length + i));
    }
    head.number(flags);
    for (const [i, { bytes, isStored }] of packed.entries()) {
      head.number(raw[i]?.length ?? 0);
      if (!isStored) head.number(bytes.length);
    }
    head.number(frames.length);
    this.#write(Buffer.concat([head.view(), ...packed.map(({ bytes }) => bytes), frames]));
  }
}

function fits(pieces: readonly Piece[]): boolean {
  const sum = (size: (piece: Piece) => number): number => pieces.reduce((all, piece) => all + size(piece), 0);
  return (
    sum(({ differ, literal }) => differ.length + literal.length) <= BLOCK_BYTES &&
    sum(({ control }) => control.length) <= CONTROL_BYTES &&
    sum(({ frames }) => frames.length) <= FRAMES_BYTES
  );
}
