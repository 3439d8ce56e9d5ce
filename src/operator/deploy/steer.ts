import { randomUUID } from "node:crypto";
import type { Steering } from "../../api/schemas.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type Digest } from "../../lib/text/ids.ts";
import { refuseSteering } from "../../rollout/steer.ts";
import { ask, type Answer } from "../ask/ask.ts";
import { announce } from "../tell/dry-run.ts";
import { isHere, knownNodes } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { untilHeard } from "../../trust/connection/until-heard.ts";
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
  await said(operator, { digest, word, typed: `skein ${word} ${appAsTyped(app, env)}` }, signal);
}

interface Said {
  readonly digest: Digest;
  readonly word: Steering;
  /** How a person says it. */
  readonly typed: string;
}

/** Said again where the answer was lost: nobody knows whether the hub did it, and the same word counts once. */
async function said(
  { client, clock }: Operator,
  { digest, word, typed }: Said,
  signal: AbortSignal,
): Promise<void> {
  const id = randomUUID();
  let wasSent = false;
  try {
    await untilHeard(async () => await client.steerRollout(digest, word, id, signal), {
      clock,
      signal,
      onLost: () => {
        wasSent = true;
      },
    });
  } catch (err) {
    if (!wasSent || !isSkeinError(err, "HUB_UNREACHABLE")) throw err;
    throw new SkeinError(err.code, `${err.message}; it may have heard the word all the same`, {
      hint:
        word === "resume"
          ? `See with ${typed.replace("resume", "status")} when it answers; where it is paused, type ${typed} again.`
          : `Type ${typed} again when it answers: said twice, it changes nothing more.`,
      data: err.data,
      cause: err,
    });
  }
}
