import { SkeinError } from "../../lib/errors/errors.ts";
import { until, type Until } from "../../lib/time/until.ts";
import { isHook, isPatient, type StepName } from "../plan/plan.ts";

/** The step that an app's worker is at, and what may end it before it has ended by itself. */
export class UnderWay implements Disposable {
  readonly #step: StepName;
  readonly #within: Until;
  #isBrokenOff = false;
  #ended: SkeinError | undefined;

  constructor(step: StepName, signal: AbortSignal) {
    this.#step = step;
    this.#within = until([signal]);
  }

  get signal(): AbortSignal {
    return this.#within.signal;
  }

  /** The attempt is to turn round. */
  get isBrokenOff(): boolean {
    return this.#isBrokenOff;
  }

  /** How it failed, where an operator did not wait for its end. */
  get ended(): SkeinError | undefined {
    return this.#ended;
  }

  /** What may not be left half done runs to its end nevertheless. */
  breakOff(): void {
    this.#isBrokenOff = true;
    if (isPatient(this.#step)) this.#within.abort();
  }

  /** An operator waits for a hook no longer. @returns which one it was; undefined: the step is none */
  endHook(): StepName | undefined {
    if (!isHook(this.#step)) return undefined;
    this.#ended = new SkeinError("HOOK_FAILED", `${this.#step}: ended by an operator`);
    this.#within.abort();
    return this.#step;
  }

  [Symbol.dispose](): void {
    this.#within[Symbol.dispose]();
  }
}
