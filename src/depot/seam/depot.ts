/**
 * Where named blobs live: packs, tree segments, chunk lists and indexes. A depot is never trusted: whoever reads
 * checks what it got against a signed id. One conformance suite runs against every kind.
 * Names are `/`-separated paths of [a-z0-9._-] parts, at most 200 bytes, no part `.` or `..`.
 */
export interface ByteRange {
  /** First byte wanted, from 0. */
  readonly start: number;
  /** One past the last byte wanted; absent: to the end. */
  readonly end?: number;
}

/** What a depot is to a node that reads from it, the nearest first; bytes are counted by it. */
const DEPOT_KINDS = ["cache", "peer", "hub", "bucket", "directory"] as const;
export type DepotKind = (typeof DEPOT_KINDS)[number];

/** Reads blobs. Safe for concurrent calls. */
export interface DepotReader {
  readonly kind: DepotKind;
  /** For messages: `dir:/var/lib/…`, `hub 10.0.0.1:7400`. */
  readonly name: string;
  /** Which of these names are there, in one round trip where the depot can. */
  has(names: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>>;
  /**
   * The blob's bytes as they arrive. A reader that was cut asks again with `range.start` at what it has. Each piece is
   * the reader's own from then on: it may write to it, or give its memory back.
   * @throws SkeinError BLOB_MISSING
   */
  get(name: string, signal: AbortSignal, range?: ByteRange): AsyncIterable<Uint8Array>;
  /** Names under a prefix, sorted. */
  list(prefix: string, signal: AbortSignal): AsyncIterable<string>;
  /**
   * Of a depot that is made of others (a cache before a hub): the same one, which tells what its bytes came from.
   * Absent: all come from what `kind` says.
   */
  counted?(count: (kind: DepotKind, bytes: number) => void): DepotReader;
}

export interface BlobSource {
  readonly size: number;
  /** SHA-256 of the whole, in hex: the depot refuses bytes that do not hash to it. */
  readonly sha256: string;
  /**
   * The digest was made of these very bytes, which lie in this process's memory and do not change: a depot that
   * writes them itself need not make it again. Default: false.
   */
  readonly inMemory?: boolean;
  /** The bytes from `offset` on; called again after a cut. */
  open(offset: number): AsyncIterable<Uint8Array>;
}

export interface Depot extends DepotReader {
  /** Stores a blob whole or not at all; resumes an upload that was cut. Idempotent. */
  put(name: string, blob: BlobSource, signal: AbortSignal): Promise<void>;
  /** Idempotent. */
  delete(name: string, signal: AbortSignal): Promise<void>;
}

export interface BlobEntry {
  readonly name: string;
  readonly sizeBytes: number;
}

/** A depot that can be tidied up where it is. */
export interface PrunableDepot extends Depot {
  /** As `list`, with sizes. */
  entries(prefix: string, signal: AbortSignal): AsyncIterable<BlobEntry>;
  /**
   * Gives a blob another name without its bytes passing here; what was there under that name is replaced. A crash may
   * leave it under both.
   * @throws SkeinError BLOB_MISSING
   */
  rename(from: string, to: string, signal: AbortSignal): Promise<void>;
  /** Removes uploads that nobody went on with for `olderThanMs`. @returns how many */
  sweepUploads(olderThanMs: number, nowMs: number, signal: AbortSignal): Promise<number>;
}

export interface UploadInfo {
  readonly size: number;
  readonly sha256: string;
  /** As a blob's: the digest need not be made again of bytes from 0 on. */
  readonly inMemory?: boolean;
  /** Looks at all of its bytes before it appears; what this throws is the upload's end. Default: they are taken as they are. */
  readonly prove?: (read: ReadRange) => Promise<void>;
}

/** Reads a range of a blob; shorter only where the blob ends. */
export type ReadRange = (range: Required<ByteRange>) => Promise<Buffer>;

export interface UploadState {
  /** Bytes that have arrived. */
  readonly offset: number;
  readonly done: boolean;
}

/** A depot that others upload to through this process. */
export interface ReceivingDepot extends PrunableDepot {
  /** As another process of this machine opens it (open-depot.ts). */
  readonly address: string;
  /** A folder of this machine where large things may be put together. */
  readonly scratch: string;
  /** How much of this upload has arrived, in bytes; 0 when nothing has. */
  uploaded(name: string, sha256: string): Promise<number>;
  /** Takes bytes from `offset` on; with the last of them the blob is checked and appears. Resumes after a cut. */
  append(
    name: string,
    blob: UploadInfo,
    offset: number,
    data: AsyncIterable<Uint8Array>,
  ): Promise<UploadState>;
}
