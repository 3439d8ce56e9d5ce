import { revisionOf } from "../../bucket/layout.ts";
import { publishCharters } from "../../bucket/publish.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { shortRelease } from "../../lib/text/ids.ts";
import { formatDuration } from "../../lib/text/units.ts";
import { buildToBucket, deployToBucket, reorderInBucket } from "../../operator/bucket/bucket-deploy.ts";
import { inviteToBucket } from "../../operator/bucket/bucket-invite.ts";
import { configIfThere, readCharters } from "../../operator/identity/home.ts";
import { initCluster } from "../../operator/server/init.ts";
import { claimDepot, refuseClaimed } from "../../release/upkeep/owner.ts";
import type { Strategy } from "../../trust/document/documents.ts";
import { appHere, deployWish } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { bucketHere } from "./ftl-settings.ts";
import { operatorHere } from "./operator-here.ts";
import { durationFlag, subject, usage } from "../command/grammar.ts";
import { progress } from "../terminal/progress.ts";
import type { DeployFlags, InitFlags, InviteFlags, RollbackFlags, StopFlags } from "../command/verb-flags.ts";
import { shellWord } from "../units/unit-words.ts";

/** The operator's identity and charter as ever, and the charter in the bucket: there is no server to start. */
export async function initBucket(context: Context, flags: InitFlags): Promise<Result> {
  const { paths, signal, io } = context;
  using bucket = await bucketHere(flags, context, "writing");
  // Before a key is made: a machine that only pulls from this bucket would believe its own cluster from then on.
  if ((await configIfThere(paths)) === undefined) await refuseClaimed(bucket.depot, signal);
  const made = await initCluster({
    paths,
    name: flags.name,
    key: flags.sshAgent === true ? "ssh-agent" : undefined,
    hubs: [],
    clock: systemClock,
  });
  const tools = { documents: bucket.documents, clock: systemClock, signal };
  await claimDepot(bucket.depot, made.cluster, signal);
  await publishCharters(await readCharters(paths), tools);
  if (made.already) io.say("There was a cluster here already; its charter is in the bucket now.");
  io.print(`cluster      ${made.cluster}`);
  io.print(`fingerprint  ${made.pin}`);
  io.print(`operator     ${made.operator}`);
  io.print(`bucket       ${bucket.name}`);
  io.say(`next  skein ftl spool FILE; on each machine: SKEIN_CHARTER=${made.pin} skein ftl sync`);
  const { cluster, pin, operator, already } = made;
  return { cluster, fingerprint: pin, operator, already, bucket: bucket.name };
}

/** `build` where SKEIN_BUCKET is set. */
export async function build(context: Context, source: string | undefined): Promise<Result> {
  const { env, cwd, signal, globals, io } = context;
  using bucket = await bucketHere({}, context, "writing");
  const typed = ["skein build", ...(source === undefined ? [] : [source])].join(" ");
  const operator = await operatorHere(context, bucket, typed);
  const shown = progress(io);
  const { tell } = shown;
  const options = { app: globals.app ?? null, env, from: source ?? null, cwd, tell, signal };
  const { place, release, already, manifest } = await buildToBucket(operator, options);
  shown.end();
  io.print(`${manifest.app}@${place.id}`);
  return {
    app: manifest.app,
    release: place.id,
    commit: release.commit,
    already,
    revision: revisionOf(place),
  };
}

/** `deploy` where SKEIN_BUCKET is set. */
export async function deploy(
  context: Context,
  words: readonly string[],
  flags: DeployFlags,
  strategy: Partial<Strategy>,
): Promise<Result> {
  refuseWatched(flags, strategy);
  const { env, cwd, signal, io } = context;
  using bucket = await bucketHere({}, context, "writing");
  const operator = await operatorHere(context, bucket, ["skein deploy", ...words].join(" "));
  const { tell } = progress(io);
  const deployed = await deployToBucket(operator, {
    ...(await deployWish(context, words, flags)),
    env,
    cwd,
    keepOld: flags.keepOld === true,
    hooks: flags.hooks ? "run" : "skip",
    strategy,
    tell,
    signal,
  });
  io.print(shortRelease(deployed.app, deployed.release));
  const when = deployed.spreadMs === 0 ? "at their next look" : `within ${formatDuration(deployed.spreadMs)}`;
  io.say(`order ${deployed.seq} to ${deployed.selector}: nodes begin ${when}, unpaced; nobody watches them`);
  return { ...deployed };
}

/** What takes somebody who watches, or an order that ends. */
function refuseWatched(flags: DeployFlags, { batch, bakeMs = 0 }: Partial<Strategy>): void {
  if (flags.attended === true || flags.follow === true)
    throw usage("nobody reports to a bucket", "Leave --attended and --follow out, or deploy through a hub.");
  if (batch !== undefined || bakeMs > 0)
    throw usage(
      "through a bucket there are no batches and no bake time: nobody watches",
      "Leave --batch and --bake out, or deploy through a hub; the manifest's strategy.spread says within which time nodes begin.",
    );
  if (flags.applyWithin !== undefined)
    throw usage(
      "an order in a bucket has no end: who was off takes it when it is back",
      "Leave --apply-within out, or deploy through a hub.",
    );
}

/** stop, start and restart where SKEIN_BUCKET is set. */
export async function reorder(
  context: Context,
  what: "stop" | "start" | "restart",
  word: string | undefined,
  flags: StopFlags,
): Promise<Result> {
  const { env, signal, io, globals } = context;
  if (flags.now === true || flags.attended === true)
    throw usage(
      "nobody is told anything at once through a bucket, and nobody reports to it",
      "Leave --now and --attended out.",
    );
  const named = subject(word, globals.app);
  if (named.kind === "instance" || (named.release !== null && what !== "stop")) {
    throw usage("through a bucket only the whole app can be told so", `skein ${what} APP`);
  }
  const app = await appHere(context, named.app);
  using bucket = await bucketHere({}, context, "writing");
  const operator = await operatorHere(context, bucket, `skein ${what} ${app}`);
  const selector = globals.on ?? null;
  const which = { version: named.release, all: flags.all === true };
  const seq = await reorderInBucket(operator, what, { app, env, selector, ...which, signal });
  io.say(`order ${seq}: nodes begin unpaced; nobody watches them`);
  return { app, seq };
}

/** `rollback` where SKEIN_BUCKET is set: what was ordered before, or another release. */
export async function rollback(
  context: Context,
  word: string | undefined,
  { to, attended }: RollbackFlags,
): Promise<Result> {
  if (attended === true) throw usage("nobody reports to a bucket", "Leave --attended out.");
  const app = word ?? (await appHere(context, word)); // FTL's names have more letters
  const { jump, jumpBack } = await import("./ftl-master.ts");
  return to === undefined
    ? await jumpBack(context, app, { master: true })
    : await jump(context, `${app}.${to.replace(/^.*@/, "")}`, { master: true });
}

/** `node invite` where SKEIN_BUCKET is set. */
export async function invite(
  context: Context,
  name: string | undefined,
  labels: Readonly<Record<string, string>>,
  flags: InviteFlags,
): Promise<Result> {
  if (flags.replace !== undefined)
    throw usage("nobody is told of a node's end through a bucket", "Leave --replace out.");
  using bucket = await bucketHere({}, context, "reading");
  const operator = await operatorHere(context, bucket, "skein node invite");
  const wish = { name: name ?? null, labels, validMs: durationFlag(flags.valid) };
  const invitation = await inviteToBucket(operator, wish, context.signal);
  const command = `skein agent run --source ${shellWord(bucket.address)} --join ${invitation.line}`;
  context.io.say(
    `Run this on the new node until ${invitation.expires}. Whoever has it can join till then; keep it to yourself.`,
  );
  context.io.print(command);
  return { ...invitation, command };
}
