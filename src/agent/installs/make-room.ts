import fs from "node:fs/promises";
import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import { isSkeinError, type SkeinError } from "../../lib/errors/errors.ts";
import type { Spares } from "./spares.ts";

export interface RoomOptions {
  readonly cache: BlobCache | undefined;
  readonly spares: Spares | undefined;
  readonly dir: string;
}

/**
 * Does work that fills `dir`. Where the disk is full, spares give way, then the cache of blobs, if it lies on the same
 * one: as far as the work says that it lacks room, then whole; and the work is done again. It holds the cache down until
 * it ends.
 * @throws what the work throws; DISK_FULL when nothing more can be freed
 */
export async function withRoom<T>(work: () => Promise<T>, { cache, spares, dir }: RoomOptions): Promise<T> {
  using given = new DisposableStack();
  for (let bytes: number | undefined; ;) {
    try {
      return await work();
    } catch (err) {
      if (!isSkeinError(err, "DISK_FULL")) throw err;
      if (spares?.dropAll() === true) continue;
      if (cache === undefined) throw err;
      if (!(await isSameDisk(cache.dir, dir))) throw err;
      bytes = bytes === undefined ? lackingOf(err) : Infinity;
      const way = await cache.giveWay(bytes).catch(() => undefined);
      if (way === undefined) throw err;
      given.use(way);
      if (way.freed === 0) throw err;
    }
  }
}

/** Infinity where the failure does not tell. */
function lackingOf({ data }: SkeinError): number {
  const { lacking } = data;
  return typeof lacking === "number" ? lacking : Infinity;
}

async function isSameDisk(one: string, other: string): Promise<boolean> {
  const devices = await Promise.all([one, other].map(async (at) => (await fs.stat(at)).dev)).catch(() => []);
  return devices.length === 2 && devices[0] === devices[1];
}
