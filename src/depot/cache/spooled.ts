import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { BlobCache } from "./blob-cache.ts";
import { cached } from "./cached.ts";
import { keep } from "./keeping.ts";
import type { BlobSource, PrunableDepot, ReceivingDepot, UploadInfo, UploadState } from "../seam/depot.ts";
import type { DirectoryDepot } from "../directory/directory.ts";

export interface SpooledOptions {
  /** Where the blobs lie. */
  readonly far: PrunableDepot;
  /** As another process of this machine opens it (open-depot.ts). */
  readonly address: string;
  /** What arrives in parts is put together here. */
  readonly spool: DirectoryDepot;
  /** One that does not fail (`forgiving`). */
  readonly near: BlobCache;
  /** Ends what is on its way to `far`. */
  readonly signal: AbortSignal;
}

/**
 * A depot far away (a bucket) that others upload to through this process. An upload is put together and checked in a
 * folder here, and counts when it is there: who is told that it is done may forget it. One that was put together and
 * not sent on, for a cut or a crash, is asked for no byte again. What went through here is kept in a cache.
 */
export function spooledDepot(options: SpooledOptions): ReceivingDepot {
  const { far, address, spool, near } = options;
  const relay = new Relay(options);
  return {
    ...cached({ near, far }),
    address,
    scratch: spool.root,
    uploaded: async (name, sha256) => await relay.uploaded(name, sha256),
    append: async (name, blob, offset, data) => await relay.append(name, blob, offset, data),
    sweepUploads: async (olderThanMs, nowMs, signal) =>
      (await relay.sweep(olderThanMs, nowMs, signal)) + (await far.sweepUploads(olderThanMs, nowMs, signal)),
    entries: (prefix, signal) => far.entries(prefix, signal),
    put: async (name, blob, signal) => {
      await far.put(name, blob, signal);
      await near.drop(name);
    },
    delete: async (name, signal) => {
      await far.delete(name, signal);
      await near.drop(name);
    },
    rename: async (from, to, signal) => {
      await far.rename(from, to, signal);
      await Promise.all([near.drop(from), near.drop(to)]);
    },
  };
}

/** Takes uploads into the spool, and sends on those that are whole. */
class Relay {
  readonly #options: SpooledOptions;
  /** By the name in the spool: on their way. */
  readonly #sending = new Map<string, Promise<void>>();

  constructor(options: SpooledOptions) {
    this.#options = options;
  }

  async uploaded(name: string, sha256: string): Promise<number> {
    const spooled = spooledName(name, sha256);
    return (await this.#arrived(spooled)) ?? (await this.#options.spool.uploaded(spooled, sha256));
  }

  async append(
    name: string,
    blob: UploadInfo,
    offset: number,
    data: AsyncIterable<Uint8Array>,
  ): Promise<UploadState> {
    const spooled = spooledName(name, blob.sha256);
    const isWhole = offset === blob.size && (await this.#arrived(spooled)) === blob.size;
    const state = isWhole
      ? { offset, done: true }
      : await this.#options.spool.append(spooled, blob, offset, data);
    if (state.done) await this.#sentOn(name, spooled, blob);
    return state;
  }

  async sweep(olderThanMs: number, nowMs: number, signal: AbortSignal): Promise<number> {
    const { spool } = this.#options;
    let swept = await spool.sweepUploads(olderThanMs, nowMs, signal);
    for await (const name of spool.list("", signal)) {
      if (this.#sending.has(name) || (await writtenAt(spool, name)) >= nowMs - olderThanMs) continue;
      await spool.delete(name, signal);
      swept += 1;
    }
    return swept;
  }

  /** The size of what is whole in the spool. */
  async #arrived(spooled: string): Promise<number | undefined> {
    const { spool, signal } = this.#options;
    for await (const { name, sizeBytes } of spool.entries(spooled, signal)) {
      if (name === spooled) return sizeBytes;
    }
    return undefined;
  }

  /**
   * Whoever comes again after a cut waits for the same one. Of two who bring the same bytes at a time, one may have sent
   * them on and cleared them away when the other's are whole.
   */
  async #sentOn(name: string, spooled: string, blob: UploadInfo): Promise<void> {
    const { far, signal } = this.#options;
    const begun =
      this.#sending.get(spooled) ??
      this.#sendOn(name, spooled, blob).finally(() => this.#sending.delete(spooled));
    this.#sending.set(spooled, begun);
    try {
      await begun;
    } catch (err) {
      if (!isSkeinError(err, "BLOB_MISSING") || !(await far.has([name], signal)).has(name)) throw err;
    }
  }

  async #sendOn(name: string, spooled: string, { size, sha256 }: UploadInfo): Promise<void> {
    const { far, near, spool, signal } = this.#options;
    const open = (offset: number): AsyncIterable<Uint8Array> => spool.get(spooled, signal, { start: offset });
    const blob: BlobSource = { size, sha256, open };
    await far.put(name, blob, signal);
    await keep(near, name, blob, signal);
    await spool.delete(spooled, signal);
  }
}

/** Two contents that come under one name at a time do not meet. One part, so that no folders are left behind. */
const spooledName = (name: string, sha256: string): string =>
  `${sha256.slice(0, 16)}-${name.replaceAll("/", "-")}`;

/** In ms since the epoch; of what is gone meanwhile, the newest there is. */
async function writtenAt({ root }: DirectoryDepot, name: string): Promise<number> {
  return await fs.stat(path.join(root, "blobs", name)).then(
    ({ mtimeMs }) => mtimeMs,
    () => Infinity,
  );
}
