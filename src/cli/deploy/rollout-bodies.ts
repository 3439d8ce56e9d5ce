import type { RolloutView, Steering } from "../../api/schemas.ts";
import { appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { troubleIn } from "../../operator/ask/ask.ts";
import { wordOf } from "../../operator/ask/commands.ts";
import { failureOf } from "../../operator/order/follow.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import { headOf, readLine, type HeldOrder } from "../../operator/order/order.ts";
import { followDigest } from "../../operator/order/publish-order.ts";
import { endHooks, steer } from "../../operator/deploy/steer.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { progress } from "../terminal/progress.ts";
import { leaveWithReader } from "../terminal/reader-gone.ts";

/** The newest order of an app, and who speaks to the hub about it. */
interface Steered {
  readonly operator: Operator;
  readonly head: HeldOrder;
}

export async function watch(context: Context, word: string | undefined): Promise<Result> {
  return await toItsEnd(context, await newest(context, word));
}

export interface AbortFlags {
  readonly now?: boolean;
}

/** Ends well when everything is back: that is what was asked for. */
export async function abort(
  context: Context,
  word: string | undefined,
  { now }: AbortFlags,
): Promise<Result> {
  const steered = await say(context, word, "abort");
  if (now === true) await endHooksNow(context, steered);
  const { app, release, fallback } = steered.head.order;
  const order = steered.head.digest;
  if (context.globals.detach === true) {
    context.io.print(`${shortRelease(app, release)} is being taken back`);
    return { app, order, detached: true };
  }
  const last = await followed(context, steered);
  const left = fallback === null ? null : shortRelease(app, fallback);
  const failure = last.phase === "undone" ? undefined : failureOf(last, left);
  if (failure !== undefined) throw failure;
  const serves = left === null ? "nothing of it runs" : `${left} serves`;
  context.io.print(`${shortRelease(app, release)} was taken back: ${serves}`);
  return { app, order, release: fallback };
}

/** What a node cannot do of it is told, and no reason not to wait for it. */
async function endHooksNow({ io, signal }: Context, { operator, head }: Steered): Promise<void> {
  const answers = await endHooks(operator, head, signal);
  for (const { node, lines } of answers)
    for (const line of lines)
      if (line.type === "ended") io.say(`${node}  its ${wordOf(line, "hook")} was ended`);
  const trouble = troubleIn(answers);
  if (trouble !== null) io.say(`${io.paint("yellow", "warning")} ${trouble.message}`);
}

export async function pause(context: Context, word: string | undefined): Promise<Result> {
  const { head } = await say(context, word, "pause");
  const { app, env, release } = head.order;
  const typed = appAsTyped(app, env);
  context.io.print(
    `${shortRelease(app, release)} is paused; skein resume ${typed} goes on, skein abort ${typed} goes back`,
  );
  return { app, order: head.digest, release };
}

export async function resume(context: Context, word: string | undefined): Promise<Result> {
  const steered = await say(context, word, "resume");
  if (context.globals.detach !== true) return await toItsEnd(context, steered);
  const { app, release } = steered.head.order;
  context.io.print(`${shortRelease(app, release)} goes on`);
  return { app, order: steered.head.digest, detached: true };
}

async function say(context: Context, app: string | undefined, word: Steering): Promise<Steered> {
  const steered = await newest(context, app);
  await steer(steered.operator, steered.head, word, context.signal);
  return steered;
}

async function newest(context: Context, word: string | undefined): Promise<Steered> {
  const app = await appHere(context, word);
  const operator = await context.operator();
  return { operator, head: headOf(await readLine(operator, app, context.env, context.signal)) };
}

async function toItsEnd(context: Context, steered: Steered): Promise<Result> {
  const { order, digest } = steered.head;
  const { app, release, state, fallback } = order;
  const last = await followed(context, steered);
  const failure = failureOf(last, fallback === null ? null : shortRelease(app, fallback));
  if (failure !== undefined) throw failure;
  context.io.print(`${shortRelease(app, release)} ${state === "run" ? "runs" : "is stopped"}`);
  return { app, order: digest, release };
}

async function followed(context: Context, { operator, head }: Steered): Promise<RolloutView> {
  using _ = leaveWithReader();
  const shown = progress(context.io);
  const typed = appAsTyped(head.order.app, head.order.env);
  context.comeBack(`It goes on without you. Come back: skein watch ${typed}`);
  try {
    return await followDigest(operator, head.digest, { tell: shown.tell, signal: context.signal });
  } finally {
    shown.end();
  }
}
