import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Operator } from "../identity/operator.ts";
import { membersAndFormer, selectNodes, tellFormer } from "../nodes/nodes.ts";
import { afterRestore } from "../order/after-restore.ts";
import {
  APPLY_WITHIN_MS,
  headOf,
  orderFor,
  readLine,
  selectorOf,
  type Draft,
  type HeldOrder,
  type Intent,
  type Line,
} from "../order/order.ts";
import { refuseOtherEnvs } from "../order/other-env.ts";
import { publishOrder, type PublishedOrder } from "../order/publish-order.ts";
import { deliverEarlier } from "../order/sent.ts";
import { findRelease, noRelease } from "../release/release.ts";
import type { Tell } from "../tell/events.ts";

export interface ReorderOptions {
  readonly app: string;
  readonly env: string;
  /** `app@release`'s second half; null: none is named. */
  readonly release: string | null;
  /** null: those of the last order that was not for some of them alone. */
  readonly selector: string | null;
  readonly attended: boolean;
  readonly tell: Tell;
  readonly signal: AbortSignal;
}

/** How publishing goes, beside what the options say. */
export interface ReorderWay {
  /** It is a rollback. */
  readonly goesBack?: true;
  /** As `publishOrder` has it. */
  readonly first?: (draft: Draft) => Promise<void>;
}

/** What a change is made from. */
interface Situation {
  readonly line: Line;
  /** What is in force on the nodes that are meant. */
  readonly base: HeldOrder;
  /** The newest order, whatever became of it and whomever it was for. */
  readonly newest: HeldOrder;
  /** The release that was named, which is published. */
  readonly named: ReleaseId | null;
}

export type Change = Partial<Pick<Intent, "release" | "state" | "generation" | "beside">>;
type Changer = (situation: Situation) => Change | Promise<Change>;

/**
 * Orders what is in force once more on the nodes that are meant, but for `change`. What was taken back is not what
 * anybody means by the app, nor is what only others were told.
 * @throws SkeinError APP_NOT_FOUND, RELEASE_NOT_FOUND, ENV_CONFLICT, and what `change` and publishing throw
 */
export async function reorder(
  operator: Operator,
  options: ReorderOptions,
  change: Changer,
  way: ReorderWay = {},
): Promise<PublishedOrder> {
  return await afterRestore(options.tell, async () => await orderChanged(operator, options, change, way));
}

async function orderChanged(
  operator: Operator,
  options: ReorderOptions,
  change: Changer,
  way: ReorderWay,
): Promise<PublishedOrder> {
  const { app, env, tell, signal } = options;
  await deliverEarlier(operator, app, options);
  const line = await readLine(operator, app, env, signal);
  const newest = headOf(line);
  const { members: known, former } = await membersAndFormer(operator, signal);
  if (options.selector === null) tellFormer(former, tell);
  const asked = options.selector ?? selectorOf(line) ?? newest.order.selector;
  const { selector, nodes } = selectNodes(known, asked);
  refuseOtherEnvs({ app, env, selector, nodes, strategy: newest.order.strategy });
  const base = orderFor(line, selector) ?? newest;
  const named = await releaseNamed(operator, options);
  const { order } = base;
  const intent: Intent = {
    release: order.release,
    state: order.state,
    generation: order.generation,
    beside: order.beside,
    selector,
    // How to go about it was said last by the newest order, whatever became of that.
    strategy: newest.order.strategy,
    hooks: newest.order.hooks,
    applyWithinMs: APPLY_WITHIN_MS,
    attended: options.attended,
    ...(await change({ line, base, newest, named })),
  };
  return await publishOrder(operator, line, intent, {
    ...way,
    tell,
    implied: false,
    signal,
    known,
    // What one node is given another release by goes on to be about that node: the others do not run it.
    part: options.selector !== null && intent.release === line.whole?.order.release,
  });
}

async function releaseNamed(
  operator: Operator,
  { app, release, signal }: ReorderOptions,
): Promise<ReleaseId | null> {
  if (release === null) return null;
  const found = await findRelease(operator, app, release, signal);
  if (found === undefined) throw noRelease(app, release);
  return found.id;
}
