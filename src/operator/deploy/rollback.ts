import { SkeinError } from "../../lib/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId } from "../../lib/ids.ts";
import type { OrderSummary } from "../../api/schemas.ts";
import { afterRestore } from "../order/after-restore.ts";
import { refuseAloneBeside } from "../order/beside.ts";
import { APPLY_WITHIN_MS, headOf, orderFor, readLine, selectorOf, type Line } from "../order/order.ts";
import { releaseOf, type LifecycleOptions } from "./lifecycle.ts";
import { membersAndFormer, selectNodes, tellFormer } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { publishOrder, type PublishedOrder } from "../order/publish-order.ts";
import { deliverEarlier } from "../order/sent.ts";

/**
 * Goes back to the version that last ran well before the current one; called again, one further back.
 * `release` names another one.
 * @throws SkeinError RELEASE_NOT_FOUND where there is no earlier version, HANDOVER_REFUSED
 */
export async function rollback(operator: Operator, options: LifecycleOptions): Promise<PublishedOrder> {
  return await afterRestore(options.tell, async () => await goBack(operator, options));
}

async function goBack(operator: Operator, options: LifecycleOptions): Promise<PublishedOrder> {
  const { app, env, tell, signal } = options;
  await deliverEarlier(operator, app, options);
  const line = await readLine(operator, app, env, signal);
  const target = await rollbackTarget(operator, line, options);
  const { order: newest } = headOf(line);
  const { members: known, former } = await membersAndFormer(operator, signal);
  if (options.selector === null) tellFormer(former, tell);
  const { selector } = selectNodes(known, options.selector ?? selectorOf(line) ?? newest.selector);
  const now = (orderFor(line, selector) ?? headOf(line)).order;
  const beside = now.beside.filter((id) => id !== target);
  await refuseAloneBeside(operator, { app, env, release: target, beside }, signal);
  tell({ type: "note", text: `Going back to ${shortRelease(app, target)}.` });
  const intent = {
    release: target,
    state: "run",
    generation: newest.generation,
    beside,
    selector,
    strategy: newest.strategy,
    hooks: newest.hooks,
    applyWithinMs: APPLY_WITHIN_MS,
    attended: options.attended,
  } as const;
  return await publishOrder(operator, line, intent, { tell, implied: false, signal, known, goesBack: true });
}

async function rollbackTarget(operator: Operator, line: Line, options: LifecycleOptions): Promise<ReleaseId> {
  const { app, env, signal } = options;
  const named = await releaseOf(operator, options);
  if (named !== null) return named;
  const { orders } = await operator.client.call("orders", { params: { app }, query: { env }, signal });
  const target = earlier(orders, inForce(orders) ?? headOf(line).order.release);
  if (target !== undefined) return target;
  throw new SkeinError("RELEASE_NOT_FOUND", `${app} has no earlier version that ran well`, {
    hint: `Name one: skein rollback ${appAsTyped(app, env)} --to RELEASE; see skein releases ${app}`,
    data: { app, env },
  });
}

/** What the newest order that was not undone asks for: after a failed deployment, the version before it. Pure. */
export function inForce(orders: readonly OrderSummary[]): ReleaseId | undefined {
  return orders.find(({ phase }) => phase !== "undone")?.release;
}

/**
 * The version before `current` in the row of those that ran well. Pure. `orders`: newest first. A deployment adds to
 * the row, also one of an older version: A B, then A deployed, goes back to B. A rollback moves back in it: A B C, back
 * to B, back again is A.
 */
export function earlier(orders: readonly OrderSummary[], current: ReleaseId): ReleaseId | undefined {
  const row: ReleaseId[] = [];
  for (const { release, state, phase, goesBack } of orders.toReversed()) {
    if (state !== "run" || phase !== "ok" || release === row.at(-1)) continue;
    const at = goesBack ? row.lastIndexOf(release) : -1;
    if (at < 0) row.push(release);
    else row.length = at + 1;
  }
  const at = row.lastIndexOf(current);
  return at < 0 ? row.at(-1) : row[at - 1];
}
