import type { Steering } from "../api/schemas.ts";
import { shortRelease } from "../lib/ids.ts";
import { refuseSteering } from "../rollout/steer.ts";
import { announce } from "./dry-run.ts";
import type { Operator } from "./operator.ts";
import { refuseUnauthorised, type HeldOrder } from "./order.ts";

const DEEDS: Readonly<Record<Steering, string>> = {
  abort: "would be taken back",
  pause: "would be paused",
  resume: "would go on",
};

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
