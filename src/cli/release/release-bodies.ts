import path from "node:path";
import { openBucket as openServer } from "../../depot/s3/bucket.ts";
import { LONGEST_SEC, presignAll } from "../../depot/s3/presigned.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { refuseNoFolder, writeFileAtomic } from "../../lib/disk/files.ts";
import { shortRelease, type Digest } from "../../lib/text/ids.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { exportRelease, importRelease } from "../../operator/shelf/release-file.ts";
import { bucketShelf, hubShelf, type Shelf } from "../../operator/shelf/shelf.ts";
import type { Context, Result } from "../command/context.ts";
import { bucketAddress, bucketHere, pinHere } from "../bucket/ftl-settings.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { durationFlag, usage } from "../command/grammar.ts";
import { isStandard, standardInput, standardOutput } from "../command/standard-streams.ts";
import { releaseNamed } from "../command/release-named.ts";

export interface ShelfFlags {
  readonly bucket?: string;
}

export interface PresignFlags extends ShelfFlags {
  readonly for: string;
  readonly output: string;
}

export interface ExportFlags extends ShelfFlags {
  readonly from?: string;
  readonly output?: string;
}

export async function exportTo(
  context: Context,
  app: string,
  version: string,
  flags: ExportFlags,
): Promise<Result> {
  const { io, cwd, signal } = context;
  const stream = isStandard(flags.output) ? standardOutput(io) : undefined;
  await using stack = new AsyncDisposableStack();
  const shelf = await shelfHere(context, flags, "reading", stack);
  // A bucket knows ids and what spool prints; a hub also knows what the repository here calls a commit.
  const named = async (word: string): Promise<string> =>
    hasBucket(flags) ? word : await releaseNamed(context, app, word);
  const meant = await named(version);
  const from = flags.from === undefined ? null : await named(flags.from);
  const file = path.resolve(cwd, flags.output ?? `${app}-${meant.replace(/^.*[@-]/, "").slice(0, 8)}.skein`);
  const pin = await pinOr(context);
  const wish = { app, version: meant, from, file: stream ?? file, pin, clock: systemClock, signal };
  const made = await exportRelease(shelf, wish);
  const what = `${shortRelease(made.app, made.id)}  ${formatBytes(made.bytes)}`;
  if (stream === undefined) io.print(`${file}  ${what}`);
  else io.say(what);
  return { ...made, file };
}

export async function importFrom(context: Context, file: string, flags: ShelfFlags): Promise<Result> {
  const { io, cwd, signal, dryRun } = context;
  const named = isStandard(file) ? standardInput() : path.resolve(cwd, file);
  await using stack = new AsyncDisposableStack();
  const shelf = await shelfHere(context, flags, "writing", stack);
  const wish = { file: named, pin: await pinOr(context), clock: systemClock, signal, dryRun };
  const made = await importRelease(shelf, wish);
  io.print(`${shortRelease(made.app, made.id)} is ${made.already ? "already" : "now"} in ${shelf.name}`);
  return { ...made };
}

/** Machines then name it as their bucket: `presigned:FILE`. */
export async function presign(context: Context, flags: PresignFlags): Promise<Result> {
  const { io, cwd, signal } = context;
  const forSec = Math.floor(durationFlag(flags.for) / 1000);
  if (forSec < 1 || forSec > LONGEST_SEC) throw usage(`${flags.for} is not up to 7d`, "--for 24h");
  const stream = isStandard(flags.output) ? standardOutput(io) : undefined;
  const address = bucketAddress(flags);
  if (!address.startsWith("s3:"))
    throw usage(`${address} is read without addresses`, "skein release presign --bucket s3://BUCKET/PREFIX");
  const file = path.resolve(cwd, flags.output);
  if (stream === undefined) refuseNoFolder(file);
  using bucket = await openServer(address, process.env);
  const book = await presignAll(bucket, forSec, systemClock, signal);
  const text = `${JSON.stringify(book)}\n`;
  const what = `${book.objects.length} objects, until ${book.expires}`;
  if (stream === undefined) {
    await writeFileAtomic(file, text);
    io.print(`${file}  ${what}`);
  } else {
    stream.write(text);
    io.say(what);
  }
  return { file, objects: book.objects.length, expires: book.expires };
}

async function shelfHere(
  context: Context,
  flags: ShelfFlags,
  why: "reading" | "writing",
  stack: AsyncDisposableStack,
): Promise<Shelf> {
  if (!hasBucket(flags)) return hubShelf(await context.operator());
  return bucketShelf(stack.use(await bucketHere(flags, context, why)), systemClock);
}

async function pinOr(context: Context): Promise<Digest> {
  const pin = await pinHere(context);
  if (pin !== null) return pin;
  throw usage("which cluster?", "Set SKEIN_CHARTER to the 64 digits that skein init printed.");
}
