import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import type { ByteRange, Depot } from "../depot/depot.ts";
import { bytesBlob } from "../release/blobs.ts";
import type { KeptBlobs } from "./kept-blobs.ts";

/** Blobs up to this size are held whole, in bytes. A larger one passes as it comes. */
const SMALL_BYTES = 256 * 1024;
/** Longest sum of what is held for reading, in bytes. */
const HELD_BYTES = 8 * 2 ** 20;
const UPLOADS_AT_ONCE = 4;

/** A depot for one command: small blobs are asked for once, and several are on their way at a time. */
export interface NearDepot extends Depot {
  /** Begins to read a blob that will be asked for. What cannot be read is told to whoever asks for it. */
  expect(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Resolves once everything that was put is in the depot. @throws the first failure of a put */
  settled(): Promise<void>;
}

/**
 * Wraps a depot that is far away. Names of packs, rows and times carry the digest of their content, and readers check
 * it, so a blob that was read is good for the whole command. The put of a small blob may return before the depot has
 * it, but an index is put only when all that was put before it has arrived: the depot never holds an index that leads
 * nowhere, wherever the command breaks off.
 * @param kept holds what earlier commands put or read; only what is expected is looked for there, since whoever reads
 * something else wants to know whether the depot has it
 */
export function nearDepot(far: Depot, kept?: KeptBlobs): NearDepot {
  const uploads = new Uploads();
  const reads = new Map<string, Promise<Uint8Array | undefined>>();
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
  return {
    kind: far.kind,
    name: far.name,
    expect,
    has: async (names, signal) => await far.has(names, signal),
    list: (prefix, signal) => far.list(prefix, signal),
    async *get(name, signal, range) {
      const bytes = await reads.get(name)?.catch(() => undefined);
      if (bytes === undefined) yield* far.get(name, signal, range);
      else yield Uint8Array.from(bytes.subarray(range?.start ?? 0, range?.end ?? bytes.length));
    },
    async put(name, blob, signal) {
      if (name.startsWith("index/")) await uploads.settled();
      if (blob.size > SMALL_BYTES) return await far.put(name, blob, signal);
      // The source may be gone when its turn comes.
      const bytes = await buffer(Readable.from(blob.open(0)));
      await uploads.begin(async () => {
        await far.put(name, bytesBlob(bytes), signal);
        void kept?.write(name, bytes);
      });
    },
    delete: async (name, signal) => await far.delete(name, signal),
    settled: async () => await uploads.settled(),
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
