import { collectCache, checkCache } from "../../release/upkeep/cache-contents.ts";
import type { Command } from "../../trust/document/documents.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { checkBlobName } from "../../depot/seam/blob-name.ts";
import { cacheDepot } from "../../depot/cache/cache-depot.ts";
import type { AppContext } from "../attempt/app-context.ts";
import type { Line } from "./command-lines.ts";

/** Of a blob in one line of an answer. */
const LINE_BYTES = 256 * 1024;

export const isCacheCommand = (kind: string): boolean => kind.startsWith("cache-");

/** What operators have done to a node's cache by signed commands. */
export async function* cacheCommand(
  context: AppContext,
  { kind, args }: Command,
  signal: AbortSignal,
): AsyncGenerator<Line, void> {
  const { cache } = context;
  if (cache === undefined) throw new SkeinError("USAGE", "there is no cache here");
  switch (kind) {
    case "cache-list":
      for (const blob of await cache.blobs()) {
        const { name, ...rest } = blob;
        yield { type: "blob", blob: name, ...rest };
      }
      return;
    case "cache-flush": {
      yield { type: "freed", bytes: await cache.shrinkTo(0) };
      return;
    }
    case "cache-gc": {
      const { removed, bytes } = await collectCache(cache, wishOf(args), signal);
      yield { type: "freed", bytes, blobs: removed.length };
      return;
    }
    case "cache-repair": {
      const { checked, damaged } = await checkCache(cache, signal);
      yield { type: "checked", blobs: checked, damaged: damaged.length };
      for (const name of damaged) yield await mend(context, name, signal);
      return;
    }
    case "cache-read":
      for (const name of namesIn(args)) yield* readBlob(context, name, signal);
      return;
    case "cache-fetch":
      for (const name of namesIn(args))
        yield { type: "fetched", blob: name, bytes: await fetchBlob(context, name, signal) };
      return;
    default:
      throw new SkeinError("USAGE", `this agent does not know the command ${kind}`);
  }
}

function wishOf({ count, before, dry }: Command["args"]): Parameters<typeof collectCache>[1] {
  return {
    count: typeof count === "number" ? count : undefined,
    before: typeof before === "number" ? before : undefined,
    dry: dry === true,
  };
}

/** @throws SkeinError DOC_MALFORMED, BAD_REQUEST */
function namesIn({ blobs }: Command["args"]): readonly string[] {
  if (!Array.isArray(blobs)) throw new SkeinError("DOC_MALFORMED", "the command names no blobs");
  const names = blobs.map(String);
  for (const name of names) checkBlobName(name);
  return names;
}

/** What nobody has any more was held for nobody. */
async function mend(context: AppContext, name: string, signal: AbortSignal): Promise<Line> {
  try {
    return { type: "mended", blob: name, bytes: await fetchBlob(context, name, signal) };
  } catch (err) {
    if (!isSkeinError(err, "BLOB_MISSING")) throw err;
    return { type: "forgotten", blob: name };
  }
}

/** What the cache itself holds, and no depot behind it. @throws SkeinError BLOB_MISSING */
async function* readBlob(
  { cache }: AppContext,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Line, void> {
  if (cache === undefined) return;
  for await (const bytes of cacheDepot(cache).get(name, signal))
    for (let at = 0; at < bytes.length; at += LINE_BYTES)
      yield {
        type: "piece",
        blob: name,
        bytes: Buffer.from(bytes.subarray(at, at + LINE_BYTES)).toString("base64"),
      };
}

/** Reads a blob through the cache, which keeps it. @returns its bytes; @throws what the last depot did */
async function fetchBlob({ depots }: AppContext, name: string, signal: AbortSignal): Promise<number> {
  let failure: unknown = new SkeinError("BLOB_MISSING", "there is no depot to read from");
  for (const depot of depots()) {
    try {
      let bytes = 0;
      for await (const piece of depot.get(name, signal)) bytes += piece.length;
      return bytes;
    } catch (err) {
      signal.throwIfAborted();
      failure = err;
    }
  }
  throw failure;
}
