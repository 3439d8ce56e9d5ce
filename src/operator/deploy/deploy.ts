import { FRESH_MS } from "../../api/together.ts";
import type { Manifest } from "../../app/manifest.ts";
import { hasPassed } from "../../lib/time/clock.ts";
import type { Strategy } from "../../trust/document/documents.ts";
import { afterRestore } from "../order/after-restore.ts";
import type { FindOptions } from "./resolve-wish.ts";
import { besideFor, refuseKeepOld } from "../order/beside.ts";
import { refuseUnfitting } from "./forecast.ts";
import { APPLY_WITHIN_MS, readLine, selectorOf, type Line } from "../order/order.ts";
import { knownNodes, membersAndFormer, selectNodes, tellFormer, type KnownNode } from "../nodes/nodes.ts";
import type { FormerNode } from "../nodes/node-identity.ts";
import { tellNowhere } from "./nowhere.ts";
import type { Operator } from "../identity/operator.ts";
import { publishOrder, type PublishedOrder } from "../order/publish-order.ts";
import { deliverEarlier, isUnsent } from "../order/sent.ts";
import { beginTarget, type BegunTarget } from "./target.ts";

export interface DeployOptions extends FindOptions {
  readonly keepOld: boolean;
  readonly hooks: "run" | "skip";
  readonly attended: boolean;
  readonly applyWithinMs?: number;
  /** Laid over the manifest's strategy. */
  readonly strategy: Partial<Strategy>;
}

/**
 * Finds or makes the release that was asked for, signs an order for it and publishes that. Following it is the
 * caller's: whoever leaves does no harm.
 * @throws SkeinError of every layer; nothing was changed then
 */
export async function deploy(operator: Operator, options: DeployOptions): Promise<PublishedOrder> {
  const asked = await askEarly(operator, options);
  // Before anything is built: a mistyped node is told at once.
  if (asked === undefined) await refuseNobody(operator, options);
  else if (options.selector !== null) selectNodes((await asked.answer).known, options.selector);
  const accept = options.keepOld ? { accept: refuseKeepOld } : {};
  const target = await beginTarget(operator, { ...options, ...accept });
  try {
    return await afterRestore(
      options.tell,
      async (isAgain) => await orderOf(operator, target, isAgain ? undefined : asked, options),
    );
  } finally {
    // However this ends, nothing is on its way any more then.
    await target.posted?.catch(() => undefined);
  }
}

/** Before anything is built: a mistyped node is told at once. @throws SkeinError SELECTION_EMPTY, SELECTOR_BAD, NODE_NOT_FOUND */
export async function refuseNobody(
  operator: Operator,
  { selector, signal }: Pick<DeployOptions, "selector" | "signal">,
): Promise<void> {
  if (selector !== null) selectNodes(await knownNodes(operator, signal), selector);
}

async function orderOf(
  operator: Operator,
  target: BegunTarget,
  asked: Question | undefined,
  options: DeployOptions,
): Promise<PublishedOrder> {
  await deliverEarlier(operator, target.app, options);
  const { line, known, former } = await (
    isFresh(operator, asked) ? asked : askNow(operator, target.app, options)
  ).answer;
  const { selector, implied } = selectorFor(options.selector, target.manifest, line);
  if (options.selector === null) tellFormer(former, options.tell);
  const selected = selectNodes(known, selector);
  const { nodes } = selected;
  // Who names nodes knows that they are some.
  if (options.selector === null) tellNowhere(target.manifest, nodes, options.tell);
  await refuseUnfitting(operator, { ...target, env: options.env, nodes }, options.signal);
  const intent = {
    release: target.release,
    state: "run",
    generation: line.head?.order.generation ?? 0,
    beside: besideFor(line, target, { keepOld: options.keepOld, selector: selected.selector }),
    selector,
    strategy: { ...target.manifest.strategy, ...options.strategy },
    hooks: options.hooks,
    applyWithinMs: options.applyWithinMs ?? APPLY_WITHIN_MS,
    attended: options.attended,
  } as const;
  const { tell, signal } = options;
  const after = target.posted === undefined ? {} : { after: target.posted };
  return await publishOrder(operator, line, intent, { tell, implied, signal, known, ...after });
}

/** What an order is made from. */
interface Situation {
  readonly line: Line;
  readonly known: readonly KnownNode[];
  readonly former: readonly FormerNode[];
}

interface Question {
  readonly app: string;
  /** In ms since the epoch. */
  readonly at: number;
  readonly answer: Promise<Situation>;
}

function askNow(operator: Operator, app: string, { env, signal }: DeployOptions): Question {
  const both = Promise.all([readLine(operator, app, env, signal), membersAndFormer(operator, signal)]);
  return {
    app,
    at: operator.clock.now(),
    answer: both.then(([line, { members, former }]) => ({ line, known: members, former })),
  };
}

/** Asks while the release is still being found or made, where nothing of an earlier command comes first. */
async function askEarly(operator: Operator, options: DeployOptions): Promise<Question | undefined> {
  const { env, here } = options;
  const app = options.app ?? here?.manifest?.app ?? null;
  if (app === null || (await isUnsent(operator, app, env))) return undefined;
  const question = askNow(operator, app, options);
  // Told to whoever waits for it, and nobody may come to.
  question.answer.catch(() => undefined);
  return question;
}

function isFresh({ clock }: Operator, asked: Question | undefined): asked is Question {
  return asked !== undefined && !hasPassed(FRESH_MS, asked.at, clock.now());
}

export function selectorFor(
  asked: string | null,
  manifest: Pick<Manifest, "targets"> | null,
  line: Line,
): { readonly selector: string; readonly implied: boolean } {
  const said = asked ?? manifest?.targets ?? null;
  if (said !== null) return { selector: said, implied: false };
  const before = selectorOf(line);
  return before === undefined ? { selector: "all", implied: true } : { selector: before, implied: false };
}
