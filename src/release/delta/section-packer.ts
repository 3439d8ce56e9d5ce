import { promisify } from "node:util";
import { constants, createZstdCompress, zstdCompress, type ZstdCompress } from "node:zlib";
import { WINDOW_LOG } from "./limits.ts";
import { ZSTD_MAGIC } from "./zstd.ts";

/**
 * Compresses one section of all blocks as one stream, which is flushed at the end of each block. The first bytes of a
 * stream are compressed as hard as can be, in most deltas all there are; what follows, as fast as it is made.
 */
const STRONG = { level: 19, chainLog: 21, hashLog: 20 } as const;
const FAST = { level: 12, chainLog: 21, hashLog: 20 } as const;
const STRONG_BYTES = 8 * 1024 * 1024;

export interface Packed {
  readonly bytes: Uint8Array;
  /** As they are, not compressed. */
  readonly isStored: boolean;
  /** They begin a zstd frame, whose magic number is left out. */
  readonly isAnew: boolean;
}

export class SectionPacker implements Disposable {
  readonly #strongBytes: number;
  #stream: ZstdCompress | undefined;
  #pieces: Buffer[] = [];
  #isStrong = true;
  #failure: Error | undefined;
  /** Bytes that went into the stream. */
  #taken = 0;

  constructor(strongBytes = STRONG_BYTES) {
    this.#strongBytes = strongBytes;
  }

  /** `isLast`: no more comes, so what is also the first can be stored as it is where that is shorter. */
  async pack(raw: Uint8Array, isLast: boolean): Promise<Packed> {
    if (raw.length === 0) return { bytes: raw, isStored: true, isAnew: false };
    if (isLast && this.#stream === undefined) return await packOnly(raw);
    const isAnew = this.#prepare();
    const stream = this.#stream as ZstdCompress;
    stream.write(raw);
    await new Promise<void>((resolve, reject) => {
      stream.once("error", reject);
      stream.flush(constants.ZSTD_e_flush, () => {
        stream.off("error", reject);
        resolve();
      });
    });
    if (this.#failure !== undefined) throw this.#failure;
    this.#taken += raw.length;
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return { bytes: isAnew ? bytes.subarray(ZSTD_MAGIC.length) : bytes, isStored: false, isAnew };
  }

  [Symbol.dispose](): void {
    this.#stream?.destroy();
    this.#stream = undefined;
  }

  /** @returns whether a new frame begins */
  #prepare(): boolean {
    if (this.#stream !== undefined && this.#isStrong && this.#taken >= this.#strongBytes) {
      this.#isStrong = false;
      this[Symbol.dispose]();
    }
    if (this.#stream !== undefined) return false;
    const stream = createZstdCompress({
      params: paramsOf(this.#isStrong ? STRONG : FAST),
      chunkSize: 65_536,
    });
    stream.on("data", (piece: Buffer) => this.#pieces.push(piece));
    stream.on("error", (err) => {
      this.#failure = err;
    });
    this.#stream = stream;
    return true;
  }
}

const paramsOf = ({ level, chainLog, hashLog }: typeof STRONG | typeof FAST): Record<number, number> => ({
  [constants.ZSTD_c_compressionLevel]: level,
  [constants.ZSTD_c_windowLog]: WINDOW_LOG,
  [constants.ZSTD_c_chainLog]: chainLog,
  [constants.ZSTD_c_hashLog]: hashLog,
  [constants.ZSTD_c_checksumFlag]: 0,
});

const compress = promisify(zstdCompress);

async function packOnly(raw: Uint8Array): Promise<Packed> {
  const windowLog = Math.min(WINDOW_LOG, Math.max(10, Math.ceil(Math.log2(raw.length))));
  const params = {
    [constants.ZSTD_c_compressionLevel]: STRONG.level,
    [constants.ZSTD_c_windowLog]: windowLog,
    [constants.ZSTD_c_checksumFlag]: 0,
  };
  const frame = await compress(raw, { params, pledgedSrcSize: raw.length });
  const bytes = frame.subarray(ZSTD_MAGIC.length);
  if (bytes.length >= raw.length) return { bytes: raw, isStored: true, isAnew: false };
  return { bytes, isStored: false, isAnew: true };
}
