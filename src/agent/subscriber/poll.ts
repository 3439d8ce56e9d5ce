import type { Stats } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { lookAgain, type Seen, type SeenNow } from "../../bucket/looking.ts";
import { parseRoot, rootText, type Root } from "../../bucket/root.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { readIfThere, removeLeft, writeFileAtomic } from "../../lib/disk/files.ts";
import { rootFolder } from "./package-place.ts";

/**
 * What this machine read last, so that a poll which finds nothing new is one conditional request. A hint like the root
 * itself: losing it costs one read.
 */
const memorySchema = z.strictObject({
  bucket: z.string(),
  etag: z.string().optional(),
  root: z.string(),
  listedMs: z.number(),
});

/** Reads the bucket's root, or now and then its listing. @throws SkeinError what the store throws */
export async function poll(
  root: string,
  documents: DocumentStore,
  clock: Clock,
  signal: AbortSignal,
): Promise<SeenNow> {
  const file = memoryFile(root);
  const before = await recall(file, documents.name);
  const seen = await lookAgain(documents, before, clock.now(), signal);
  const isKept = seen.isSame && seen.etag === before?.etag && seen.listedMs === before?.listedMs;
  // A root that is not there, or cannot be written, says so itself.
  if (!isKept) await remember(file, documents.name, seen).catch(() => undefined);
  return seen;
}

/** The bucket's root as this machine read it last; null: it has not. */
export async function lastSeen(root: string, { name }: DocumentStore): Promise<Root | null> {
  return (await recall(memoryFile(root), name))?.root ?? null;
}

/** What cannot be read is forgotten. */
async function recall(file: string, bucket: string): Promise<Seen | undefined> {
  try {
    const memory = memorySchema.parse(JSON.parse((await readIfThere(file)) ?? ""));
    const { etag, listedMs } = memory;
    return memory.bucket === bucket
      ? { root: parseRoot(Buffer.from(memory.root)), etag, listedMs }
      : undefined;
  } catch {
    return undefined;
  }
}

const memoryFile = (root: string): string => path.join(rootFolder(root), "poll.json");

async function remember(file: string, bucket: string, { root, etag, listedMs }: Seen): Promise<void> {
  // In the root, and never the root itself: one that is not there is misspelt, or its disk is not mounted.
  await fs.mkdir(path.dirname(file), { mode: 0o755 }).catch(unlessThere);
  // Root writes through no link that somebody may have left there (turn.ts tells of it).
  if (process.getuid?.() === 0 && !isOwn(await fs.lstat(path.dirname(file)))) return;
  removeLeft(path.dirname(file));
  await writeFileAtomic(file, JSON.stringify({ bucket, etag, root: rootText(root), listedMs }), 0o644);
}

const isOwn = (stat: Stats): boolean => stat.isDirectory() && stat.uid === 0;

function unlessThere(err: unknown): void {
  if (errnoOf(err) !== "EEXIST") throw err;
}
