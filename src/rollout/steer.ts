import { SkeinError } from "../lib/errors/errors.ts";
import type { Steering } from "../api/schemas.ts";
import { phaseOf, type Phase, type Rollout } from "./rollout.ts";
import type { Facts } from "./facts.ts";
import { mayUndo, turned, type Scene } from "./step.ts";
import { tallyOf } from "./tally.ts";

/**
 * The rollout after a person's word; the very same object where that changes nothing, so that saying it twice is no
 * mistake.
 * @param said the id of the word: one whose answer was lost comes again, and counts once. What failed since a resume
 *   nobody has seen
 * @throws SkeinError UNDO_TOO_LATE for an abort of what stands, ended or ran out of time; ROLLOUT_ENDED for a pause or
 *   a resume where nothing is ahead any more
 */
export function steer(rollout: Rollout, word: Steering, scene: Scene, said: string | null = null): Rollout {
  if (said !== null && rollout.said === said) return rollout;
  const next = after(rollout, word, scene);
  return next === rollout ? rollout : { ...next, said };
}

function after(rollout: Rollout, word: Steering, scene: Scene): Rollout {
  if (word === "abort") {
    if (rollout.direction === "back" && rollout.ended !== "failed") return rollout;
    const next = abort(rollout, scene.facts);
    if (next !== rollout) return next;
    throw tooLate();
  }
  if (rollout.ended !== null || rollout.direction === "back")
    throw nothingTo(word, rollout.ended === null ? "undoing" : phaseOf(rollout));
  return word === "pause" ? pause(rollout, scene.facts) : resume(rollout, scene);
}

/**
 * The same refusals for whoever knows the phase alone, and only asks. What time has run out for, it cannot tell.
 * @throws SkeinError UNDO_TOO_LATE, ROLLOUT_ENDED
 */
export function refuseSteering(phase: Phase, word: Steering): void {
  if (word === "abort") {
    if (phase === "ok" || phase === "failed") throw tooLate();
    return;
  }
  if (["ok", "failed", "undone", "undoing"].includes(phase)) throw nothingTo(word, phase);
}

const tooLate = (): SkeinError =>
  new SkeinError("UNDO_TOO_LATE", "the order has ended, or its time to be undone is over");

function nothingTo(word: Steering, phase: Phase): SkeinError {
  const why = phase === "undoing" ? "it is being taken back" : `it ended: ${phase}`;
  return new SkeinError("ROLLOUT_ENDED", `there is nothing to ${word}, ${why}`, { data: { word } });
}

/** A person takes everything back; the same object when that is no longer possible. */
export function abort(rollout: Rollout, facts: Facts): Rollout {
  if (!mayUndo(rollout, facts)) return rollout;
  const cause = { code: "DEPLOY_FAILED", message: "aborted by an operator" } as const;
  return turned(rollout, facts, rollout.cause ?? cause);
}

/** Whoever has begun ends; nobody else begins. */
export function pause(rollout: Rollout, facts: Facts): Rollout {
  if (rollout.paused || rollout.ended !== null || rollout.direction === "back") return rollout;
  return { ...rollout, paused: true, movedAt: facts.now };
}

/** Goes on after a pause; failures so far no longer count. */
export function resume(rollout: Rollout, scene: Scene): Rollout {
  if (!rollout.paused) return rollout;
  const forgiven = tallyOf(scene.plan, rollout, scene.facts).failed.length;
  return { ...rollout, paused: false, stuck: false, cause: null, forgiven, movedAt: scene.facts.now };
}
