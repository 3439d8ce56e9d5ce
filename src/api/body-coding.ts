/**
 * How JSON bodies are shortened on the wire, for whoever says that it reads it:
 *
 *   zstd     one zstd frame
 *   skein    one zstd frame of the body packed (packed-json.ts), whose dictionary both sides hold, packed as well: the
 *            content of an answer to `wanted`, and after it the last report that the hub took from the node, where it did
 *
 * A content is named by its etag, which is the beginning of its digest, so neither side can take another one for it.
 */
import { promisify } from "node:util";
import zlib from "node:zlib";
import { SkeinError } from "../lib/errors/errors.ts";
import { unpooled } from "../lib/memory/free.ts";
import { digestOf } from "../lib/text/ids.ts";
import { packJson, unpackJson } from "./packed-json.ts";
import type { Wanted } from "./schemas.ts";

export const CODED = "zstd";
export const CODED_AFTER = "skein";
/** Names the dictionary that a request's body is coded after. */
export const AFTER_HEADER = "skein-after";

/** An answer to `wanted`, less what belongs to the moment: what later bodies may be coded after. */
export interface Content {
  readonly etag: string;
  /**
   * The JSON of all that `etag` stands for. Where one part ends and the next begins stands neither a letter nor a digit,
   * so they are packed apart as they are together: what several nodes are told, or one again, is the same part.
   */
  readonly parts: readonly Buffer[];
}

/** A dictionary that both sides hold, and how a request names it. */
export interface Shared {
  readonly tag: string;
  /** One after the other, as a content's; a report is one of them. */
  readonly parts: readonly Buffer[];
}

/** @param said the last report of the node, as JSON, where the hub took one since it started */
export function sharedOf({ etag, parts }: Content, said?: Buffer): Shared {
  if (said === undefined) return { tag: etag, parts };
  return { tag: `${etag}.${digestOf(said).slice(0, SAID_DIGITS)}`, parts: [...parts, said] };
}

/** 96 bits: enough to tell any two contents of a node apart. */
const ETAG_DIGITS = 24;
/** Which of a few. */
const SAID_DIGITS = 8;
/**
 * Up to this much, dictionary included, a body is compressed or inflated at once: handing it to another thread costs
 * three times the CPU. Above it the best compression of a body alone costs more time than it saves on a wire.
 */
const SMALL_BYTES = 65_536;
/** Bodies that are coded on other threads at once: each takes some MiB for its tables and window. */
const LANES = 4;
/** Largest window that a frame may ask memory for, as a power of two. */
const MOST_WINDOW_LOG = 24;
const { ZSTD_c_compressionLevel: LEVEL, ZSTD_c_windowLog: WINDOW, ZSTD_d_windowLogMax } = zlib.constants;
const compress = inLanes(promisify(zlib.zstdCompress));
const decompress = inLanes(promisify(zlib.zstdDecompress));

function inLanes<Args extends unknown[], T>(
  work: (...args: Args) => Promise<T>,
): (...args: Args) => Promise<T> {
  const tails = Array.from({ length: LANES }, () => Promise.resolve<unknown>(undefined));
  let turn = 0;
  return async (...args) => {
    const lane = turn++ % LANES;
    const mine = (tails[lane] ?? Promise.resolve()).then(async () => await work(...args));
    tails[lane] = mine.catch(() => undefined);
    return await mine;
  };
}

/** @param parts see Content; none shares its memory with what is not kept */
export function contentOf(parts: readonly Buffer[]): Content {
  return { etag: digestOf(Buffer.concat(parts)).slice(0, ETAG_DIGITS), parts };
}

/** A part of a content, or a whole one. */
export const partOf = (json: string): Buffer => unpooled(Buffer.from(json));

/** The content of an answer as it came, or undefined when its etag does not stand for what it says. */
export function contentIn(answer: unknown): Content | undefined {
  if (typeof answer !== "object" || answer === null || !("etag" in answer)) return undefined;
  const { etag, lastReceipts: _receipts, ...fields } = answer as Wanted;
  const content = contentOf([partOf(JSON.stringify(fields))]);
  return content.etag === etag ? content : undefined;
}

export async function encode(body: Buffer, after?: Shared): Promise<Buffer> {
  return after === undefined
    ? await compressed(body, undefined)
    : await compressed(packJson(body), dictionaryOf(after));
}

/** An answer to `wanted`, less what belongs to the moment, after what was told before. */
export async function encodeContent({ etag, parts }: Content, after: Shared): Promise<Buffer> {
  const begin = packJson(Buffer.from(`{"etag":"${etag}",`));
  const packed = Buffer.concat(parts.map(packedOnce));
  return await compressed(Buffer.concat([begin, packed.subarray(1)]), dictionaryOf(after));
}

/** What nodes were told is coded, and then coded after: an answer, the report that follows, the next answer. */
const PACKED = new WeakMap<Buffer, Buffer>();

function packedOnce(bytes: Buffer): Buffer {
  const known = PACKED.get(bytes) ?? unpooled(packJson(bytes));
  PACKED.set(bytes, known);
  return known;
}

const dictionaryOf = ({ parts }: Shared): Buffer => Buffer.concat(parts.map(packedOnce));

async function compressed(packed: Buffer, dictionary: Buffer | undefined): Promise<Buffer> {
  const total = packed.length + (dictionary?.length ?? 0);
  const isSmall = total <= SMALL_BYTES;
  // Faster levels find little in a large dictionary; without one they do nearly as well.
  const level = isSmall ? 7 : dictionary === undefined ? 3 : 9;
  // The whole dictionary has to be within the window.
  const window = Math.min(MOST_WINDOW_LOG, Math.max(10, Math.ceil(Math.log2(total + 1))));
  const options = {
    params: { [LEVEL]: level, [WINDOW]: window },
    pledgedSrcSize: packed.length,
    ...(dictionary === undefined ? {} : { dictionary }),
  };
  return isSmall ? zlib.zstdCompressSync(packed, options) : await compress(packed, options);
}

/**
 * @param maxBytes of what comes out: a short body may be made to inflate without end
 * @throws SkeinError DOC_TOO_BIG, BAD_REQUEST
 */
export async function decode(body: Buffer, maxBytes: number, after?: Shared): Promise<Buffer> {
  const packed = await inflate(body, maxBytes, after === undefined ? undefined : dictionaryOf(after));
  return after === undefined ? packed : unpackJson(packed, maxBytes);
}

async function inflate(body: Buffer, maxBytes: number, dictionary: Buffer | undefined): Promise<Buffer> {
  const options = {
    maxOutputLength: maxBytes,
    params: { [ZSTD_d_windowLogMax]: MOST_WINDOW_LOG },
    ...(dictionary === undefined ? {} : { dictionary }),
  };
  try {
    return smallIn(body, options) ?? (await decompress(body, options));
  } catch (err) {
    if (err instanceof RangeError)
      throw new SkeinError("DOC_TOO_BIG", `a body that inflates to more than ${maxBytes} bytes`, {
        data: { maxBytes },
      });
    throw new SkeinError("BAD_REQUEST", "the body is not the zstd that it says", { cause: err });
  }
}

/** What a short body says, where that is not much; undefined where another thread is to find out. */
function smallIn(body: Buffer, options: zlib.ZstdOptions & { maxOutputLength: number }): Buffer | undefined {
  if (body.length > SMALL_BYTES) return undefined;
  const maxOutputLength = Math.min(SMALL_BYTES, options.maxOutputLength);
  try {
    return zlib.zstdDecompressSync(body, { ...options, maxOutputLength });
  } catch (err) {
    if (err instanceof RangeError && maxOutputLength < options.maxOutputLength) return undefined;
    throw err;
  }
}
