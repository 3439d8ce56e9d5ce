import { isSkeinError, messageOf, ownHint, toSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { shortRelease, type Digest } from "../../lib/text/ids.ts";
import { FailureRow, retryDelayMs } from "../../lib/time/retry.ts";
import type { Progress } from "../../api/field-schemas.ts";
import { AppBook } from "./app-book.ts";
import type { AppContext } from "./app-context.ts";
import { endOf } from "./ending.ts";
import { collectGarbage } from "../installs/gc.ts";
import { flipCurrent } from "../installs/folders.ts";
import { withSynced } from "../installs/synced.ts";
import { goalAmong } from "../plan/goal.ts";
import { heldGoal } from "../plan/hold.ts";
import { isPassing } from "./passing.ts";
import {
  afterFailure,
  attemptFor,
  outcomeOf,
  plan,
  turned,
  type Actual,
  type Attempt,
  type Goal,
  type Reached,
  type StepName,
} from "../plan/plan.ts";
import { failureText } from "./receipt-of.ts";
import { lastLines } from "../programs/command.ts";
import { newRecord, withGood, type AppRecord } from "../plan/records.ts";
import type { BytesBySource } from "../../release/install/install-progress.ts";
import { STEPS, type AttemptStep, type StepResult } from "./steps.ts";
import type { Warning } from "../runtime/warning.ts";
import { UnderWay } from "./under-way.ts";
import { actualOf } from "./actual.ts";
import { revive, tidy } from "./upkeep.ts";
import { stuckAt } from "./stuck.ts";
import type { Served } from "./unwell.ts";
import { until } from "../../lib/time/until.ts";

/** Where the bytes of an order's release came from. */
interface Moved {
  readonly order: Digest;
  readonly sources: BytesBySource;
}

const HELD_LOOK_MS = 1000;
/** Fetching so much takes long enough to be followed. */
const LONG_BYTES = 2 ** 20;
const BACKOFF = { baseMs: 150, maxMs: 60_000 } as const;
const KEEPER_TRIES = 5;
const CONVERGE_TRIES = 4;

/**
 * Converges one app: asks the plan for the next step, does it, writes down that it is done, and asks again. It is
 * the only one that changes this app on this node.
 */
export class AppWorker {
  readonly app: string;
  readonly #context: AppContext;
  readonly #book: AppBook;
  #kick = Promise.withResolvers<void>();
  #step: UnderWay | undefined;
  readonly #failures = new FailureRow();
  /** Whole attempts in a row that came to nothing and are to be made again. */
  #vain = 0;
  /** Whether what should run may have lost instances: after a start of the agent or of the keeper. */
  #isUnsure = true;
  #warnings: Warning[] = [];
  /** Of the attempt that has ended, while that is being told and written down. */
  #outcome: Reached | undefined;
  /** How far an order is on this node, for reports. */
  progress: Progress | undefined;
  moved: Moved | undefined;
  served: Served | undefined;

  constructor(app: string, context: AppContext) {
    this.app = app;
    this.#context = context;
    this.#book = new AppBook(app, context);
  }

  /** Something changed: look again. */
  kick(): void {
    this.#kick.resolve();
    const attempt = this.record?.attempt;
    if (attempt && this.#step !== undefined && turned(this.goal(), attempt) !== null) this.#step.breakOff();
  }

  /** An operator waits no longer for a hook of an order that is being taken back. @returns which one it was */
  endHook(order: Digest): StepName | undefined {
    const attempt = this.record?.attempt;
    if (attempt?.order !== order) return undefined;
    const isGoingBack = attempt.back !== null || turned(this.goal(), attempt) !== null;
    return isGoingBack ? this.#step?.endHook() : undefined;
  }

  /** Another keeper took over: what it could not keep is started again. */
  doubt(): void {
    this.#isUnsure = true;
    this.kick();
  }

  get record(): AppRecord | undefined {
    return this.#book.record;
  }

  /** What the app has come to. Who hears the receipt of an order hears this of the same moment. */
  get reached(): Reached | null {
    return this.#outcome ?? this.record?.reached ?? null;
  }

  goal(): Goal | null {
    const { store, clock, signer, pace } = this.#context;
    const hold = this.#context.hold?.(this.app) ?? null;
    const held = hold && heldGoal(hold, this.record ?? newRecord(this.app, hold.env), store.state);
    if (held) return held;
    const context = { now: clock.now(), self: signer.kid };
    const { app, record } = this;
    return goalAmong(store.state, { app, environments: this.#book.environments, record }, pace(), context);
  }

  /** Whether what should run could not be made to. */
  get isFailing(): boolean {
    return this.#failures.length > 0;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#kick = Promise.withResolvers();
      const kicked = this.#kick.promise;
      try {
        const waitMs = await this.#once(signal);
        if (waitMs !== 0) await this.#rest(waitMs, kicked, signal);
      } catch (err) {
        if (signal.aborted) return;
        this.#context.log.error("convergence failed", { app: this.app, "err.message": messageOf(err) });
        this.#failures.failed();
        this.#tellStuck(err);
        await this.#rest(this.#backoffMs(), undefined, signal);
      }
    }
  }

  /**
   * Does what there is to do and returns, for whoever does not wait for news. `held`: something will be begun later.
   * `failing`: what may pass by itself did not pass within a few tries that got no further.
   */
  async converge(signal: AbortSignal): Promise<"reached" | "held" | "failing"> {
    for (;;) {
      signal.throwIfAborted();
      const waitMs = await this.#once(signal);
      if (waitMs === 0) continue;
      if (this.#failures.length === 0) return waitMs < 0 ? "reached" : "held";
      if (this.#failures.length >= CONVERGE_TRIES) return "failing";
      await this.#rest(waitMs, undefined, signal);
    }
  }

  /** Does one step. Resolves to how long to wait before the next look, in ms; 0: look at once. */
  async #once(signal: AbortSignal): Promise<number> {
    await this.#book.answerWithdrawn();
    const goal = this.goal();
    const actual = await actualOf(this.#context, this.app, goal);
    const [step] = plan(goal, actual);
    if (this.#isUnsure && actual.attempt === null && actual.reached !== null) {
      // Only once: what cannot be brought back must not hold up the order that mends it.
      this.#isUnsure = false;
      return await this.#revive(true, signal);
    }
    if (step === undefined) {
      this.#failures.end();
      this.progress = undefined;
      this.#wantSpare(actual);
      return goal !== null && !goal.go ? HELD_LOOK_MS : -1;
    }
    this.#context.spares?.giveWay();
    if (actual.attempt !== null && step !== "turn") return await this.#advance(actual.attempt, step, signal);
    return await this.#outside(step, goal, actual, signal);
  }

  /** The next install is prepared while nothing is to be done; that of an app which was stopped may be long in coming. */
  #wantSpare({ reached }: Actual): void {
    if (reached !== null)
      this.#context.spares?.want(this.app, reached.state === "run" ? reached.release : null);
  }

  /** Steps outside of an attempt's row. */
  async #outside(step: StepName, goal: Goal | null, actual: Actual, signal: AbortSignal): Promise<number> {
    if (step === "begin" && goal !== null) return await this.#begin(goal, actual);
    if (step === "turn" && actual.attempt !== null) {
      const back = turned(goal, actual.attempt);
      await this.#book.keep({ ...this.#book.existing, attempt: { ...actual.attempt, back } });
      faultPoint("agent.turned");
      return 0;
    }
    if (step === "adopt" && goal !== null) await this.#book.adopt(goal);
    if (step === "mend") await flipCurrent(this.#context.folders(this.app), actual.reached?.release ?? null);
    if (step === "revive") return await this.#revive(false, signal);
    if (step === "tidy") await tidy(this.#context, this.#book.existing, goal);
    return 0;
  }

  async #begin(goal: Goal, actual: Actual): Promise<number> {
    const { log } = this.#context;
    const record = this.#book.recordFor(goal);
    const refused = await this.#book.markStarted(goal, record.env);
    faultPoint("agent.started");
    if (refused !== undefined) {
      log.warn("an order may not be started", { app: this.app, "err.code": refused.code });
      return HELD_LOOK_MS;
    }
    const attempt = attemptFor(goal, actual);
    this.#warnings = [];
    await this.#book.keep({ ...record, attempt });
    faultPoint("agent.begun");
    log.info("order begun", { app: this.app, order: goal.order, mode: attempt.mode, release: goal.release });
    return 0;
  }

  async #advance(attempt: Attempt, step: StepName, signal: AbortSignal): Promise<number> {
    if (step === "finish") return await this.#finish(attempt);
    this.#note(attempt, step, 0, null);
    using underWay = new UnderWay(step, signal);
    this.#step = underWay;
    try {
      // An order that came between the last look and now has broken off nothing yet.
      if (turned(this.goal(), attempt) !== null) return 0;
      const result = await this.#do(attempt, step as AttemptStep, underWay.signal);
      await this.#done(attempt, step, result);
      this.#failures.end();
    } catch (err) {
      signal.throwIfAborted();
      // What its un-jump has begun the old version takes back by its other hooks: only past that step they are run.
      if (underWay.isBrokenOff && step !== "un-jump") return 0;
      return await this.#failed(attempt, step, underWay.ended ?? err);
    } finally {
      this.#step = undefined;
    }
    return 0;
  }

  async #do(attempt: Attempt, step: AttemptStep, signal: AbortSignal): Promise<StepResult> {
    // What crashes from here on crashes under this order, long before its receipt perhaps: the old release drains.
    if (step === "attach") this.served = { order: attempt.order, at: this.#context.clock.now() };
    const result = await STEPS[step]({
      context: this.#context,
      record: this.#book.existing,
      attempt,
      signal,
      onProgress: ({ stage, bytesDone, bytesTotal, sources }) => {
        this.moved = { order: attempt.order, sources };
        this.#failures.reached(bytesDone);
        this.#note(attempt, stage, bytesDone, bytesTotal);
      },
    });
    return result;
  }

  async #done(
    attempt: Attempt,
    step: StepName,
    { cut = 0, warnings = [], synced, evident = false }: StepResult,
  ): Promise<void> {
    this.#warnings.push(...warnings);
    for (const { code, message } of warnings) {
      this.#context.log.warn(message, { app: this.app, order: attempt.order, "err.code": code });
    }
    const record = this.#book.existing;
    const next: AppRecord = {
      ...(synced === undefined ? record : withSynced(record, synced)),
      attempt: { ...attempt, done: [...attempt.done, step], cut: attempt.cut + cut },
    };
    if (evident) this.#book.note(next);
    else await this.#book.keep(next);
  }

  async #failed(attempt: Attempt, step: StepName, err: unknown): Promise<number> {
    this.#failures.failed();
    if (this.#mayPass(step, err)) return this.#backoffMs();
    const failure = toSkeinError(err);
    const { code, message, data } = failure;
    this.#context.log.error("step failed", {
      app: this.app,
      order: attempt.order,
      step,
      "err.code": code,
      "err.message": message,
    });
    const text = failureText(message, data);
    this.#context.onFailure?.({ app: this.app, step, code, message, lines: lastLines(data) });
    if (afterFailure(attempt, step) === "turn") {
      const back = { why: "failed", code, message: text, hint: ownHint(failure) } as const;
      await this.#book.keep({ ...this.#book.existing, attempt: { ...attempt, back } });
      faultPoint("agent.turned-back");
      // Only now: what cannot be written down (a full disk) is tried again ever more seldom.
      this.#failures.end();
      return 0;
    }
    // The receipt tells of it: whoever gave the order has nothing else to see it by.
    if (attempt.back === null) this.#warnings.unshift({ code, message: text, data });
    const stuck =
      step === "back-attach" || step === "back-flip" || attempt.mode === "stop" ? text : attempt.stuck;
    await this.#book.keep({
      ...this.#book.existing,
      attempt: { ...attempt, stuck, done: [...attempt.done, step] },
    });
    this.#failures.end();
    return 0;
  }

  /** A keeper that does not answer says as little about the release as a cut line does. */
  #mayPass(step: StepName, err: unknown): boolean {
    if (isSkeinError(err, "KEEPER_UNREACHABLE")) return this.#failures.length < KEEPER_TRIES;
    return step === "install" && isPassing(err);
  }

  async #finish(attempt: Attempt): Promise<number> {
    const { instances, log } = this.#context;
    const ended = endOf(attempt, this.#warnings);
    await this.#book.markEnded(attempt, ended);
    faultPoint("agent.finish-marked");
    const reached = outcomeOf(attempt);
    this.#outcome = reached;
    this.progress = undefined;
    await this.#book.answer(ended, attempt);
    const next =
      attempt.back === null && reached.release !== null
        ? withGood(this.#book.existing, reached.release)
        : this.#book.existing;
    await this.#book.keep({ ...next, reached, attempt: null });
    this.#outcome = undefined;
    faultPoint("agent.finished");
    if (reached.release !== null) {
      instances.settle({ app: this.app, release: reached.release, generation: reached.generation });
    }
    log.info("order ended", {
      app: this.app,
      order: attempt.order,
      verdict: ended.verdict,
      "err.code": ended.code,
    });
    await collectGarbage(this.#context, this.#book.existing);
    faultPoint("agent.collected");
    // What ended well here once is wanted still, though it failed now.
    const goal = this.goal();
    const isVain = ended.verdict !== "ok" && goal?.order === attempt.order && !goal.back;
    this.#vain = isVain ? this.#vain + 1 : 0;
    return isVain ? retryDelayMs(this.#vain, { ...BACKOFF, random: Math.random }) : 0;
  }

  async #revive(all: boolean, signal: AbortSignal): Promise<number> {
    try {
      const changed = await revive(this.#context, this.#book.existing, all, signal);
      this.#failures.end();
      return changed || all ? 0 : -1;
    } catch (err) {
      signal.throwIfAborted();
      this.#failures.failed();
      this.#context.log.error("could not be brought back", { app: this.app, "err.message": messageOf(err) });
      return all ? 0 : this.#backoffMs();
    }
  }

  #note(attempt: Attempt, stage: string, bytesDone: number, bytesTotal: number | null): void {
    const note = attempt.release === null ? null : shortRelease(this.app, attempt.release);
    this.progress = { order: attempt.order, stage, bytesDone, bytesTotal, note };
    // What is fetched in no time is told with how it ended.
    this.#context.onNews((bytesTotal ?? 0) > LONG_BYTES ? "soon" : "later");
  }

  #tellStuck(err: unknown): void {
    const order = this.record?.attempt?.order ?? this.goal()?.order;
    if (order === undefined) return;
    this.progress = stuckAt(order, err);
    this.#context.onNews("now");
  }

  #backoffMs(): number {
    return retryDelayMs(this.#failures.length, { ...BACKOFF, random: Math.random });
  }

  async #rest(ms: number, kicked: Promise<void> | undefined, signal: AbortSignal): Promise<void> {
    // A signal that has aborted says so to no listener any more.
    if (signal.aborted) return;
    using over = until([signal]);
    const waits = [
      new Promise<void>((resolve) => over.signal.addEventListener("abort", () => resolve(), { once: true })),
    ];
    if (kicked !== undefined) waits.push(kicked);
    if (ms > 0) waits.push(this.#context.clock.sleep(ms, over.signal).catch(() => undefined));
    await Promise.race(waits);
    over.abort();
  }
}
