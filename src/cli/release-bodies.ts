import path from "node:path";
import { systemClock } from "../lib/clock.ts";
import { shortRelease, type Digest } from "../lib/ids.ts";
import { formatBytes } from "../lib/units.ts";
import { exportRelease, importRelease } from "../operator/shelf/release-file.ts";
import { bucketShelf, hubShelf, type Shelf } from "../operator/shelf/shelf.ts";
import type { Context, Result } from "./context.ts";
import { bucketHere, hasBucket, pinHere } from "./ftl-settings.ts";
import { usage } from "./grammar.ts";
import type { ExportFlags, ShelfFlags } from "./release-commands.ts";

export async function exportTo(
  context: Context,
  app: string,
  version: string,
  flags: ExportFlags,
): Promise<Result> {
  const { io, cwd, signal } = context;
  await using stack = new AsyncDisposableStack();
  const shelf = await shelfHere(context, flags, "reading", stack);
  const file = path.resolve(cwd, flags.output ?? `${app}-${version.replace(/^.*@/, "").slice(0, 8)}.skein`);
  const pin = await pinOr(context);
  const wish = { app, version, from: flags.from ?? null, file, pin, clock: systemClock, signal };
  const made = await exportRelease(shelf, wish);
  io.print(`${file}  ${shortRelease(made.app, made.id)}  ${formatBytes(made.bytes)}`);
  return { ...made, file };
}

export async function importFrom(context: Context, file: string, flags: ShelfFlags): Promise<Result> {
  const { io, cwd, signal } = context;
  await using stack = new AsyncDisposableStack();
  const shelf = await shelfHere(context, flags, "writing", stack);
  const wish = { file: path.resolve(cwd, file), pin: await pinOr(context), clock: systemClock, signal };
  const made = await importRelease(shelf, wish);
  io.print(`${shortRelease(made.app, made.id)} is ${made.already ? "already" : "now"} in ${shelf.name}`);
  return { ...made };
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
