import type { Content } from "../tree/tree-source.ts";
import { ByteWriter } from "./byte-io.ts";
import { BLOCK_BYTES, CONTROL_BYTES } from "./limits.ts";

/** How a content is given; docs/formats/delta.md. */
export const METHODS = {
  /** Runs over the older file at the same path. */
  runsOwn: 0,
  /** All of it as literals. */
  whole: 1,
  /** A zstd frame with the older file at the same path as its dictionary. */
  frameOwn: 2,
  /** Runs over the older files that are listed, laid end to end. */
  runsListed: 3,
  /** A zstd frame with the listed files as its dictionary. */
  frameListed: 4,
} as const;
export const RUN_KINDS = ["literal", "differ", "copy"] as const;

/** Bytes of the four sections of a delta's blocks, before they are compressed. */
export interface Piece {
  readonly control: Uint8Array<ArrayBuffer>;
  readonly differ: Uint8Array<ArrayBuffer>;
  readonly literal: Uint8Array<ArrayBuffer>;
  readonly frames: Uint8Array<ArrayBuffer>;
}

/** A piece has room for so many differences and literals: half a block, so that blocks are filled well. */
const PIECE_BYTES = BLOCK_BYTES / 2;
/** Control bytes after which a piece is given away; what one instruction needs more always fits a block. */
const FULL_CONTROL = CONTROL_BYTES / 2;

/** Collects sections up to the size of a piece. */
export class PieceBuilder {
  readonly control = new ByteWriter();
  readonly frames = new ByteWriter();
  readonly #differ = Buffer.allocUnsafeSlow(PIECE_BYTES);
  readonly #literal = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #differs = 0;
  #literals = 0;

  /** How many more differences and literals fit. */
  get room(): number {
    return PIECE_BYTES - this.#differs - this.#literals;
  }

  get isFull(): boolean {
    return this.room === 0 || this.control.length >= FULL_CONTROL || this.frames.length >= FULL_CONTROL;
  }

  get isEmpty(): boolean {
    return this.control.length === 0 && this.room === PIECE_BYTES && this.frames.length === 0;
  }

  literal(bytes: Buffer): void {
    this.#literals += bytes.copy(this.#literal, this.#literals);
  }

  differ(fresh: Buffer, start: number, old: Buffer, at: number, length: number): void {
    const out = this.#differ;
    const base = this.#differs;
    for (let k = 0; k < length; k++) {
      out[base + k] = (fresh[start + k] as number) - (old[at + k] as number);
    }
    this.#differs += length;
  }

  /** What was collected, as a copy; begins anew. */
  take(): Piece {
    const piece = {
      control: Uint8Array.from(this.control.view()),
      differ: Uint8Array.from(this.#differ.subarray(0, this.#differs)),
      literal: Uint8Array.from(this.#literal.subarray(0, this.#literals)),
      frames: Uint8Array.from(this.frames.view()),
    };
    this.control.clear();
    this.frames.clear();
    this.#differs = 0;
    this.#literals = 0;
    return piece;
  }
}

/** An older file that a content may be made from. */
interface Base {
  /** Among the older tree's files. */
  readonly index: number;
  readonly size: number;
  readonly content: Content;
}

/** One new content. */
export interface ContentJob {
  readonly size: number;
  readonly content: Content;
  /** Empty: nothing is like it. */
  readonly bases: readonly Base[];
  /** The only base is the older file at the same path. */
  readonly isOwn: boolean;
}
