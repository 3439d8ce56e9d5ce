import { keptInBucket } from "../../bucket/kept-in-bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { KEEP } from "../../hub/depot/kept-releases.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import { removeDamaged } from "../../release/upkeep/damaged.ts";
import { tidy, type Tidied } from "../../release/upkeep/tidy.ts";
import type { Context, Result } from "../command/context.ts";
import { bucketHere } from "../bucket/ftl-settings.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { columns } from "../terminal/io.ts";

interface DepotFlags {
  readonly bucket?: string;
  readonly damaged?: boolean;
}

/** As many as a hub tells of at once, newest first. */
const MOST_RELEASES = 1000;
/** A large depot takes a while to look through. */
const DEPOT_MS = 10 * 60_000;
/** What becomes of a blob, in this order: a short word, and what happens to it next. */
const WORDS = {
  kept: ["in use", ""],
  noted: ["unneeded", "the next run takes them out of use"],
  retired: ["retired", "out of use from now on"],
  waiting: ["waiting", "out of use, not long enough to delete them"],
  deleted: ["deleted", ""],
} as const;

/** Collects the hub's depot, which the hub does, or a bucket's, which is done from here. */
export async function gcDepot(context: Context, flags: DepotFlags): Promise<Result> {
  const { io, globals } = context;
  const dryRun = globals.dryRun === true;
  if (flags.damaged === true) return await gcDamaged(context, flags, dryRun);
  const collected = hasBucket(flags) ? await ofBucket(context, flags, dryRun) : await ofHub(context, dryRun);
  const rows = Object.entries(WORDS).map(([what, [word, next]]) => {
    const { blobs, bytes } = collected[what as keyof typeof WORDS];
    return [word, `${blobs} ${blobs === 1 ? "blob" : "blobs"}`, formatBytes(bytes), next];
  });
  for (const line of columns(rows)) io.print(line);
  const { replaced, made, bytes } = collected.repacked;
  if (replaced > 0) io.print(`${replaced} packs put together into ${made} (${formatBytes(bytes)})`);
  if (collected.unreadable.length > 0) {
    io.say(
      `${collected.unreadable.length} kept releases have no index that can be read: no pack is removed.`,
    );
  }
  return { depot: collected };
}

/** Whoever asks reads all of the depot: a hub is not kept busy with it. */
async function gcDamaged(context: Context, flags: DepotFlags, dryRun: boolean): Promise<Result> {
  const { io, signal } = context;
  using bucket = hasBucket(flags)
    ? await bucketHere(flags, context, dryRun ? "reading" : "tidying")
    : undefined;
  const depot = bucket?.depot ?? httpDepot((await context.operator()).client);
  const releases =
    bucket === undefined
      ? keptByHub(await context.operator(), signal)
      : keptInBucket(bucket.documents, signal);
  const { blobs, bytes, damaged, lost } = await removeDamaged({ depot, releases, dryRun, signal });
  for (const { name, why } of damaged) io.print(`${name}  ${dryRun ? "damaged" : "removed"}: ${why.message}`);
  for (const { name, index } of lost) io.print(`${name}  lost: ${index} needs it, and it is not there`);
  const missing = lost.length === 0 ? "" : `, ${lost.length} lost`;
  io.print(`${blobs} blobs  ${formatBytes(bytes)} read, ${damaged.length} damaged${missing}`);
  if (damaged.length + lost.length > 0)
    io.say(
      "Publish again what needs them: skein deploy, skein ftl spool FILE, or skein release import FILE. Machines then fetch it whole.",
    );
  return { blobs, bytes, damaged: damaged.map(({ name }) => name), lost: lost.map(({ name }) => name) };
}

/** Of older releases a collection may have taken the tables. */
async function* keptByHub({ client }: Operator, signal: AbortSignal): AsyncGenerator<PublishedTree, void> {
  const seen = new Map<string, number>();
  for (const { app, release } of await client.releases({ limit: MOST_RELEASES }, signal)) {
    const n = (seen.get(app) ?? 0) + 1;
    seen.set(app, n);
    if (n <= KEEP.releases) yield readUnverified(release, "release.1");
  }
}

async function ofHub(context: Context, dryRun: boolean) {
  const { client } = await context.operator();
  const options = { body: { dryRun }, signal: context.signal, timeoutMs: DEPOT_MS };
  return await client.call("depotCollect", options);
}

async function ofBucket(
  context: Context,
  flags: { readonly bucket?: string },
  dryRun: boolean,
): Promise<Tidied> {
  const { signal } = context;
  using bucket = await bucketHere(flags, context, dryRun ? "reading" : "tidying");
  const roots = () => keptInBucket(bucket.documents, signal);
  return await tidy({ depot: bucket.depot, roots, dryRun, clock: systemClock, signal });
}
