import fs from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { listRoot, readRoot } from "../../bucket/entries.ts";
import { parseRoot, rootText, type Root } from "../../bucket/root.ts";
import type { DocumentStore } from "../../depot/documents.ts";
import type { Clock } from "../../lib/clock.ts";
import { readIfThere, writeFileAtomic } from "../../lib/files.ts";
import { rootFolder } from "./place.ts";

/**
 * What this machine read last, so that a poll which finds nothing new is one conditional request. A hint like the root
 * itself: losing it costs one read.
 */
const memorySchema = z.strictObject({
  bucket: z.string(),
  etag: z.string().optional(),
  root: z.string(),
  /** When the listing itself was looked at, in ms since the epoch. */
  listedMs: z.number(),
});
type Memory = z.infer<typeof memorySchema>;

/** How often the listing is looked at beside the root: what its publisher could not finish arrives then. */
const LIST_EVERY_MS = 3_600_000;

/** What a poll brought. */
export interface Polled {
  readonly root: Root;
  /** The bucket has what it had the last time. */
  readonly isSame: boolean;
}

/** Reads the bucket's root, or now and then its listing. @throws SkeinError what the store throws */
export async function poll(
  root: string,
  documents: DocumentStore,
  clock: Clock,
  signal: AbortSignal,
): Promise<Polled> {
  const file = path.join(rootFolder(root), "poll.json");
  const before = await recall(file, documents.name);
  const now = clock.now();
  // The first time counts as a look that was some time ago: machines that start together do not list together.
  const listedMs = before?.listedMs ?? now - Math.random() * LIST_EVERY_MS;
  const isDue = now - listedMs >= LIST_EVERY_MS;
  const look = isDue
    ? { root: await listRoot(documents, signal), etag: before?.etag }
    : await readRoot(documents, before?.etag, signal);
  if (look === "same") return { root: parseRoot(Buffer.from(before?.root ?? "")), isSame: true };
  const text = rootText(look.root);
  const memory = { etag: look.etag, root: text, listedMs: isDue ? now : listedMs };
  await remember(file, { bucket: documents.name, ...memory });
  return { root: look.root, isSame: text === before?.root };
}

/** What cannot be read is forgotten. */
async function recall(file: string, bucket: string): Promise<Memory | undefined> {
  try {
    const memory = memorySchema.parse(JSON.parse((await readIfThere(file)) ?? ""));
    parseRoot(Buffer.from(memory.root));
    return memory.bucket === bucket ? memory : undefined;
  } catch {
    return undefined;
  }
}

async function remember(file: string, memory: Memory): Promise<void> {
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o755 });
  await writeFileAtomic(file, JSON.stringify(memory), 0o644);
}
