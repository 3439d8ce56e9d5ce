import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { messageOf } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { damaged } from "./byte-io.ts";
import { DICTIONARY_BYTES } from "./limits.ts";

/** What every zstd frame begins with; a delta leaves it out. */
export const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** A frame without its magic number. */
export function packFrame(bytes: Uint8Array, level: number, dictionary?: Buffer): Buffer {
  const windowLog = Math.max(10, Math.ceil(Math.log2(bytes.length + (dictionary?.length ?? 0) + 1)));
  const params = {
    [constants.ZSTD_c_compressionLevel]: level,
    [constants.ZSTD_c_windowLog]: windowLog,
    [constants.ZSTD_c_checksumFlag]: 0,
    [constants.ZSTD_c_dictIDFlag]: 0,
  };
  const chunkSize = bytes.length + (bytes.length >> 8) + 512;
  const more = dictionary === undefined ? {} : { dictionary };
  const frame = zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length, chunkSize, ...more });
  return frame.subarray(ZSTD_MAGIC.length);
}

/** Room beside what a frame should inflate to: without any, zlib makes as much again to find that there is no more. */
const SLACK_BYTES = 64;
const WINDOW_LOG_MAX = Math.log2(DICTIONARY_BYTES) + 2;

/** @throws SkeinError DELTA_CORRUPT when the frame does not inflate to exactly `length` bytes */
export function openFrame(frame: Uint8Array, length: number, dictionary?: Buffer): Buffer {
  const whole = Buffer.allocUnsafeSlow(ZSTD_MAGIC.length + frame.length);
  whole.set(ZSTD_MAGIC);
  whole.set(frame, ZSTD_MAGIC.length);
  let bytes: Buffer;
  try {
    bytes = zstdDecompressSync(whole, {
      maxOutputLength: Math.max(1, length),
      chunkSize: chunkBytes(length),
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
      ...(dictionary === undefined ? {} : { dictionary }),
    });
  } catch (err) {
    throw damaged(`a frame cannot be inflated (${messageOf(err)})`, err);
  } finally {
    freeNow(whole);
  }
  if (bytes.length !== length) throw damaged("a frame inflates to another length than it should");
  return bytes;
}

/** Gives the memory back of what `openFrame` returned. */
export function freeFrame({ buffer, byteOffset, byteLength }: Buffer): void {
  const isOwn = byteOffset === 0 && buffer.byteLength === chunkBytes(byteLength);
  if (isOwn) freeNow(new Uint8Array(buffer));
}

/** Shorter ones would lie in memory that they share with others, and that is held until nobody uses any of it. */
function chunkBytes(length: number): number {
  return Math.max(length + SLACK_BYTES, Buffer.poolSize);
}
