import { unpinned } from "../../agent/node/join-bucket.ts";
import { packageNamed, revisionOf, revisionWord, type Package } from "../../bucket/layout.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { formatDuration } from "../../lib/text/units.ts";
import { charterIn, lookAt } from "../../operator/bucket/bucket-operator.ts";
import {
  jumpBackMaster,
  jumpMaster,
  masterPackages,
  masterRevisions,
  purgeMaster,
  type Jumped,
  type JumpOptions,
} from "../../operator/bucket/master.ts";
import { spool as spoolFile } from "../../operator/bucket/spool.ts";
import { operatorHere } from "./operator-here.ts";
import type { Context, Result } from "../command/context.ts";
import type { MasterFlags, SpoolFlags } from "./ftl-flags.ts";
import { bucketHere, hasRoot, pinHere, rootHere } from "./ftl-settings.ts";
import type { PlaceFlags } from "../command/has-bucket.ts";
import { durationFlag, usage } from "../command/grammar.ts";
import { columns } from "../terminal/io.ts";
import { shellWord } from "../units/unit-words.ts";
import { progress } from "../terminal/progress.ts";

/** FTL's verbs about the bucket, for all machines. */
export async function spool(context: Context, file: string, flags: SpoolFlags): Promise<Result> {
  const { layout } = flags;
  if (layout !== "skein" && layout !== "ftl")
    throw usage(`there is no layout ${layout}`, "Write --layout ftl.");
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl spool ${shellWord(file)}`);
  const { tell } = progress(context.io);
  const { env, signal } = context;
  const spooled = await spoolFile(operator, file, { env, layout, tell, signal });
  const { package: name, revision, release, already } = spooled;
  context.io.print(`${name}.${revision}`);
  return { package: name, revision, release, already };
}

export async function list(context: Context, word: string | undefined, flags: PlaceFlags): Promise<Result> {
  const named = word === undefined ? undefined : packageNamed(word);
  const { env, signal, io } = context;
  using bucket = await bucketHere(flags, context, "reading");
  const { root } = await lookAt(bucket, signal);
  if (named === undefined) {
    const packages = await masterPackages(bucket, root, signal);
    for (const name of packages) io.print(name);
    return { packages };
  }
  const pin = await pinHere(context, hasRoot(flags) ? rootHere(flags) : undefined);
  if (pin === null) throw unpinned();
  const charter = await charterIn(bucket, root, pin, systemClock.now(), signal);
  const revisions = await masterRevisions(named.app, { bucket, charter, env, clock: systemClock, signal });
  if (revisions.length === 0 && !Object.hasOwn(root.apps, named.app)) {
    throw new SkeinError("NOT_FOUND", `${bucket.name} has no package ${named.name}`, {
      hint: "See skein ftl list --master.",
      data: { package: named.name },
    });
  }
  for (const line of columns(
    revisions.map(({ revision, state }) => [`${named.name}.${revision}`, state ?? ""]),
  )) {
    io.print(line);
  }
  return { package: named.name, revisions };
}

export async function jump(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  const wanted = revisionWord(word);
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl jump --master ${shellWord(word)}`);
  return tellJumped(context, wanted.package, await jumpMaster(operator, wanted, jumpOptions(context, flags)));
}

export async function jumpBack(context: Context, word: string, flags: MasterFlags): Promise<Result> {
  const wanted = packageNamed(word);
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl jump-back --master ${shellWord(word)}`);
  return tellJumped(context, wanted, await jumpBackMaster(operator, wanted, jumpOptions(context, flags)));
}

export async function purge(
  context: Context,
  word: string,
  flags: MasterFlags,
  version: string | undefined,
): Promise<Result> {
  if (version !== undefined) {
    throw usage(
      "--master is for a bucket, where a release is one word; APP VERSION is one of a hub's nodes",
      `skein purge --master PACKAGE.REVISION, or skein purge ${word} ${version}`,
    );
  }
  if (flags.master !== true && !word.includes(".")) {
    throw usage(
      `which release of ${word}?`,
      `skein purge ${word} VERSION; of a bucket: skein purge --master ${word}.REVISION`,
    );
  }
  if (flags.master !== true) {
    throw usage(
      "a revision is purged from the bucket, and machines remove it at their next sync",
      `skein ftl purge --master ${shellWord(word)}`,
    );
  }
  const wanted = revisionWord(word);
  using bucket = await bucketHere(flags, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ftl purge --master ${shellWord(word)}`);
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
