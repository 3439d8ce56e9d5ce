import type { Digest } from "../../lib/text/ids.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { piecesBlob } from "../fetch/blobs.ts";
import { markOf, type Catalogue } from "./catalogue.ts";
import { BUFFER_BYTES, type Room } from "./content-reader.ts";
import { freeNow } from "../../lib/memory/free.ts";
import {
  compressFrame,
  encodePack,
  FRAME_BYTES,
  HEAD_ENTRIES,
  PACK_BYTES,
  packName,
  type ChunkRef,
  type Effort,
  type EncodedPack,
  type PackedFrame,
} from "../tree/pack.ts";
import { refuseManyPacks } from "../tree/release-index.ts";

/** In the catalogue, the pack of a chunk or list whose pack is not stored yet. */
const UNSTORED = "" as Digest;
/** Keeps a head under 2 MiB, also when a tree has many thousand tiny files. */
const MAX_ENTRIES = 50_000;

/**
 * Collects chunks that the depot lacks into frames and packs, and stores each pack when it is full, while the next is
 * filled. Holds at most two packs and one frame in memory. Frames are compressed on this thread: on another one a
 * publish would end sooner and cost a tenth more CPU (bench/tried.md).
 */
export class PackWriter {
  readonly #depot: Depot;
  readonly #known: Catalogue;
  readonly #effort: Effort;
  readonly #frame = Buffer.allocUnsafeSlow(FRAME_BYTES);
  #filled = 0;
  #frameChunks: ChunkRef[] = [];
  /** The pack being made: its frames, compressed. */
  #body: Buffer = Buffer.allocUnsafeSlow(PACK_BYTES);
  /** The other one: of the pack that is being stored, or free. */
  #spare: Buffer | undefined;
  #packed = 0;
  #frames: PackedFrame[] = [];
  /** Entries of the head so far. */
  #entries = 0;
  #lists = new Map<Digest, readonly ChunkRef[]>();
  #storing: Promise<void> = Promise.resolve();

  /** The rest of the frame. */
  readonly room: Room = {
    buffer: this.#frame,
    at: (bytes) => (this.#filled + bytes > FRAME_BYTES ? undefined : this.#filled),
  };
  readonly stored: Digest[] = [];
  newChunks = 0;
  /** Inflated bytes of the chunks that the depot lacked. */
  newBytes = 0;
  /** Bytes of the packs stored. */
  storedBytes = 0;

  constructor(depot: Depot, known: Catalogue, effort: Effort) {
    this.#depot = depot;
    this.#known = known;
    this.#effort = effort;
  }

  /** Takes a chunk unless the depot has it; the bytes are copied, where they do not lie where they belong. */
  add(chunk: ChunkRef, bytes: Buffer): void {
    if (this.#known.chunks.has(chunk.id)) return;
    if (this.#filled + chunk.length > FRAME_BYTES) this.endFrame();
    const isThere = bytes.buffer === this.#frame.buffer && bytes.byteOffset === this.#filled;
    if (!isThere) bytes.copy(this.#frame, this.#filled);
    this.#filled += chunk.length;
    this.#frameChunks.push(chunk);
    this.#known.chunks.set(chunk.id, UNSTORED);
    this.#entries += 1;
    this.newChunks += 1;
    this.newBytes += chunk.length;
  }

  /** Takes a file's list unless the depot has that very one; a long one may need a pack's head to itself. */
  async addList(file: Digest, chunks: readonly ChunkRef[], signal: AbortSignal): Promise<void> {
    const mark = markOf(chunks);
    if (this.#known.lists.get(file)?.mark === mark) return;
    if (this.#entries + chunks.length >= HEAD_ENTRIES) await this.flush(signal);
    this.#lists.set(file, chunks);
    this.#known.lists.set(file, { pack: UNSTORED, mark });
    this.#entries += chunks.length + 1;
  }

  /** The next chunk begins a frame of its own, so that it can be fetched without what came before. */
  endFrame(): void {
    if (this.#filled === 0) return;
    const bytes = this.#frame.subarray(0, this.#filled);
    const compressed = compressFrame(bytes, this.#frameChunks.length, this.#effort);
    this.#frames.push({ length: compressed.length, chunks: this.#frameChunks });
    this.#packed += compressed.copy(this.#body, this.#packed);
    freeNow(compressed);
    this.#filled = 0;
    this.#frameChunks = [];
  }

  /** Whether one more window of a file, and the head, might not fit. */
  get isFull(): boolean {
    return this.#packed > PACK_BYTES - 2 * BUFFER_BYTES || this.#entries > MAX_ENTRIES;
  }

  /** Begins to store what was collected as a pack, once the one before is stored. @throws what the depot throws */
  async flush(signal: AbortSignal): Promise<void> {
    await this.#storing;
    this.endFrame();
    if (this.#frames.length === 0 && this.#lists.size === 0) return;
    signal.throwIfAborted();
    const pack = encodePack(this.#frames, this.#body.subarray(0, this.#packed), this.#lists);
    this.#storing = this.#store(pack, this.#frames, this.#lists, signal);
    // A failure is told to whoever flushes next, or ends.
    this.#storing.catch(() => undefined);
    [this.#body, this.#spare] = [this.#spare ?? Buffer.allocUnsafeSlow(PACK_BYTES), this.#body];
    this.#lists = new Map();
    this.#frames = [];
    this.#packed = 0;
    this.#entries = 0;
  }

  /** Stores what is left, and waits until all is stored. @throws what the depot throws */
  async end(signal: AbortSignal): Promise<void> {
    await this.flush(signal);
    await this.#storing;
  }

  async #store(
    pack: EncodedPack,
    frames: readonly PackedFrame[],
    lists: ReadonlyMap<Digest, readonly ChunkRef[]>,
    signal: AbortSignal,
  ): Promise<void> {
    refuseManyPacks(this.stored.length + 1);
    faultPoint("publish.pack");
    await this.#depot.put(packName(pack.id), piecesBlob(pack.pieces, pack.id), signal);
    faultPoint("publish.packed");
    for (const { chunks } of frames) for (const { id } of chunks) this.#known.chunks.set(id, pack.id);
    for (const [file, list] of lists) this.#known.lists.set(file, { pack: pack.id, mark: markOf(list) });
    this.stored.push(pack.id);
    this.storedBytes += pack.size;
  }
}
