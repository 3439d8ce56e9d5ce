import type { Strategy } from "../../trust/document/documents.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { originHere, type Wish } from "../../operator/deploy/resolve-wish.ts";
import { beginningOf, type Beginning } from "../../operator/deploy/ask-ahead.ts";
import { namesOf } from "../../operator/tell/names-of.ts";
import type { Tell } from "../../operator/tell/events.ts";
import { deploy as deployOrder, type DeployOptions } from "../../operator/deploy/deploy.ts";
import { buildRelease } from "../../operator/deploy/target.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import { planDeploy, type Cost, type Plan } from "../../operator/deploy/plan.ts";
import { followOrder, type Followed, type PublishedOrder } from "../../operator/order/publish-order.ts";
import { rollback } from "../../operator/deploy/rollback.ts";
import { appHere, deployWish } from "../command/app-here.ts";
import { HELPER_DIR, type Context, type Result } from "../command/context.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { amountFlag, durationFlag, usage } from "../command/grammar.ts";
import { columns } from "../terminal/io.ts";
import { progress, type Progress } from "../terminal/progress.ts";
import { releaseNamed } from "../command/release-named.ts";
import type { DeployFlags, RollbackFlags } from "../command/verb-flags.ts";
import { TROUBLED_EXIT } from "../command/trouble.ts";

const PLAN_HAS_CHANGES = 10;

export async function build(context: Context, source: string | undefined): Promise<Result> {
  if (hasBucket({})) return await (await import("../bucket/bucket-bodies.ts")).build(context, source);
  const operator = await context.operator();
  const shown = progress(context.io);
  const { env, cwd, signal, globals } = context;
  const { tell } = shown;
  const app = globals.app ?? null;
  const origin =
    source === undefined
      ? await originHere({ app, env, cwd, tell, signal })
      : ({ kind: "path", path: source } as const);
  const depot = httpDepot(operator.client);
  const { made, manifest } = await buildRelease(operator, origin, { app, env, depot, tell, signal });
  shown.end();
  context.io.print(`${manifest.app}@${made.id}`);
  return { app: manifest.app, release: made.id, commit: made.release.commit, already: made.already };
}

export async function deploy(
  context: Context,
  words: readonly string[],
  flags: DeployFlags,
): Promise<Result | undefined> {
  if (hasBucket({})) {
    return await (
      await import("../bucket/bucket-bodies.ts")
    ).deploy(context, words, flags, strategyOf(flags));
  }
  if (context.dryRun !== undefined) return await plan(context, words, flags);
  const { operator, ...begun } = await begin(context, words, flags);
  const shown = progress(context.io);
  const options = optionsOf(context, operator, begun, flags, shown);
  const published = await deployOrder(operator, { ...options, tell: ordering(context, shown) });
  const result = await finish(context, operator, published, shown);
  if (flags.follow !== true || context.globals.detach === true) return result;
  const { logs } = await import("../view/log-bodies.ts");
  const { app, release } = published.draft.order;
  return { ...result, ...(await logs(context, app, { follow: true, lines: "1000" }, release)) };
}

export async function plan(context: Context, words: readonly string[], flags: DeployFlags): Promise<Result> {
  if (hasBucket({})) {
    throw usage(
      "a plan needs to know what nodes run, and no node tells a bucket",
      "skein list --master APP shows what is ordered.",
    );
  }
  const { operator, ...begun } = await begin(context, words, flags, "plan");
  const shown = progress(context.io);
  const planned = await planDeploy(operator, optionsOf(context, operator, begun, flags, shown));
  for (const line of planLines(planned)) context.io.print(line);
  return { plan: planned, ...(planned.changes > 0 ? { exit: PLAN_HAS_CHANGES } : {}) };
}

export async function goBack(
  context: Context,
  word: string | undefined,
  flags: RollbackFlags,
): Promise<Result | undefined> {
  if (hasBucket({})) return await (await import("../bucket/bucket-bodies.ts")).rollback(context, word, flags);
  const app = await appHere(context, word);
  const operator = await context.operator();
  const shown = progress(context.io);
  const published = await rollback(operator, {
    app,
    env: context.env,
    release: flags.to === undefined ? null : await releaseNamed(context, app, flags.to),
    selector: context.globals.on ?? null,
    attended: isAttended(context, flags),
    tell: ordering(context, shown),
    signal: context.signal,
  });
  return await finish(context, operator, published, shown);
}

/** Tells what `shown` does. Once it is known for which nodes an order is, that may be on its way. */
export function ordering(context: Context, shown: Progress): Tell {
  return (event) => {
    shown.tell(event);
    if (event.type === "selection" && context.dryRun === undefined)
      context.comeBack(`It may have been ordered: skein status ${appAsTyped(event.app, context.env)} tells.`);
  };
}

/** Who leaves sees no receipts. @throws SkeinError AMBIGUOUS */
export function isAttended(
  { globals }: Context,
  { attended = false }: { readonly attended?: boolean },
): boolean {
  if (!attended || globals.detach !== true) return attended;
  throw new SkeinError("AMBIGUOUS", "--attended waits for the receipts, and --detach does not", {
    hint: "Leave one of them out.",
  });
}

/** Follows a published order unless detached, and prints how it ended. */
export async function finish(
  context: Context,
  operator: Operator,
  published: PublishedOrder,
  shown: Progress,
): Promise<Result | undefined> {
  const { app, env } = published.draft.order;
  const typed = appAsTyped(app, env);
  context.comeBack(
    published.attended
      ? `It goes on without you, but nobody signs that it stands then: skein status ${typed} tells who can.`
      : `It goes on without you. Come back: skein watch ${typed}`,
  );
  if (context.globals.detach === true) {
    context.io.print(published.order);
    return { order: published.order, app, detached: true };
  }
  try {
    const followed = await followOrder(operator, published, { tell: shown.tell, signal: context.signal });
    shown.end();
    context.io.print(endText(followed));
    return { ...followed, ...(followed.hooks.length === 0 ? {} : { exit: TROUBLED_EXIT }) };
  } finally {
    shown.end();
  }
}

export function endText({
  app,
  release,
  state,
  nodes,
  away,
  left,
  failed,
  hooks,
  cut,
}: Omit<Followed, "order" | "env">): string {
  const done = nodes - away.length - left.length - failed.length;
  const where = done === nodes ? `${nodes} node${nodes === 1 ? "" : "s"}` : `${done} of ${nodes} nodes`;
  const missing = [
    ...(failed.length === 0 ? [] : [`; failed on ${namesOf(failed)}`]),
    ...(hooks.length === 0 ? [] : [`; a hook failed on ${namesOf(hooks)}, which holds no node back`]),
    ...(away.length === 0 ? [] : [`; away, and will take it when back: ${namesOf(away)}`]),
    ...(left.length === 0 ? [] : [`; not meant any more: ${namesOf(left)}`]),
  ].join("");
  const lost =
    cut === 0 ? "" : `; ${cut} connection${cut === 1 ? "" : "s"} cut while draining (CONNECTIONS_CUT)`;
  return `${shortRelease(app, release)} ${state === "run" ? "runs" : "is stopped"} on ${where}${missing}${lost}`;
}

type Begun = Wish & Pick<Beginning, "here">;

/** What is wished for, and the operator, who is told with the first word of the hub what this begins with. */
async function begin(
  context: Context,
  words: readonly string[],
  flags: DeployFlags,
  verb?: string,
): Promise<Begun & { readonly operator: Operator }> {
  const { env, cwd, signal } = context;
  const wish = { ...(await deployWish(context, words, flags, verb)), env, cwd };
  const { here, ahead } = await beginningOf({ ...wish, signal });
  return { ...wish, ...(here === undefined ? {} : { here }), operator: await context.operator(ahead) };
}

function optionsOf(
  context: Context,
  operator: Operator,
  begun: Begun,
  flags: DeployFlags,
  shown: Progress,
): DeployOptions {
  return {
    ...begun,
    keepOld: flags.keepOld === true,
    hooks: flags.hooks ? "run" : "skip",
    attended: isAttended(context, flags),
    ...(flags.applyWithin === undefined ? {} : { applyWithinMs: durationFlag(flags.applyWithin) }),
    strategy: strategyOf(flags),
    depot: httpDepot(operator.client),
    helperDir: HELPER_DIR,
    tell: shown.tell,
    signal: context.signal,
  };
}

function strategyOf(flags: DeployFlags): Partial<Strategy> {
  if (flags.allAtOnce === true && flags.batch !== undefined) {
    throw new SkeinError("AMBIGUOUS", "--all-at-once and --batch say two things", {
      hint: "Leave one of them out.",
    });
  }
  return {
    ...(flags.allAtOnce === true ? { type: "all_at_once" } : {}),
    ...(flags.batch === undefined ? {} : { type: "rolling", batch: amountFlag(flags.batch) }),
    ...(flags.bake === undefined ? {} : { bakeMs: durationFlag(flags.bake) }),
  };
}

function changeText({ from, change, holds }: Plan["nodes"][number], { app, release }: Plan): string {
  if (!change) return "as it is";
  if (holds !== null) return `ENV_CONFLICT, it holds ${app} in ${holds}`;
  return from === release ? "failed, started again" : `-> ${shortRelease(app, release)}`;
}

function freeText({ diskAtMost, freeAfter }: Cost): string {
  if (freeAfter === null) return "";
  if (freeAfter >= 0) return `${diskAtMost ? "at least " : ""}${formatBytes(freeAfter)} free after`;
  const short = `${formatBytes(-freeAfter)} short`;
  return diskAtMost ? `may be ${short}` : `DISK_FULL, ${short}`;
}

function planLines(plan: Plan): string[] {
  const { app, env, release, isNew, commit, selector, nodes, changes } = plan;
  const what = `${isNew ? "a new release, " : ""}${shortRelease(app, release)}`;
  const of = commit === null ? "" : ` (commit ${commit.slice(0, 12)})`;
  const rows = nodes.map((node) => [
    `  ${node.node}`,
    node.from === null ? "nothing" : shortRelease(app, node.from),
    changeText(node, plan),
    node.present ? "" : "absent",
    ...(node.cost === null ? [] : costCells(node.cost)),
  ]);
  return [
    `${what}${of} to ${app}/${env} on ${selector}: ${changes} of ${nodes.length} node${nodes.length === 1 ? "" : "s"} would change`,
    ...columns(rows),
  ];
}

function costCells(cost: Cost): string[] {
  const { fetchBytes, atMost, diskBytes, diskAtMost, gcBytes } = cost;
  return [
    `fetch ${atMost && fetchBytes > 0 ? "at most " : ""}${formatBytes(fetchBytes)}`,
    `disk ${diskAtMost ? "at most " : ""}${formatBytes(diskBytes)}`,
    freeText(cost),
    gcBytes === null || gcBytes === 0 ? "" : `gc would free ${formatBytes(gcBytes)}`,
  ];
}
