import type { OrderSummary } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import type { Operator } from "../identity/operator.ts";
import { refuseAloneBeside } from "../order/beside.ts";
import type { HeldOrder } from "../order/order.ts";
import type { PublishedOrder } from "../order/publish-order.ts";
import { reorder, type ReorderOptions } from "./reorder.ts";

/**
 * Goes back to the version that last ran well before the current one; called again, one further back.
 * `release` names another one.
 * @throws SkeinError RELEASE_NOT_FOUND where there is no earlier version, HANDOVER_REFUSED
 */
export async function rollback(operator: Operator, options: ReorderOptions): Promise<PublishedOrder> {
  const { app, env, tell, signal } = options;
  return await reorder(
    operator,
    options,
    async ({ base, newest, named }) => {
      const release = named ?? (await releaseBefore(operator, newest, signal));
      const beside = base.order.beside.filter((id) => id !== release);
      await refuseAloneBeside(operator, { app, env, release, beside }, signal);
      tell({ type: "note", text: `Going back to ${shortRelease(app, release)}.` });
      return { release, state: "run", generation: newest.order.generation, beside };
    },
    { goesBack: true },
  );
}

async function releaseBefore(
  operator: Operator,
  { order: { app, env, release } }: HeldOrder,
  signal: AbortSignal,
): Promise<ReleaseId> {
  const { orders } = await operator.client.call("orders", { params: { app }, query: { env }, signal });
  const target = earlier(orders, inForce(orders) ?? release);
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
