import { jumpHere } from "../agent/subscriber/jump.ts";
import { localRevisions, pinnedHere } from "../agent/subscriber/listing.ts";
import { unpinned } from "../agent/join-bucket.ts";
import { subscribed, subscriptions } from "../agent/subscriber/place.ts";
import type { PackageResult, SyncTools } from "../agent/subscriber/sync-package.ts";
import { sync as syncOnce, syncForever, type SyncResult } from "../agent/subscriber/sync.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { packageNamed, revisionOf, revisionWord, type Package } from "../bucket/layout.ts";
import { systemClock } from "../lib/clock.ts";
import { jsonLog, silentLog } from "../lib/log.ts";
import { formatDuration } from "../lib/units.ts";
import { charterIn, lookAt } from "../operator/bucket/bucket-operator.ts";
import {
  jumpBackMaster,
  jumpMaster,
  masterPackages,
  masterRevisions,
  purgeMaster,
  type Jumped,
  type JumpOptions,
} from "../operator/bucket/master.ts";
import { spool as spoolFile } from "../operator/bucket/spool.ts";
import { operatorHere } from "./bucket-bodies.ts";
import type { Context, Result } from "./context.ts";
import type { MasterFlags, PlaceFlags, SpoolFlags, SyncFlags } from "./ftl-commands.ts";
import { bucketHere, pinHere, rootHere } from "./ftl-settings.ts";
import { durationFlag, usage } from "./grammar.ts";
import { columns } from "./io.ts";
import { progress } from "./progress.ts";
import { tellTrouble } from "./report-error.ts";
import { nodeNameHere } from "./server-bodies.ts";

export async function spool(context: Context, file: string, flags: SpoolFlags): Promise<Result> {
  const { layout } = flags;
  if (layout !== "skein" && layout !== "ftl")
    throw usage(`there is no layout ${layout}`, "Write --layout ftl.");
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl spool ${file}`);
  const { tell } = progress(context.io);
  const { env, signal } = context;
  const spooled = await spoolFile(operator, file, { env, layout, tell, signal });
  const { package: name, revision, release, already } = spooled;
  context.io.print(`${name}.${revision}`);
  return { package: name, revision, release, already };
}

export async function list(context: Context, word: string | undefined, flags: MasterFlags): Promise<Result> {
  const named = word === undefined ? undefined : packageNamed(word);
  return flags.master === true
    ? await listMaster(context, named, flags)
    : await listHere(context, named, flags);
}

async function listHere(context: Context, named: Package | undefined, flags: PlaceFlags): Promise<Result> {
  const root = rootHere(flags);
  if (named === undefined) {
    const packages = (await subscriptions(root)).places.map((place) => place.package.name);
    for (const name of packages) context.io.print(name);
    return { packages };
  }
  const place = await subscribed(root, named);
  const revisions = await localRevisions(place);
  const rows = revisions.map(({ revision, active, held }) => [
    `${place.package.name}.${revision}`,
    `${active ? "active" : ""}${held ? " (held here)" : ""}`,
  ]);
  for (const line of columns(rows)) context.io.print(line);
  return { package: place.package.name, revisions };
}

async function listMaster(context: Context, named: Package | undefined, flags: PlaceFlags): Promise<Result> {
  const { env, signal, io } = context;
  using bucket = await bucketHere(flags, context, "reading");
  const { root } = await lookAt(bucket, signal);
  if (named === undefined) {
    const packages = masterPackages(root);
    for (const name of packages) io.print(name);
    return { packages };
  }
  const pin = (await pinHere(context)) ?? (await pinnedHere(rootHere(flags)).catch(() => null));
  if (pin === null) throw unpinned();
  const charter = await charterIn(bucket, root, pin, systemClock.now(), signal);
  const revisions = await masterRevisions(named.app, { bucket, charter, env, clock: systemClock, signal });
  for (const line of columns(
    revisions.map(({ revision, state }) => [`${named.name}.${revision}`, state ?? ""]),
  )) {
    io.print(line);
  }
  return { package: named.name, revisions };
}

export async function sync(context: Context, flags: SyncFlags): Promise<Result> {
  if (flags.print === true) return await (await import("./ftl-units.ts")).print(context, flags);
  const root = rootHere(flags);
  using bucket = await bucketHere(flags, context, "reading");
  const maxAgeMs = flags.maxAge === undefined ? null : durationFlag(flags.maxAge);
  const tools = { ...(await toolsHere(context, bucket, durationFlag(flags.wait))), maxAgeMs };
  if (flags.every !== undefined) {
    await syncForever(root, durationFlag(flags.every), tools, (result) => tellSync(context, result));
    return {};
  }
  const result = await syncOnce(root, tools);
  const exit = tellSync(context, result);
  return { packages: result.packages, ...(exit === 0 ? {} : { exit }) };
}

/** Prints what changed and what failed. @returns the exit code: the worst of all */
function tellSync(context: Context, { packages, unread }: SyncResult): number {
  const { io } = context;
  const exits = packages.flatMap((one) => {
    if (one.changed && one.active !== null) io.print(`${one.package}.${one.active}`);
    if (one.startsMs !== null) io.say(waitLine(one));
    return one.troubles.map((trouble) => tellTrouble(io, one.package, trouble));
  });
  if (unread !== null) exits.push(tellTrouble(io, "bucket", unread));
  return Math.max(0, ...exits);
}

const waitLine = ({ package: name, startsMs }: PackageResult): string =>
  `${name}: a new order begins here at ${new Date(startsMs ?? 0).toISOString()} (unpaced: each machine has its own moment)`;

export async function jump(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  const { package: wanted, revision } = revisionWord(word);
  if (flags.master === true) {
    using bucket = await bucketHere(flags, context, "writing");
    const operator = await operatorHere(context, bucket, `skein ftl jump --master ${word}`);
    const jumped = await jumpMaster(operator, { package: wanted, revision }, jumpOptions(context, flags));
    return tellJumped(context, wanted, jumped);
  }
  return await here(context, wanted, revision, flags);
}

export async function jumpBack(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  const wanted = packageNamed(word);
  if (flags.master === true) {
    using bucket = await bucketHere(flags, context, "writing");
    const operator = await operatorHere(context, bucket, `skein ftl jump-back --master ${word}`);
    return tellJumped(context, wanted, await jumpBackMaster(operator, wanted, jumpOptions(context, flags)));
  }
  return await here(context, wanted, null, flags);
}

async function here(
  context: Context,
  wanted: Package,
  revision: string | null,
  flags: PlaceFlags,
): Promise<Result> {
  const place = await subscribed(rootHere(flags), wanted);
  using bucket = await bucketHere(flags, context, "reading");
  const tools = await toolsHere(context, bucket, WAIT_MS);
  const { troubles, ...jumped } = await jumpHere(place, revision, tools);
  context.io.print(`${jumped.package}.${jumped.active}`);
  if (jumped.held) {
    context.io.say("It stays until a newer order; for all machines: skein ftl jump --master");
  }
  const exits = troubles.map((trouble) => tellTrouble(context.io, jumped.package, trouble));
  return { ...jumped, ...(exits.length === 0 ? {} : { exit: Math.max(...exits) }) };
}

const WAIT_MS = 5 * 60_000;

export async function purge(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  if (flags.master !== true) {
    throw usage(
      "a revision is purged from the bucket, and machines remove it at their next sync",
      `skein ftl purge --master ${word}`,
    );
  }
  const wanted = revisionWord(word);
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl purge --master ${word}`);
  const { env, signal } = context;
  const place = await purgeMaster(operator, wanted, { env, signal });
  const revision = revisionOf(place);
  context.io.say(
    `${wanted.package.name}.${revision} is gone from the bucket; machines remove it at their next sync`,
  );
  return { package: wanted.package.name, revision };
}

function tellJumped(context: Context, { name }: Package, jumped: Jumped): Result {
  const { revision, seq, spreadMs } = jumped;
  context.io.print(`${name}.${revision}`);
  const when = spreadMs === 0 ? "at their next sync" : `within ${formatDuration(spreadMs)} of now, unpaced`;
  context.io.say(seq === null ? "It was active already." : `order ${seq}: machines activate it ${when}`);
  return { ...jumped, package: name };
}

const jumpOptions = ({ env, globals, signal }: Context, { spread, again }: MasterFlags): JumpOptions => ({
  env,
  selector: globals.on ?? null,
  spreadMs: spread === undefined ? 0 : durationFlag(spread),
  again: again === true,
  signal,
});

async function toolsHere(context: Context, bucket: Bucket, waitMs: number): Promise<SyncTools> {
  const { io, env, paths, signal } = context;
  return {
    bucket,
    pin: await pinHere(context),
    env,
    paths,
    node: nodeNameHere(),
    clock: systemClock,
    log: io.verbose ? jsonLog((line) => io.raw(line)) : silentLog,
    onLine: (line) => io.say(line),
    waitMs,
    maxAgeMs: null,
    say: (line) => io.say(line),
    signal,
  };
}
