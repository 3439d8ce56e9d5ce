/**
 * What a git answers, looked at packet by packet (gitprotocol-common(5), gitprotocol-pack(5)) on its way to the client.
 * Of a failure more can be said only before git's own last word: after that no client listens.
 */
import type { Readable, Writable } from "node:stream";
import { drained } from "../../lib/async/drained.ts";

/** Why the repository may be at fault, and what mends it; undefined: it is not. */
type Explain = () => Promise<string | undefined>;

export interface AnswerOptions {
  readonly explain: Explain;
  /** Keeps the report on a push back: what it promises is still to be done. */
  readonly holdsReport?: boolean;
}

export interface Answered {
  /** Has anything come from git? */
  readonly isBegun: boolean;
  /** Did git say itself that it failed? */
  readonly isFailed: boolean;
  readonly held: readonly Buffer[];
}

const HEAD_BYTES = 4;
const REPORT_BAND = 1;
const PROGRESS_BAND = 2;
const ERROR_BAND = 3;
/** Of a packet with its head, and of what stands behind the head and the band. */
const MAX_PACKET_BYTES = 65_520;
/** So many bytes of a packet tell whether it is a report. */
const TELLING_BYTES = 16;
const NO_BYTES = Buffer.alloc(0);

/** Ends with either side. */
export async function passOn(
  from: Readable,
  output: Writable,
  { explain, holdsReport = false }: AnswerOptions,
): Promise<Answered> {
  const packets = new Packets();
  const held: Buffer[] = [];
  let isBegun = false;
  let hasFailed = false;
  for await (const piece of from as AsyncIterable<Buffer>) {
    isBegun = true;
    const going: Buffer[] = [];
    for (const { bytes, isPacket } of packets.push(piece)) {
      const isFailed = isPacket && isFailure(bytes);
      hasFailed ||= isFailed;
      const isHeld = holdsReport && (held.length > 0 || (isPacket && isReport(bytes)));
      (isHeld ? held : going).push(...(isFailed ? await explained(bytes, explain) : [bytes]));
    }
    if (!(await written(output, joined(going)))) break;
  }
  await written(output, packets.rest);
  return { isBegun, isFailed: hasFailed, held };
}

/** As git says what ends a conversation, before anything else was said. */
export const errorPacket = (text: string): Buffer => packet(Buffer.from(`ERR ${text}`));

/** The same in the place of a report. */
export const fatalPacket = (text: string): Buffer => bandPacket(ERROR_BAND, text);

const bandPacket = (band: number, text: string): Buffer =>
  packet(Buffer.concat([Buffer.from([band]), Buffer.from(text)]));

function packet(payload: Buffer): Buffer {
  const length = Math.min(payload.length + HEAD_BYTES, MAX_PACKET_BYTES);
  const head = length.toString(16).padStart(HEAD_BYTES, "0");
  return Buffer.concat([Buffer.from(head), payload]).subarray(0, length);
}

async function written(output: Writable, bytes: Buffer): Promise<boolean> {
  if (output.destroyed) return false;
  if (bytes.length > 0 && !output.write(bytes)) await drained(output);
  return !output.destroyed;
}

const isError = (whole: Buffer): boolean => whole.toString("latin1", HEAD_BYTES, HEAD_BYTES + 4) === "ERR ";
const isFailure = (whole: Buffer): boolean =>
  isError(whole) || isFailedReport(whole) || whole[HEAD_BYTES] === ERROR_BAND;

async function explained(whole: Buffer, explain: Explain): Promise<Buffer[]> {
  const why = await explain();
  if (why === undefined) return [whole];
  if (!isError(whole)) return [bandPacket(PROGRESS_BAND, `${why}\n`), whole];
  return [packet(Buffer.concat([whole.subarray(HEAD_BYTES), Buffer.from(`\n${why}`)]))];
}

/** `unpack ok` or what went wrong, then `ok` or `ng` for each ref; in the first band, or in none for a client that knows none. */
function isReport(whole: Buffer): boolean {
  const at = whole[HEAD_BYTES] === REPORT_BAND ? 2 * HEAD_BYTES + 1 : HEAD_BYTES;
  return whole.toString("latin1", at, at + 7) === "unpack ";
}

function isFailedReport(whole: Buffer): boolean {
  if (whole[HEAD_BYTES] !== REPORT_BAND || !isReport(whole)) return false;
  const text = whole.toString("latin1");
  return !text.includes("unpack ok\n") || / missing necessary objects\n/.test(text);
}

/** Without copying where they follow each other already, as those of one piece do. */
function joined(parts: readonly Buffer[]): Buffer {
  const [first = NO_BYTES] = parts;
  let end = first.byteOffset;
  for (const { buffer, byteOffset, length } of parts) {
    if (buffer !== first.buffer || byteOffset !== end) return Buffer.concat(parts);
    end += length;
  }
  return Buffer.from(first.buffer, first.byteOffset, end - first.byteOffset);
}

export interface Part {
  readonly bytes: Buffer;
  /** A whole packet; else a part of one that carries data, or no packet at all. */
  readonly isPacket: boolean;
}

/** Cuts bytes into packets. What carries much data, and what is no packet, goes on as it comes. */
export class Packets {
  #kept: Buffer = NO_BYTES;
  #isRaw = false;
  /** What is still to come of a packet that goes on as it comes. */
  #left = 0;

  *push(piece: Buffer): Generator<Part, void> {
    let rest = this.#kept.length === 0 ? piece : Buffer.concat([this.#kept, piece]);
    while (rest.length > 0) {
      const length = this.#isRaw ? rest.length : this.#left || this.#next(rest);
      if (length === 0) break;
      const bytes = rest.subarray(0, length);
      yield { bytes, isPacket: !this.#isRaw && this.#left === 0 && bytes.length === length };
      this.#left = this.#isRaw ? 0 : length - bytes.length;
      rest = rest.subarray(length);
    }
    this.#kept = rest;
  }

  /** What has come of a packet that never came whole. */
  get rest(): Buffer {
    return this.#kept;
  }

  /** The next packet's length; 0 where more must have come first. */
  #next(rest: Buffer): number {
    if (rest.length < HEAD_BYTES) return 0;
    const head = rest.toString("latin1", 0, HEAD_BYTES);
    this.#isRaw = !/^[0-9a-f]{4}$/.test(head);
    if (this.#isRaw) return rest.length;
    // Below 4: marks, which are heads alone.
    const length = Math.max(Number.parseInt(head, 16), HEAD_BYTES);
    if (rest.length >= length) return length;
    const isData = rest.length >= TELLING_BYTES && rest[HEAD_BYTES] === REPORT_BAND && !isReport(rest);
    return isData ? length : 0;
  }
}
