import * as z from "zod";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { digest, releaseId, treeId } from "../../trust/document/fields.ts";
import { envelopeSchema } from "../../trust/document/envelope.ts";
import { ByteFeed } from "./byte-feed.ts";

/**
 * A release in one file, for machines without a network (docs/formats/export.md): a line that says what it is, the
 * length of a head, the head (JSON: signed documents and a list of blobs), the blobs one after the other. The
 * documents are signed; all other bytes are proved by where they lead.
 */
const MAGIC = "skein-export-1\n";
const LENGTH_BYTES = 4;
const MAX_HEAD_BYTES = 64 * 2 ** 20;
const MAX_BLOB_BYTES = 2 ** 40;
/** Blobs of a release, and nothing that a depot or a bucket may hold beside. */
const BLOB = /^(?:packs|rows|since|index)\/[0-9a-f]{64}$/;

const headSchema = z.strictObject({
  /** From the first charter to the one in force. */
  charters: z.array(envelopeSchema).min(1).max(10_000),
  release: envelopeSchema,
  /** The release whose chunks are left out, and its tree; null: all of it is here. */
  from: z.strictObject({ release: releaseId, tree: treeId }).nullable(),
  blobs: z
    .array(
      z.strictObject({
        name: z.string().regex(BLOB),
        size: z.int().nonnegative().max(MAX_BLOB_BYTES),
        sha256: digest,
      }),
    )
    .max(20_000)
    .refine((blobs) => new Set(blobs.map(({ name }) => name)).size === blobs.length, "a blob comes twice"),
});
export type ExportHead = Readonly<z.infer<typeof headSchema>>;

/** The file's bytes. @throws SkeinError CHUNK_CORRUPT when a blob is not as long as the head says; what the depot throws */
export async function* encodeExport(
  head: ExportHead,
  depot: DepotReader,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(text.length);
  yield Buffer.concat([Buffer.from(MAGIC), length, text]);
  for (const { name, size } of head.blobs) {
    let came = 0;
    for await (const piece of depot.get(name, signal)) {
      came += piece.length;
      yield piece;
    }
    if (came !== size) throw new SkeinError("CHUNK_CORRUPT", `${name} changed while it was written`);
  }
}

/**
 * Reads a file: its head, handed to `accept` before any blob is read, then its blobs into `into` (an empty depot),
 * each checked against the head. Nothing is proved by that but that it arrived whole.
 * @throws SkeinError EXPORT_DAMAGED; whatever `accept` and `into` throw
 */
export async function decodeExport(
  source: AsyncIterable<Uint8Array>,
  into: Depot,
  accept: (head: ExportHead) => Promise<void>,
  signal: AbortSignal,
): Promise<ExportHead> {
  const feed = new ByteFeed(source);
  try {
    const head = await readHead(feed);
    await accept(head);
    for (const { name, size, sha256 } of head.blobs) {
      try {
        await into.put(name, { size, sha256, open: () => feed.next(size) }, signal);
      } catch (err) {
        throw isSkeinError(err, "CHUNK_CORRUPT") ? damaged(`${name} is cut or altered`) : err;
      }
      faultPoint("import.blob");
    }
    if ((await feed.take(1)).length > 0) throw damaged("it goes on after its end");
    return head;
  } finally {
    await feed.close();
  }
}

async function readHead(feed: ByteFeed): Promise<ExportHead> {
  const magic = await feed.take(MAGIC.length);
  if (magic.toString("latin1") !== MAGIC) throw damaged("it does not begin as one");
  const length = await feed.take(LENGTH_BYTES);
  const size = length.length < LENGTH_BYTES ? 0 : length.readUInt32LE();
  if (size > MAX_HEAD_BYTES) throw damaged("its head is longer than it may be");
  const text = (await feed.take(size)).toString("utf8");
  try {
    return headSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw damaged("its head cannot be read", cause);
  }
}

function damaged(what: string, cause?: unknown): SkeinError {
  return new SkeinError("EXPORT_DAMAGED", `this is no exported release, or it is damaged: ${what}`, {
    cause,
  });
}
