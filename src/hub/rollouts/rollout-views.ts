import type { RolloutView } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Rollouts } from "../orders/gates.ts";

/** How long nothing may change before it is looked at again, in ms. */
const WAIT_MS = 60_000;

/** How far an order is: at once, then each time it changed, until it ended. @throws SkeinError NOT_FOUND */
export async function* rolloutViews(
  rollouts: Pick<Rollouts, "nextView">,
  order: Digest,
  signal: AbortSignal,
): AsyncGenerator<RolloutView, void> {
  let after = -1;
  for (;;) {
    const view = await rollouts.nextView(order, { after, waitMs: after < 0 ? 0 : WAIT_MS }, signal);
    if (view === undefined) throw new SkeinError("NOT_FOUND", "nothing is known of this rollout any more");
    const isOver = view.verdict !== null || view.phase === "ok";
    if (isOver || view.revision !== after) yield view;
    if (isOver) return;
    after = view.revision;
  }
}
