import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import type { SmallBlob } from "../../api/hub-client.ts";
import type { BlobSource, ByteRange, Depot } from "../../depot/seam/depot.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import type { KeptBlobs } from "./kept-blobs.ts";

/** Blobs up to this size are held whole, in bytes. A larger one passes as it comes. */
const SMALL_BYTES = 256 * 1024;
/** Longest sum of what is held for reading, in bytes. */
const HELD_BYTES = 8 * 2 ** 20;
const UPLOADS_AT_ONCE = 4;

/** So many bytes of small blobs are gathered; what is more is sent at once. */
const GATHERED_BYTES = 512 * 1024;
const GATHERED_BLOBS = 64;

/** A depot for one command: small blobs are asked for once, and several are on their way at a time. */
export interface NearDepot extends Depot {
  /** Begins to read a blob that will be asked for. What cannot be read is told to whoever asks for it. */
  expect(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** The bytes of a blob that came with something else. */
  seed(name: string, bytes: Uint8Array): void;
  /** Resolves once everything that was put is in the depot, but for what was gathered. @throws the first failure of a put */
  settled(): Promise<void>;
  /** What was gathered and never sent, in the order in which it was put: whoever takes it sends it. */
  gathered(): readonly SmallBlob[];
}

export interface NearOptions {
  /**
   * What earlier commands put or read; only what is expected is looked for there, since whoever reads something else
   * wants to know whether the depot has it.
   */
  readonly kept?: KeptBlobs;
  /**
   * Small blobs are held back while they are few, to be sent with something else. Until then what was listed is taken
   * for being there still: whoever sends them asks.
   */
  readonly gathers?: boolean;
}

/**
 * Wraps a depot that is far away. Names of packs, rows and times carry the digest of their content, and readers check
 * it, so a blob that was read is good for the whole command. The put of a small blob may return before the depot has
 * it, but an index is put only when all that was put before it has arrived: the depot never holds an index that leads
 * nowhere, wherever the command breaks off.
 */
export function nearDepot(far: Depot, { kept, gathers = false }: NearOptions = {}): NearDepot {
  const uploads = new Uploads();
  const gathering = new Gathering(gathers);
  const reads = new Map<string, Promise<Uint8Array | undefined>>();
  const listed = new Set<string>();
  let held = 0;
  const readNear = async (name: string, signal: AbortSignal): Promise<Uint8Array | undefined> => {
    const here = await kept?.read(name);
    if (here !== undefined) return here;
    const bytes = await readSmall(far, name, signal);
    if (bytes !== undefined) void kept?.write(name, bytes);
    return bytes;
  };
  const expect = async (name: string, signal: AbortSignal): Promise<Uint8Array | undefined> => {
    const begun = reads.get(name) ?? readNear(name, signal);
    reads.set(name, begun);
    const bytes = await begun.catch(() => undefined);
    if (bytes === undefined || held > HELD_BYTES) reads.delete(name);
    else held += bytes.length;
    return bytes;
  };
  const send = async (name: string, blob: BlobSource, signal: AbortSignal): Promise<void> => {
    if (name.startsWith("index/")) await uploads.settled();
    if (blob.size > SMALL_BYTES) await far.put(name, blob, signal);
    else await uploads.begin(async () => await far.put(name, blob, signal));
  };
  return {
    kind: far.kind,
    name: far.name,
    expect,
    seed: (name, bytes) => void reads.set(name, Promise.resolve(bytes)),
    async has(names, signal) {
      if (gathering.isOpen && names.every((name) => listed.has(name))) return new Set(names);
      return await far.has(names, signal);
    },
    async *list(prefix, signal) {
      for await (const name of far.list(prefix, signal)) {
        listed.add(name);
        yield name;
      }
    },
    async *get(name, signal, range) {
      const bytes = await reads.get(name)?.catch(() => undefined);
      if (bytes === undefined) yield* far.get(name, signal, range);
      else yield Uint8Array.from(bytes.subarray(range?.start ?? 0, range?.end ?? bytes.length));
    },
    async put(name, blob, signal) {
      // The source may be gone when its turn comes.
      const bytes = blob.size > SMALL_BYTES ? undefined : await buffer(Readable.from(blob.open(0)));
      if (bytes !== undefined) void kept?.write(name, bytes);
      if (bytes !== undefined && gathering.add({ name, bytes })) return;
      for (const one of gathering.end()) await send(one.name, bytesBlob(one.bytes), signal);
      await send(name, bytes === undefined ? blob : bytesBlob(bytes), signal);
    },
    delete: async (name, signal) => await far.delete(name, signal),
    settled: async () => await uploads.settled(),
    gathered: () => gathering.end(),
  };
}

/** The whole blob, or undefined where it is too large to be held. */
async function readSmall(far: Depot, name: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const range: ByteRange = { start: 0 };
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of far.get(name, signal, range)) {
    size += piece.length;
    if (size > SMALL_BYTES) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Small blobs that wait for something to be sent with, as long as they are few. */
class Gathering {
  #isOpen: boolean;
  #bytes = 0;
  readonly #blobs = new Map<string, SmallBlob>();

  constructor(isOpen: boolean) {
    this.#isOpen = isOpen;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** @returns false where it is to be sent by itself, after all that was gathered */
  add(blob: SmallBlob): boolean {
    const fits = this.#bytes + blob.bytes.length <= GATHERED_BYTES && this.#blobs.size < GATHERED_BLOBS;
    if (!this.#isOpen || !fits) return false;
    this.#bytes += blob.bytes.length;
    // Put a second time, it may lead to what was put since.
    this.#blobs.delete(blob.name);
    this.#blobs.set(blob.name, blob);
    return true;
  }

  /** From now on nothing is gathered. */
  end(): readonly SmallBlob[] {
    this.#isOpen = false;
    const blobs = [...this.#blobs.values()];
    this.#blobs.clear();
    return blobs;
  }
}

class Uploads {
  readonly #open = new Set<Promise<void>>();
  #failure: { readonly err: unknown } | undefined;

  /** Resolves when the upload has begun. @throws the failure of an earlier one */
  async begin(upload: () => Promise<void>): Promise<void> {
    while (this.#open.size >= UPLOADS_AT_ONCE) await Promise.race(this.#open);
    this.#throwFailure();
    const done = upload()
      .catch((err: unknown) => {
        this.#failure ??= { err };
      })
      .finally(() => this.#open.delete(done));
    this.#open.add(done);
  }

  async settled(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.err;
  }
}
