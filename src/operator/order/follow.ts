import { isPassing, isPassingEnd } from "../../api/passing.ts";
import type { RolloutNode, RolloutView } from "../../api/schemas.ts";
import { ERROR_CODES, type ErrorCode } from "../../lib/errors/error-codes.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, type Digest } from "../../lib/text/ids.ts";
import { retry } from "../../lib/time/retry.ts";
import type { Operator } from "../identity/operator.ts";

/** How a rollout ended. */
export type Ending = "ok" | "undone" | "failed" | "stuck";

const ENDED: Readonly<Record<string, Ending>> = {
  ok: "ok",
  undone: "undone",
  failed: "failed",
  stuck: "stuck",
};
/** The hub was away, or does not know the order: what answers next may be one that was restored. */
const MISSED = "missed";
const OUTLAST = { tries: Infinity, baseMs: 200, maxMs: 5000, random: Math.random } as const;
/** How long an older hub, which is asked again and again, may wait for news. */
const WAIT_MS = 20_000;
/** Least time between two looks, however soon the first was answered. */
const POLL_MS = 120;

/**
 * The progress of an order, each time it changed, until it ended. A hub that restarts meanwhile is waited for, and so is
 * one that was restored until it knows the order again.
 * @param missed called when it answers again: of what it forgot, some it has learned from its nodes by then, and some not
 * @throws SkeinError NOT_FOUND when the hub knows no such order
 */
export async function* follow(
  operator: Pick<Operator, "client" | "clock">,
  order: Digest,
  signal: AbortSignal,
  missed: () => Promise<void> = async () => undefined,
): AsyncGenerator<RolloutView, void> {
  let shown = -1;
  let wasMissed = false;
  let isOver = false;
  for await (const view of looks(operator, order, signal, () => isOver)) {
    if (view === MISSED) {
      wasMissed = true;
      continue;
    }
    if (wasMissed) {
      wasMissed = false;
      await outlasting(operator, signal, missed);
    }
    isOver = endingOf(view) !== undefined;
    // A hub that was started anew counts anew, and may come to the end with the number that was shown.
    if (isOver || view.revision !== shown) yield view;
    shown = view.revision;
  }
}

/**
 * What the hub tells, one look after the other. A hub tells by itself as long as its answer lasts; an older one is asked
 * for each look.
 * @param isOver the last look was the last: what is told until its answer ends is not waited for in vain
 */
async function* looks(
  operator: Pick<Operator, "client" | "clock">,
  order: Digest,
  signal: AbortSignal,
  isOver: () => boolean,
): AsyncGenerator<RolloutView | typeof MISSED, void> {
  const { clock } = operator;
  let after = -1;
  let tells = true;
  while (!signal.aborted && !isOver()) {
    const asked = clock.now();
    if (tells) tells = yield* toldViews(operator, order, signal);
    if (!tells) {
      const news = { after, waitMs: after < 0 ? 0 : WAIT_MS };
      const view = await passing(async () => await looked(operator, order, signal, news));
      // It may not be an older hub, but one that knows the order again.
      tells = view === MISSED;
      yield view ?? MISSED;
      if (view !== undefined && view !== MISSED) after = view.revision;
    }
    const took = clock.now() - asked;
    if (!isOver()) await clock.sleep(Math.max(0, POLL_MS - took), signal);
  }
}

/** @returns false where the hub has no such answer: it is an older one, or does not know the order */
async function* toldViews(
  { client }: Pick<Operator, "client">,
  order: Digest,
  signal: AbortSignal,
): AsyncGenerator<RolloutView | typeof MISSED, boolean> {
  try {
    // Read to its end, so that its connection serves the next request, too.
    yield* client.rolloutViews(order, signal);
  } catch (err) {
    if (isSkeinError(err, "NOT_FOUND")) return false;
    if (!isPassingEnd(err, signal)) throw err;
    yield MISSED;
  }
  return true;
}

/** Tells a hub what belongs to an order that is out; one that restarts meanwhile, or was restored, is waited for. */
export async function outlasting(
  { clock }: Pick<Operator, "clock">,
  signal: AbortSignal,
  tell: () => Promise<void>,
): Promise<void> {
  await retry(tell, { ...OUTLAST, clock, signal, worthRetrying: isPassing });
}

/** Undefined where the hub does not answer now, or not yet. */
async function passing<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (err) {
    if (isPassing(err)) return undefined;
    throw err;
  }
}

/** @throws SkeinError NOT_FOUND when a hub that is not catching up knows no such order */
async function looked(
  operator: Pick<Operator, "client">,
  order: Digest,
  signal: AbortSignal,
  news: { readonly after: number; readonly waitMs: number },
): Promise<RolloutView | typeof MISSED> {
  try {
    return await operator.client.rollout(order, signal, news);
  } catch (err) {
    if (!isSkeinError(err, "NOT_FOUND")) throw err;
  }
  if (await isCatchingUp(operator, signal)) return MISSED;
  // It may have ended to catch up between the two questions.
  return await operator.client.rollout(order, signal);
}

async function isCatchingUp({ client }: Pick<Operator, "client">, signal: AbortSignal): Promise<boolean> {
  return (await passing(async () => await client.hub(signal)))?.catchingUp ?? true;
}

export function endingOf(view: RolloutView): Ending | undefined {
  return view.verdict === null && view.phase !== "ok" ? undefined : ENDED[view.phase];
}

/** The error that a rollout which did not end well is for its command; undefined when it did. */
export function failureOf(view: RolloutView, fallback: string | null): SkeinError | undefined {
  const ending = endingOf(view);
  if (ending === undefined || ending === "ok") return undefined;
  const { node, code: cause, message, hint } = culpritOf(view);
  const { reason, lines } = readReason(message);
  const code = codeOf(view, ending);
  return new SkeinError(code, `${view.app} failed${node === null ? "" : ` on ${node}`}: ${reason}`, {
    hint: hintFor(
      hint ?? mendOf(cause),
      `skein logs ${appAsTyped(view.app, view.env)}${node === null ? "" : ` --on ${node}`}`,
    ),
    data: {
      app: view.app,
      order: view.order,
      ending,
      cause,
      node,
      lines,
      state: stateLeft(view, ending, fallback),
      nodes: view.nodes.map(nodeSummary),
    },
  });
}

/** How the cause is mended, where that is more than looking at what it said. */
function mendOf(cause: string | null): string {
  const mend = cause === null || cause === "DEPLOY_FAILED" || !isCode(cause) ? "" : ERROR_CODES[cause].mend;
  return mend.startsWith("See its") ? "" : mend;
}

/** What ends with a command has no full stop after it. */
function hintFor(mend: string, logs: string): string {
  if (mend === "") return `See what it said: ${logs}`;
  return `${mend}${/[.!?]$/.test(mend) ? " See" : "; see"} what it said: ${logs}`;
}

/**
 * A receipt's message is one line. Where an app's last lines are in it, they stand after the reason: `reason: line |
 * line | line (what serves now)`.
 */
export function readReason(message: string): { readonly reason: string; readonly lines: readonly string[] } {
  const [first = "", ...rest] = message.split(" | ");
  const colon = first.indexOf(": ");
  if (rest.length === 0 || colon < 0) return { reason: message, lines: [] };
  const last = rest.pop() ?? "";
  const [, line = last, state = ""] = /^(.*?)( \([^()]*\))?$/.exec(last) ?? [];
  return { reason: first.slice(0, colon) + state, lines: [first.slice(colon + 2), ...rest, line] };
}

/** The first node that failed of itself; else the rollout's own reason, which may name one (`n1: it crashed`). */
function culpritOf({ nodes, verdict: whole }: RolloutView): {
  node: string | null;
  code: string | null;
  message: string;
  hint: string | null;
} {
  const node = nodes.find(({ verdict }) => verdict === "failed" || verdict === "refused");
  const { code, message } = node ?? whole ?? { code: null, message: null };
  const hint = node?.hint ?? null;
  const said = message ?? code ?? "it failed";
  if (node !== undefined) return { node: node.name, code, message: said, hint };
  const named = nodes.find(({ name }) => said.startsWith(`${name}: `))?.name ?? null;
  return { node: named, code, message: named === null ? said : said.slice(named.length + 2), hint };
}

function nodeSummary({ name, state, verdict, code, message, hint = null }: RolloutNode): object {
  return { name, state, verdict, code, message, hint };
}

function codeOf(view: RolloutView, ending: Ending): ErrorCode {
  if (ending === "undone") return "DEPLOY_FAILED";
  if (ending === "stuck") return stuckCode(view);
  // It ended where it was: too late to be undone, overtaken, or nothing that this hub can pace.
  const code = view.verdict?.code ?? null;
  return code !== null && isCode(code) ? code : "UNDO_INCOMPLETE";
}

function stuckCode({ verdict }: RolloutView): ErrorCode {
  const code = verdict?.code ?? null;
  if (code === null || !isCode(code) || ERROR_CODES[code].exit !== 5) return "UNDO_INCOMPLETE";
  return code;
}

const isCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);

/** The state that is left behind, in one sentence. */
function stateLeft(view: RolloutView, ending: Ending, fallback: string | null): string {
  if (view.verdict?.code === "NODES_ABSENT")
    return "Nothing was started; it goes on by itself when they come.";
  if (ending === "stuck")
    return "Not every node could be taken back; one that is away is taken back when it comes.";
  if (ending === "failed") return "Nothing was taken back: each node runs what it came to.";
  if (fallback === null) return "Nothing of it runs; there was no earlier version.";
  return `It was undone: ${fallback} serves.`;
}
