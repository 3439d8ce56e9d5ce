import { createHash } from "node:crypto";
import { SkeinError } from "../../lib/errors/errors.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import type { BlobSource, Depot } from "../seam/depot.ts";
import { PIECE_BYTES } from "./piece-file.ts";
import type { BlobCache } from "./blob-cache.ts";

/**
 * A cache as a depot of the blobs that it holds from end to end; a blob of which a part is held is missing. What is put
 * stays for as long as the cache keeps it; `peek` counts as no use of it. It lists nothing: whoever stores into it should lean on nothing that may go.
 */
export function cacheDepot(cache: BlobCache, use: "read" | "peek" = "read"): Depot {
  return {
    kind: "cache",
    name: `cache ${cache.dir}`,
    async has(names, signal) {
      const whole = new Set<string>();
      for (const name of new Set(names)) if (await isWhole(cache, name, signal)) whole.add(name);
      return whole;
    },
    async *get(name, signal, range) {
      checkBlobName(name);
      const { start = 0, end = Infinity } = range ?? {};
      for (let at = start; at < end;) {
        signal.throwIfAborted();
        const held = await cache[use](name, at, end);
        if (held === undefined) throw missing(name);
        at += held.bytes.length;
        yield held.bytes;
        if (held.ends) return;
      }
    },
    async *list() {
      yield* [];
    },
    put: async (name, blob, signal) => await put(cache, name, blob, signal),
    delete: async (name) => await cache.drop(name),
  };
}

/** Whether a blob is held from end to end. */
export async function isWhole(cache: BlobCache, name: string, signal: AbortSignal): Promise<boolean> {
  for (let at = 0; ;) {
    signal.throwIfAborted();
    const held = await cache.peek(name, at, Infinity);
    if (held === undefined || held.ends) return held !== undefined;
    at += held.bytes.length;
  }
}

/** @throws SkeinError CHUNK_CORRUPT when the bytes are not those announced */
async function put(cache: BlobCache, name: string, blob: BlobSource, signal: AbortSignal): Promise<void> {
  checkBlobName(name);
  await cache.drop(name);
  const sum = createHash("sha256");
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  let [start, filled] = [0, 0];
  for await (const bytes of blob.open(0)) {
    signal.throwIfAborted();
    sum.update(bytes);
    for (let rest = bytes; rest.length > 0;) {
      const part = rest.subarray(0, PIECE_BYTES - filled);
      piece.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled < PIECE_BYTES && start + filled < blob.size) continue;
      await cache.write(name, start, piece.subarray(0, filled), start + filled === blob.size);
      start += filled;
      filled = 0;
    }
  }
  if (start + filled === blob.size && sum.digest("hex") === blob.sha256) return;
  await cache.drop(name);
  throw new SkeinError("CHUNK_CORRUPT", `${name} arrived with other bytes than announced`, {
    data: { blob: name },
  });
}

function missing(name: string): SkeinError {
  return new SkeinError("BLOB_MISSING", `the cache does not hold all of ${name}`, { data: { blob: name } });
}
