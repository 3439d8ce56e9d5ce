import { jumpHere } from "../../agent/subscriber/jump.ts";
import { localRevisions } from "../../agent/subscriber/listing.ts";
import { nearBucket } from "../../agent/subscriber/near-bucket.ts";
import { subscribed, subscriptions } from "../../agent/subscriber/package-place.ts";
import type { PackageResult, SyncTools } from "../../agent/subscriber/sync-package.ts";
import { sync as syncOnce, syncForever, type SyncResult } from "../../agent/subscriber/sync.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { packageNamed, revisionWord, type Package } from "../../bucket/layout.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { SkeinError } from "../../lib/errors/errors.ts";
import { jsonLog, silentLog } from "../../lib/process/log.ts";
import type { Context, Result } from "../command/context.ts";
import type { MasterFlags, SyncFlags } from "./ftl-flags.ts";
import { bucketHere, pinHere, rootHere } from "./ftl-settings.ts";
import { openToApps } from "../command/file-modes.ts";
import type { PlaceFlags } from "../command/has-bucket.ts";
import { durationFlag, everyFlag, usage } from "../command/grammar.ts";
import { nearOf, nearVariables, type NearFlags } from "../command/traffic-flags.ts";
import { columns } from "../terminal/io.ts";
import { nodeNameHere } from "../command/node-name.ts";
import { shellWord } from "../units/unit-words.ts";
import { tellTrouble } from "../terminal/report-error.ts";

/** FTL's verbs about this machine. They run from cron, often: nothing of an operator's is loaded for them. */
export async function list(context: Context, word: string | undefined, flags: PlaceFlags): Promise<Result> {
  const named = word === undefined ? undefined : packageNamed(word);
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
    [active ? "active" : "", held ? "(held here)" : ""].filter((word) => word !== "").join(" "),
  ]);
  for (const line of columns(rows)) context.io.print(line);
  return { package: place.package.name, revisions };
}

export async function sync(context: Context, flags: SyncFlags): Promise<Result> {
  if (flags.print === true) return await (await import("./ftl-units.ts")).print(context, flags);
  const everyMs = flags.every === undefined ? undefined : everyFlag(flags.every);
  const root = rootHere(flags);
  using bucket = await bucketHere(flags, context, "reading");
  const maxAgeMs = flags.maxAge === undefined ? null : durationFlag(flags.maxAge);
  const waitMs = durationFlag(flags.wait);
  const near = { ...nearVariables(process.env), ...flags };
  const tools = { ...(await toolsHere(context, { bucket, root, waitMs, near })), maxAgeMs };
  if (everyMs !== undefined) {
    let before: ReadonlySet<string> = new Set();
    await syncForever(root, everyMs, tools, (result) => {
      const news = withoutSaid(result, before);
      before = new Set(troublesOf(result));
      tellSync(context, news);
    });
    return {};
  }
  const result = await syncOnce(root, tools);
  const exit = tellSync(context, result);
  return { packages: result.packages, ...(exit === 0 ? {} : { exit }) };
}

const troubleKey = (what: string, { code, message }: SkeinError): string => `${what} ${code} ${message}`;

const troublesOf = ({ packages, unread }: SyncResult): readonly string[] => [
  ...packages.flatMap((one) => one.troubles.map((trouble) => troubleKey(one.package, trouble))),
  ...(unread === null ? [] : [troubleKey("bucket", unread)]),
];

/** Whoever stays says a failure once, until it has passed. */
function withoutSaid(result: SyncResult, said: ReadonlySet<string>): SyncResult {
  const isNew = (what: string, trouble: SkeinError): boolean => !said.has(troubleKey(what, trouble));
  const packages = result.packages.map((one) => ({
    ...one,
    troubles: one.troubles.filter((trouble) => isNew(one.package, trouble)),
  }));
  const { unread } = result;
  return { ...result, packages, unread: unread !== null && isNew("bucket", unread) ? unread : null };
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
  return await here(context, wanted, revision, flags);
}

export async function jumpBack(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  return await here(context, packageNamed(word), null, flags);
}

const WAIT_MS = 5 * 60_000;

async function here(
  context: Context,
  wanted: Package,
  revision: string | null,
  flags: MasterFlags,
): Promise<Result> {
  refuseMasters(flags);
  const root = rootHere(flags);
  const place = await subscribed(root, wanted);
  using bucket = await bucketHere(flags, context, "reading");
  const near = nearVariables(process.env);
  const tools = await toolsHere(context, { bucket, root, waitMs: WAIT_MS, near });
  const { troubles, ...jumped } = await jumpHere(place, revision, tools);
  context.io.print(`${jumped.package}.${jumped.active}`);
  if (jumped.held) {
    const named = shellWord(`${jumped.package}.${jumped.active}`);
    context.io.say(`It stays until a newer order; for all machines: skein ftl jump --master ${named}`);
  }
  const exits = troubles.map((trouble) => tellTrouble(context.io, jumped.package, trouble));
  return { ...jumped, ...(exits.length === 0 ? {} : { exit: Math.max(...exits) }) };
}

/** What is for all machines means nothing on one. */
function refuseMasters({ spread, again }: MasterFlags): void {
  const flag = spread !== undefined ? "--spread" : again === true ? "--again" : undefined;
  if (flag !== undefined) throw usage(`${flag} is for all machines`, `Add --master, or leave ${flag} out.`);
}

interface Here {
  readonly bucket: Bucket;
  readonly root: string;
  readonly waitMs: number;
  readonly near: NearFlags;
}

async function toolsHere(context: Context, { bucket, root, waitMs, near }: Here): Promise<SyncTools> {
  const { io, env, paths, signal } = context;
  openToApps();
  const log = io.verbose ? jsonLog((line) => io.raw(line)) : silentLog;
  return {
    bucket,
    near: nearBucket({ ...nearOf(near), bucket, paths, clock: systemClock, log }),
    pin: await pinHere(context, root),
    env,
    paths,
    node: nodeNameHere(),
    clock: systemClock,
    log,
    onLine: (line) => io.say(line),
    waitMs,
    maxAgeMs: null,
    say: (line) => io.say(line),
    signal,
  };
}
