import { freeNow } from "../../lib/memory/free.ts";
import { Anchors, type Run } from "./align.ts";
import { ByteWriter } from "./byte-io.ts";
import { DICTIONARY_BYTES } from "./limits.ts";
import { METHODS, RUN_KINDS, type ContentJob, type Piece, type PieceBuilder } from "./piece.ts";
import { JoinedContent } from "./read-content.ts";
import { packFrame } from "./zstd.ts";

/** Of a new content this much is in memory at a time. */
const FRESH_BYTES = 4 * 1024 * 1024;
/** Old contents up to this length are in memory whole, and a part of this length of larger ones. */
const OLD_BYTES = 80 * 1024 * 1024;
const SLICE_BYTES = 64 * 1024 * 1024;
/** Of a new content so much is laid against one part of a larger old one. */
const SLICE_STEP = 32 * 1024 * 1024;
/** Runs that cost no more than this are not worth trying anything else. */
const CHEAP_BYTES = 48;

/** How hard small contents are tried. */
export type Effort = "thorough" | "quick";
const LEVELS = { thorough: 19, quick: 9 } as const;

/** Writes contents to `out`, and gives its pieces away as they fill. The last one is left in it. */
export function* encodeContent(job: ContentJob, out: PieceBuilder, effort: Effort): Generator<Piece, void> {
  using fresh = new JoinedContent([job]);
  using old = new JoinedContent(job.bases);
  const isSmall = job.size <= DICTIONARY_BYTES && old.size <= DICTIONARY_BYTES;
  if (job.bases.length === 0) yield* wholeContent(fresh, out);
  else if (isSmall) yield* smallContent(job, { fresh, old }, out, effort);
  else yield* largeRuns(job, { fresh, old }, out);
}

interface Pair {
  readonly fresh: JoinedContent;
  readonly old: JoinedContent;
}

function* wholeContent(fresh: JoinedContent, out: PieceBuilder): Generator<Piece, void> {
  out.control.number(METHODS.whole);
  for (let at = 0; at < fresh.size;) {
    if (out.isFull) yield out.take();
    const length = Math.min(out.room, fresh.size - at);
    out.literal(fresh.slice(at, length));
    at += length;
  }
}

/** The cheapest of runs, a frame with a dictionary, and literals. */
function* smallContent(
  job: ContentJob,
  pair: Pair,
  out: PieceBuilder,
  effort: Effort,
): Generator<Piece, void> {
  const fresh = pair.fresh.slice(0, job.size);
  const old = pair.old.slice(0, pair.old.size);
  const runs = new Anchors(old).runs(fresh);
  const runsCost = costOf(runs, fresh, old);
  const isCheap = runsCost <= CHEAP_BYTES;
  const frame = isCheap ? undefined : packFrame(fresh, LEVELS[effort], old);
  const frameCost = frame?.length ?? Infinity;
  const wholeCost = isCheap ? Infinity : packFrame(fresh, LEVELS.quick).length;
  if (wholeCost < Math.min(runsCost, frameCost)) yield* wholeContent(pair.fresh, out);
  else if (frame !== undefined && frameCost < runsCost) {
    if (out.isFull) yield out.take();
    writeMethod(job, "frame", out.control);
    out.control.number(frame.length);
    out.frames.bytes(frame);
  } else {
    writeMethod(job, "runs", out.control);
    yield* new RunWriter(out).write(runs, { fresh, freshStart: 0, old, oldStart: 0 });
  }
}

/** An upper bound: in a block the sections are compressed together with those of others. */
function costOf(runs: readonly Run[], fresh: Buffer, old: Buffer): number {
  const control = new ByteWriter();
  const parts: Buffer[] = [];
  let at = 0;
  for (const { kind, length, at: from } of runs) {
    control.number(length * RUN_KINDS.length + RUN_KINDS.indexOf(kind));
    if (kind !== "literal") control.signed(from - at);
    if (kind === "literal") parts.push(fresh.subarray(at, at + length));
    if (kind === "differ") {
      const differ = Buffer.allocUnsafe(length);
      for (let k = 0; k < length; k++) differ[k] = (fresh[at + k] as number) - (old[from + k] as number);
      parts.push(differ);
    }
    at += length;
  }
  return packFrame(Buffer.concat([control.view(), ...parts]), LEVELS.quick).length;
}

function writeMethod(job: ContentJob, how: "runs" | "frame", control: ByteWriter): void {
  control.number(METHODS[job.isOwn ? (`${how}Own` as const) : (`${how}Listed` as const)]);
  if (job.isOwn) return;
  control.number(job.bases.length);
  for (const { index } of job.bases) control.number(index);
}

/** Lays a content against an old one of any size, part by part. */
function* largeRuns(job: ContentJob, { fresh, old }: Pair, out: PieceBuilder): Generator<Piece, void> {
  writeMethod(job, "runs", out.control);
  const writer = new RunWriter(out);
  const step = old.size <= OLD_BYTES ? fresh.size : SLICE_STEP;
  for (let start = 0; start < fresh.size; start += step) {
    const end = Math.min(start + step, fresh.size);
    const slice = sliceFor(old.size, fresh.size, start);
    const bytes = old.slice(slice.start, slice.length);
    const anchors = new Anchors(bytes);
    for (let at = start; at < end; at += FRESH_BYTES) {
      const window = fresh.slice(at, Math.min(FRESH_BYTES, end - at));
      const runs = anchors.runs(window, writer.shift + at - slice.start);
      yield* writer.write(runs, { fresh: window, freshStart: at, old: bytes, oldStart: slice.start });
      freeNow(window);
    }
    freeNow(bytes);
  }
}

/** The part of the old content around where the same share of the new one lies. */
function sliceFor(old: number, fresh: number, start: number): { start: number; length: number } {
  if (old <= OLD_BYTES) return { start: 0, length: old };
  const middle = (start + SLICE_STEP / 2) * (old / fresh);
  const first = Math.floor(Math.max(0, Math.min(middle - SLICE_BYTES / 2, old - SLICE_BYTES)));
  return { start: first, length: SLICE_BYTES };
}

interface Laid {
  readonly fresh: Buffer;
  /** Where `fresh` begins in the whole content. */
  readonly freshStart: number;
  readonly old: Buffer;
  readonly oldStart: number;
}

/** Writes runs as instructions and bytes, splitting what does not fit in a piece. */
class RunWriter {
  readonly #out: PieceBuilder;
  /** Place in the old content less place in the new one, of the last run that had one. */
  shift = 0;

  constructor(out: PieceBuilder) {
    this.#out = out;
  }

  *write(runs: readonly Run[], laid: Laid): Generator<Piece, void> {
    let at = 0;
    for (const { kind, length, at: from } of runs) {
      for (let done = 0; done < length;) {
        if (this.#out.isFull) yield this.#out.take();
        const part = kind === "copy" ? length : Math.min(length - done, this.#out.room);
        this.#instruct(kind, part, from + done + laid.oldStart - (at + laid.freshStart));
        if (kind === "literal") this.#out.literal(laid.fresh.subarray(at, at + part));
        if (kind === "differ") this.#out.differ(laid.fresh, at, laid.old, from + done, part);
        done += part;
        at += part;
      }
    }
  }

  #instruct(kind: Run["kind"], length: number, shift: number): void {
    const { control } = this.#out;
    control.number(length * RUN_KINDS.length + RUN_KINDS.indexOf(kind));
    if (kind === "literal") return;
    control.signed(shift - this.shift);
    this.shift = shift;
  }
}
