import type { Steering } from "../../api/schemas.ts";
import { shortRelease } from "../../lib/text/ids.ts";
import { refuseSteering } from "../../rollout/steer.ts";
import { ask, type Answer } from "../ask/ask.ts";
import { announce } from "../tell/dry-run.ts";
import { isHere, knownNodes } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { refuseUnauthorised, type HeldOrder } from "../order/order.ts";

const DEEDS: Readonly<Record<Steering, string>> = {
  abort: "would be taken back",
  pause: "would be paused",
  resume: "would go on",
};

const END_HOOK_VALID_MS = 60_000;

/**
 * Ends the hooks that run on nodes which an order is being taken back on: nobody waits for them any more.
 * @returns what each of these nodes says
 */
export async function endHooks(
  operator: Operator,
  { order: { app, env }, digest }: HeldOrder,
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const [view, known] = await Promise.all([
    operator.client.rollout(digest, signal),
    knownNodes(operator, signal),
  ]);
  const atWork = new Set(view.nodes.flatMap(({ node, gate }) => (gate === "hold" ? [] : node)));
  const nodes = known.filter((node) => isHere(node) && atWork.has(node.identity.node));
  const args = { order: digest };
  return await ask(operator, { kind: "end-hook", app, env, args, nodes, validMs: END_HOOK_VALID_MS }, signal);
}

/** A person's word on the rollout of an order. @throws SkeinError UNDO_TOO_LATE, ROLLOUT_ENDED, NOT_AUTHORISED */
export async function steer(
  operator: Operator,
  { order, digest }: HeldOrder,
  word: Steering,
  signal: AbortSignal,
): Promise<void> {
  const { app, env, release, seq, fallback } = order;
  if (operator.dryRun !== undefined) {
    // As the hub would.
    refuseUnauthorised(operator, order);
    refuseSteering((await operator.client.rollout(digest, signal)).phase, word);
  }
  announce(operator, () => ({
    text: `order #${seq} of ${app}/${env}: ${shortRelease(app, release)} ${DEEDS[word]}`,
    data: { deed: word, app, env, order: digest, release, fallback },
  }));
  await operator.client.steerRollout(digest, word, signal);
}
