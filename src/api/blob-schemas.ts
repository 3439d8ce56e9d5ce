/** Bodies of the API of the hub's depot. */
import * as z from "zod";
import { digest } from "./field-schemas.ts";

export const blobNames = z.strictObject({ names: z.array(z.string().max(200)).max(10_000) });
export const blobsThere = z.object({ have: z.array(z.string()) });
export const blobList = z.object({ names: z.array(z.string()), next: z.string().nullable() });

export const collectPost = z.strictObject({
  /** Only count. */
  dryRun: z.boolean().default(false),
});
const blobCount = z.object({ blobs: z.int().nonnegative(), bytes: z.int().nonnegative() });
export const collected = z.object({
  /** In use. */
  kept: blobCount,
  /** Unreferenced, left for the next run. */
  noted: blobCount,
  /** Unreferenced twice, out of use from now on. */
  retired: blobCount,
  /** Taken out of use before, not long enough ago. */
  waiting: blobCount,
  /** Back in use. */
  restored: blobCount,
  deleted: blobCount,
  /** Packs that were put together, into how many, of how many bytes. */
  repacked: z.object({
    replaced: z.int().nonnegative(),
    made: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
  }),
  /** Unfinished uploads removed. */
  uploads: z.int().nonnegative(),
  /** Trees of kept releases whose index cannot be read: while there is one, no pack is removed. */
  unreadable: z.array(digest),
});

/** What a blob's pieces of 262,144 bytes hash to: of each the first 16 bytes of its SHA-256. Unsigned. */
export const pieceProof = z.object({
  size: z.int().min(0),
  hashes: z
    .string()
    .regex(/^([0-9a-f]{32})*$/)
    .max(32 * 65_536),
});
