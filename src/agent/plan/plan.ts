import type { ErrorCode } from "../../lib/errors/errors.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";

/**
 * What one app on one node should come to. Made from the node's accepted documents and the hub's gate; a level,
 * so it may be computed anew at any time.
 */
export interface Goal {
  /** The order that this answers to. */
  readonly order: Digest;
  /** null: nothing at all, where a first deployment was taken back. */
  readonly release: ReleaseId | null;
  readonly state: "run" | "stopped";
  /** A higher one means: replace the instances though the release is the same. */
  readonly generation: number;
  readonly beside: readonly ReleaseId[];
  readonly hooks: boolean;
  /** The order itself was taken back; `release` is where it goes back to. */
  readonly back: boolean;
  /** false: it was taken back, and no receipt says so yet. The rollout waits for one. */
  readonly isAnswered?: boolean | undefined;
  /** Whether it may begin. What has begun goes on without it. */
  readonly go: boolean;
  /** The order is settled or taken back: no other node is still on its way from the old release. */
  readonly everywhere: boolean;
  /** Asked for on this machine, by nobody's order: no receipt answers it, and a failing post-jump leaves it. */
  readonly local?: boolean | undefined;
  readonly answers: Answers;
}

/** What of the order a receipt repeats. */
export interface Answers {
  readonly epoch: number;
  readonly seq: number;
  readonly release: ReleaseId;
}

/** What was last brought about here, by an attempt that ended. */
export interface Reached {
  readonly order: Digest;
  readonly release: ReleaseId | null;
  readonly state: "run" | "stopped";
  readonly generation: number;
  readonly beside: readonly ReleaseId[];
}

/**
 * `jump`: to another release. `restart` and `start`: the release stays, and `start` leaves alone what of it serves.
 * `beside`: only which older ones run along changes. `stop`: nothing runs. `return`: the hub took a finished order back,
 * so nothing may hold it up.
 */
type Mode = "jump" | "restart" | "start" | "beside" | "stop" | "return";

export interface Back {
  /** `failed`: here. `undone`: the hub's word. `superseded`: another order came before anything was switched. */
  readonly why: "failed" | "undone" | "superseded";
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** One order under way. Written down before its first step and after each. */
export interface Attempt extends Reached {
  readonly mode: Mode;
  readonly hooks: boolean;
  /** As in its goal. */
  readonly local?: boolean | undefined;
  /** What `current` named when it began. */
  readonly previous: ReleaseId | null;
  /** What had been reached before: stands again when the attempt is taken back. */
  readonly before: Reached | null;
  readonly done: readonly StepName[];
  /** Set once it turned round. */
  readonly back: Back | null;
  /** What could not be undone, if anything. */
  readonly stuck: string | null;
  /** Connections that were cut while draining. */
  readonly cut: number;
  readonly answers: Answers;
}

export interface Actual {
  readonly current: ReleaseId | null;
  readonly reached: Reached | null;
  readonly attempt: Attempt | null;
  /** Releases with instances on the public sockets, also those that the keeper gave up on (RESTART_LIMIT). */
  readonly running: readonly ReleaseId[];
  /** Those of them that are reached through the port table alone, as far as they run. */
  readonly tableOnly: readonly ReleaseId[];
  /** false: another order asks for what was reached, of which instances lack, or which has some besides. */
  readonly fits: boolean;
}

const JUMP = [
  "install",
  "post-sync",
  "judge",
  "pre-jump",
  "un-jump",
  "flip",
  "attach",
  "post-jump",
  "beside",
  "retire",
  "finish",
] as const;
const BACK_PASSED = [
  "back-un-jump",
  "back-pre-jump",
  "back-flip",
  "back-attach",
  "back-post-jump",
  "back-drop",
  "finish",
] as const;
const BACK_EARLY = ["back-drop", "back-attach", "finish"] as const;
const RETURN = [
  "install",
  "judge",
  "un-jump",
  "pre-jump",
  "flip",
  "attach",
  "post-jump",
  "beside",
  "retire",
  "finish",
] as const;

export type StepName =
  | (typeof JUMP)[number]
  | (typeof BACK_PASSED)[number]
  | "halt"
  /** Outside of attempts: */
  | "begin"
  | "turn"
  | "adopt"
  /** `current` was lost or is another: it is pointed at what was reached. */
  | "mend"
  | "revive"
  | "tidy";

/**
 * The steps from `actual` to `goal`, in order; empty when there is nothing to do. Whoever executes them does the
 * first one, writes down that it is done, and asks again: that is how crashes, failures and new orders are met.
 */
export function plan(goal: Goal | null, actual: Actual): readonly StepName[] {
  const { attempt } = actual;
  if (attempt !== null) {
    return turned(goal, attempt) === null ? remaining(attempt) : ["turn"];
  }
  const keep = upkeep(goal, actual);
  if (goal === null) return keep;
  const { reached, fits } = actual;
  if (reached === null || !fits || !isReached(goal, reached)) return goal.go ? ["begin"] : keep;
  return reached.order === goal.order && goal.isAnswered !== false ? keep : ["adopt", ...keep];
}

/** The attempt that `begin` writes down. */
export function attemptFor(goal: Goal, actual: Actual): Attempt {
  const previous = actual.current;
  return {
    order: goal.order,
    release: goal.release,
    state: goal.state,
    generation: goal.generation,
    beside: goal.beside,
    hooks: goal.hooks,
    ...(goal.local === true ? { local: true } : {}),
    mode: modeOf(goal, actual),
    previous,
    before: actual.reached,
    done: [],
    back: null,
    stuck: null,
    cut: 0,
    answers: goal.answers,
  };
}

/** Why the goal makes a running attempt turn round; null: it goes on. */
export function turned(goal: Goal | null, attempt: Attempt): Back | null {
  if (goal === null || attempt.back !== null || attempt.mode === "return") return null;
  if (goal.order === attempt.order) {
    if (!goal.back) return null;
    return { why: "undone", code: "UNDONE_BY_HUB", message: "the hub took the order back" };
  }
  if (attempt.mode === "stop" || isPassed(attempt)) return null;
  return { why: "superseded", code: "SUPERSEDED", message: "another order came first" };
}

/** Their failure holds nothing up: the new version serves, or the old one is on its way out. */
const PASSED_BY: ReadonlySet<StepName> = new Set(["un-jump", "beside", "retire", "finish"]);

/** What happens to a step that failed: the attempt turns round, or the step is noted and passed. */
export function afterFailure(attempt: Attempt, step: StepName): "turn" | "pass" {
  if (attempt.back !== null || attempt.mode === "stop") return "pass";
  if (PASSED_BY.has(step) || (attempt.local === true && step === "post-jump")) return "pass";
  if (attempt.mode !== "return") return "turn";
  // Going back has nowhere else to go; but where the old release does not come up, the new one is better than none.
  return step === "install" || step === "judge" || step === "attach" ? "turn" : "pass";
}

/** What stands at the end of an attempt. */
export function outcomeOf(attempt: Attempt): Reached {
  if (attempt.back === null) {
    const { order, release, state, generation, beside } = attempt;
    return { order, release, state, generation, beside };
  }
  // Where the record was lost, `current` alone tells what was there.
  const release = attempt.previous === attempt.release ? null : attempt.previous;
  const unknown = { release, state: "run", generation: attempt.generation, beside: [] } as const;
  return { ...(attempt.before ?? unknown), order: attempt.order };
}

/** Whether `previous` should serve again once the attempt is taken back. */
export function oldServes(attempt: Attempt): boolean {
  return attempt.previous !== null && attempt.before?.state !== "stopped";
}

/**
 * Whether retiring leaves instances that are reached through the port table alone: until the last batch is done, the
 * old release's callers on other nodes look them up. They stay where a new release came; where somebody asks for
 * fewer releases, or the order is taken back (the callers go back first), they do not.
 */
export function sparesTableOnly({ mode }: Pick<Attempt, "mode">): boolean {
  return mode === "jump" || mode === "restart" || mode === "start";
}

/** May a step be broken off when the attempt has to turn round? Hooks and switches run to their end. */
export function isPatient(step: StepName): boolean {
  return step === "install" || step === "judge";
}

const HOOKS: ReadonlySet<StepName> = new Set([
  "post-sync",
  "pre-jump",
  "un-jump",
  "post-jump",
  "back-un-jump",
  "back-pre-jump",
  "back-post-jump",
]);

/** A script of the release's own, which may take as long as its manifest lets it. */
export const isHook = (step: StepName): boolean => HOOKS.has(step);

function modeOf(goal: Goal, actual: Actual): Mode {
  if (goal.back) return "return";
  if (goal.state === "stopped") return "stop";
  if (goal.release !== actual.current) return "jump";
  if (goal.release === null || !actual.running.includes(goal.release)) return "start";
  const serves = actual.reached?.release === goal.release && actual.reached.state === "run";
  if (!serves || actual.reached.generation !== goal.generation) return "restart";
  return actual.fits ? "beside" : "start";
}

function remaining(attempt: Attempt): readonly StepName[] {
  return stepsOf(attempt).filter((step) => !attempt.done.includes(step));
}

function stepsOf(attempt: Attempt): readonly StepName[] {
  if (attempt.back !== null) return backSteps(attempt);
  if (attempt.mode === "jump") return hooked(attempt, JUMP);
  if (attempt.mode === "stop") return ["halt", "finish"];
  if (attempt.mode === "beside") return ["beside", "retire", "finish"];
  if (attempt.mode !== "return") return ["install", "judge", "attach", "beside", "retire", "finish"];
  if (attempt.release === null) return hooked(attempt, ["un-jump", "flip", "halt", "finish"]);
  if (attempt.release === attempt.previous) return ["install", "judge", "attach", "retire", "finish"];
  return hooked(attempt, RETURN);
}

function backSteps(attempt: Attempt): readonly StepName[] {
  if (attempt.mode === "beside") return ["finish"]; // upkeep brings back what ran along before
  const jumped = attempt.mode === "jump" || attempt.mode === "return";
  if (!jumped || !isPassed(attempt)) return BACK_EARLY;
  const skipped: readonly StepName[] =
    attempt.previous === null ? ["back-pre-jump", "back-attach", "back-post-jump"] : [];
  return hooked(
    attempt,
    BACK_PASSED.filter((step) => !skipped.includes(step)),
  );
}

/** Past this, the old release may have been told to leave, so going back is a jump of its own. */
function isPassed(attempt: Attempt): boolean {
  return attempt.done.includes("un-jump") || attempt.done.includes("flip");
}

function hooked(attempt: Attempt, steps: readonly StepName[]): readonly StepName[] {
  return attempt.hooks ? steps : steps.filter((step) => !/(jump|sync)$/.test(step));
}

function upkeep(goal: Goal | null, actual: Actual): readonly StepName[] {
  const { reached, running, tableOnly } = actual;
  if (reached === null) return [];
  const wanted =
    reached.state === "stopped" ? [] : [reached.release, ...reached.beside].filter((id) => id !== null);
  const steps: StepName[] = isCurrentLost(reached, actual.current) ? ["mend"] : [];
  if (wanted.some((id) => !running.includes(id))) steps.push("revive");
  const others = running.filter((id) => !wanted.includes(id));
  if (others.some((id) => goal?.everywhere === true || !tableOnly.includes(id))) steps.push("tidy");
  return steps;
}

/** What is stopped may never have been here: whatever `current` says then, a start makes it right. */
export function isCurrentLost(reached: Reached, current: ReleaseId | null): boolean {
  return reached.state === "run" && current !== reached.release;
}

function isReached(goal: Goal, reached: Reached): boolean {
  if (goal.release !== reached.release) return false;
  // Going back asks for a release that serves; how often it was restarted before is nobody's wish.
  if (goal.back) return goal.release === null || goal.state === reached.state;
  const sameBeside = [...goal.beside].sort().join(" ") === [...reached.beside].sort().join(" ");
  return goal.state === reached.state && goal.generation === reached.generation && sameBeside;
}
