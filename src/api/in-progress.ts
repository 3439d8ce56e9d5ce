import { SkeinError } from "../lib/errors/errors.ts";
import { appAsTyped, type Digest, type AppEnv } from "../lib/text/ids.ts";
import type { RolloutView } from "./schemas.ts";

const NAMES_SHOWN = 5;

/**
 * Why an app takes no other order now. Says what holds it up: for somebody in a hurry, a node that went away is another
 * matter than one at work.
 */
export function inProgress(place: AppEnv, order: Digest, view: RolloutView | undefined): SkeinError {
  const nodes = view?.nodes.filter(({ verdict }) => verdict === null) ?? [];
  const away = nodes.filter(({ present }) => !present).map(({ name }) => name);
  const waits = away.length > 0 ? away : nodes.map(({ name }) => name);
  const more = waits.length > NAMES_SHOWN ? ` and ${waits.length - NAMES_SHOWN} more` : "";
  const shown = waits.slice(0, NAMES_SHOWN).join(", ") + more;
  const missing = away.length === 1 ? "which is away" : "which are away";
  const why = waits.length === 0 ? "" : ` and waits for ${shown}${away.length > 0 ? `, ${missing}` : ""}`;
  const app = appAsTyped(place.app, place.env);
  const isPaused = view?.phase === "paused";
  return new SkeinError(
    "DEPLOY_IN_PROGRESS",
    `a deployment of ${place.app}/${place.env} is ${isPaused ? "paused" : "under way"}${why}`,
    {
      data: { ...place, order, waitsFor: waits },
      hint: isPaused
        ? `Go on with it (skein resume ${app}) or take it back (skein abort ${app}).`
        : `Wait for it (skein watch ${app}) or take it back (skein abort ${app}), then deploy again.`,
    },
  );
}
