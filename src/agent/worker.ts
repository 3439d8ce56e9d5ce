import { isSkeinError, messageOf, SkeinError } from "../lib/errors.ts";
import { faultPoint } from "../lib/fault.ts";
import { shortRelease, type Digest, type ReleaseId } from "../lib/ids.ts";
import { retryDelayMs } from "../lib/retry.ts";
import { failed, finished, started } from "../trust/node-orders.ts";
import { appStateOf, orderOf } from "../trust/node-state.ts";
import type { AppContext } from "./app-context.ts";
import { collectGarbage } from "./gc.ts";
import { appFolders, flipCurrent, readCurrent } from "./folders.ts";
import { goalOf } from "./goal.ts";
import {
  afterFailure,
  attemptFor,
  isPatient,
  oldServes,
  outcomeOf,
  plan,
  turned,
  type Actual,
  type Attempt,
  type Goal,
  type StepName,
} from "./plan.ts";
import { failureText, receiptOf, type ReceiptInput } from "./receipt-of.ts";
import { newRecord, withGood, withVerdict, type AppRecord } from "./records.ts";
import { STEPS, type AttemptStep, type StepResult } from "./steps.ts";
import type { Warning } from "./runtime/runtime.ts";

/** How far an order is on this node, for reports. */
export interface WorkerProgress {
  readonly order: Digest;
  readonly stage: string;
  readonly bytesDone: number;
  readonly bytesTotal: number | null;
  readonly note: string | null;
}

const HELD_LOOK_MS = 1000;
const BACKOFF = { baseMs: 150, maxMs: 60_000 } as const;
const KEEPER_TRIES = 5;

/**
 * Converges one app: asks the plan for the next step, does it, writes down that it is done, and asks again. It is
 * the only one that changes this app on this node.
 */
export class AppWorker {
  readonly app: string;
  readonly #context: AppContext;
  #kick = Promise.withResolvers<void>();
  /** Ends the step that is under way, where it may be broken off. */
  #step: AbortController | undefined;
  #failures = 0;
  #warnings: Warning[] = [];
  progress: WorkerProgress | undefined;

  constructor(app: string, context: AppContext) {
    this.app = app;
    this.#context = context;
  }

  /** Something changed: look again. */
  kick(): void {
    this.#kick.resolve();
    const attempt = this.record?.attempt;
    if (attempt && this.#step !== undefined && turned(this.goal(), attempt) !== null) this.#step.abort();
  }

  get record(): AppRecord | undefined {
    return this.#context.records.get(this.app);
  }

  goal(): Goal | null {
    const { store, clock, signer, pace } = this.#context;
    const context = { now: clock.now(), self: signer.kid };
    const goals = this.#environments().map((env) => {
      const record = this.record?.env === env ? this.record : newRecord(this.app, env);
      return goalOf(store.state, record, pace(), context);
    });
    return (
      goals.find((goal) => goal !== null && goal.state === "run") ??
      goals.find((goal) => goal !== null) ??
      null
    );
  }

  /** Whether what should run could not be made to. */
  get isFailing(): boolean {
    return this.#failures > 0;
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
        this.#failures += 1;
        await this.#rest(this.#backoffMs(), undefined, signal);
      }
    }
  }

  /** Does one step. Resolves to how long to wait before the next look, in ms; 0: look at once. */
  async #once(signal: AbortSignal): Promise<number> {
    await this.#answerWithdrawn();
    const goal = this.goal();
    const actual = await this.#actual();
    const [step] = plan(goal, actual);
    if (step === undefined) {
      this.#failures = 0;
      return goal !== null && !goal.go ? HELD_LOOK_MS : -1;
    }
    if (actual.attempt !== null && step !== "turn") return await this.#advance(actual.attempt, step, signal);
    return await this.#outside(step, goal, actual, signal);
  }

  /** Steps outside of an attempt's row. */
  async #outside(step: StepName, goal: Goal | null, actual: Actual, signal: AbortSignal): Promise<number> {
    if (step === "begin" && goal !== null) return await this.#begin(goal, actual);
    if (step === "turn" && actual.attempt !== null) {
      const back = turned(goal, actual.attempt);
      await this.#keep({ ...this.#existing(), attempt: { ...actual.attempt, back } });
      faultPoint("agent.turned");
      return 0;
    }
    if (step === "adopt" && goal !== null) await this.#adopt(goal);
    if (step === "mend")
      await flipCurrent(appFolders(this.#context.paths, this.app), actual.reached?.release ?? null);
    if (step === "revive") return await this.#revive(signal);
    if (step === "tidy") await this.#tidy();
    return 0;
  }

  async #begin(goal: Goal, actual: Actual): Promise<number> {
    const env = this.#envOf(goal.order);
    const record =
      this.record?.env === env ? this.record : { ...newRecord(this.app, env), good: this.record?.good ?? [] };
    const { store, clock, signer, log } = this.#context;
    const name = { app: this.app, env, order: goal.order };
    const context = { now: clock.now(), self: signer.kid };
    const [outcome] = await store.apply([(state) => started(state, name, context)]);
    faultPoint("agent.started");
    if (outcome?.kind === "refused") {
      log.warn("an order may not be started", { app: this.app, "err.code": outcome.error.code });
      return HELD_LOOK_MS;
    }
    const attempt = attemptFor(goal, actual);
    this.#warnings = [];
    await this.#keep({ ...record, attempt });
    faultPoint("agent.begun");
    log.info("order begun", { app: this.app, order: goal.order, mode: attempt.mode, release: goal.release });
    return 0;
  }

  async #advance(attempt: Attempt, step: StepName, signal: AbortSignal): Promise<number> {
    if (step === "finish") {
      await this.#finish(attempt);
      return 0;
    }
    this.#note(attempt, step, 0, null);
    const breakOff = new AbortController();
    this.#step = breakOff;
    const within = isPatient(step) ? AbortSignal.any([signal, breakOff.signal]) : signal;
    try {
      // An order that came between the last look and now has broken off nothing yet.
      if (turned(this.goal(), attempt) !== null) return 0;
      const result = await this.#do(attempt, step as AttemptStep, within);
      this.#failures = 0;
      await this.#done(attempt, step, result);
    } catch (err) {
      signal.throwIfAborted();
      if (breakOff.signal.aborted) return 0;
      return await this.#failed(attempt, step, err);
    } finally {
      this.#step = undefined;
    }
    return 0;
  }

  async #do(attempt: Attempt, step: AttemptStep, signal: AbortSignal): Promise<StepResult> {
    const result = await STEPS[step]({
      context: this.#context,
      record: this.#existing(),
      attempt,
      signal,
      onProgress: ({ stage, bytesDone, bytesTotal }) => {
        this.#note(attempt, stage, bytesDone, bytesTotal);
      },
    });
    return result ?? {};
  }

  async #done(
    attempt: Attempt,
    step: StepName,
    { cut = 0, warnings = [], synced }: StepResult,
  ): Promise<void> {
    this.#warnings.push(...warnings);
    for (const { code, message } of warnings) {
      this.#context.log.warn(message, { app: this.app, order: attempt.order, "err.code": code });
    }
    const record = this.#existing();
    await this.#keep({
      ...record,
      attempt: { ...attempt, done: [...attempt.done, step], cut: attempt.cut + cut },
      synced: synced === undefined ? record.synced : [...record.synced, synced],
    });
  }

  async #failed(attempt: Attempt, step: StepName, err: unknown): Promise<number> {
    this.#failures += 1;
    if (this.#mayPass(step, err)) return this.#backoffMs();
    const failure = isSkeinError(err) ? err : new SkeinError("INTERNAL", messageOf(err), { cause: err });
    const { code, message, data } = failure;
    this.#context.log.error("step failed", {
      app: this.app,
      order: attempt.order,
      step,
      "err.code": code,
      "err.message": message,
    });
    const text = failureText(message, data);
    this.#failures = 0;
    if (afterFailure(attempt, step) === "turn") {
      const back = { why: "failed", code, message: text } as const;
      await this.#keep({ ...this.#existing(), attempt: { ...attempt, back } });
      faultPoint("agent.turned-back");
      return 0;
    }
    const stuck =
      step === "back-attach" || step === "back-flip" || attempt.mode === "stop" ? text : attempt.stuck;
    await this.#keep({ ...this.#existing(), attempt: { ...attempt, stuck, done: [...attempt.done, step] } });
    return 0;
  }

  /** A cut line to the hub or the keeper says nothing about the release: the step is tried again. */
  #mayPass(step: StepName, err: unknown): boolean {
    if (isSkeinError(err, "KEEPER_UNREACHABLE")) return this.#failures < KEEPER_TRIES;
    return step === "install" && isSkeinError(err, "HUB_UNREACHABLE", "TIMEOUT", "TOO_MANY");
  }

  async #finish(attempt: Attempt): Promise<void> {
    const { store, instances, log } = this.#context;
    const record = this.#existing();
    const name = { app: this.app, env: record.env, order: attempt.order };
    const ended = endOf(attempt, this.#warnings);
    await store.apply([(state) => (ended.verdict === "ok" ? finished(state, name) : failed(state, name))]);
    faultPoint("agent.finish-marked");
    await this.#answer(ended, attempt);
    const reached = outcomeOf(attempt);
    const next =
      attempt.back === null && reached.release !== null
        ? withGood(this.#existing(), reached.release)
        : this.#existing();
    await this.#keep({ ...next, reached, attempt: null });
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
    this.progress = undefined;
    await collectGarbage(this.#context, this.#existing());
    faultPoint("agent.collected");
  }

  /** The order asks for what is here already. */
  async #adopt(goal: Goal): Promise<void> {
    const { store, clock, signer } = this.#context;
    const record = this.#existing();
    const name = { app: this.app, env: record.env, order: goal.order };
    const context = { now: clock.now(), self: signer.kid };
    const before = record.verdicts[goal.order];
    if (goal.back) {
      if (before !== "failed" && before !== "undone") {
        await this.#answer({ verdict: "undone", code: "UNDONE_BY_HUB", message: null, cut: 0 }, goal);
      }
    } else if (before === undefined) {
      await store.apply([(state) => started(state, name, context), (state) => finished(state, name)]);
      await this.#answer({ verdict: "ok", code: null, message: null, cut: 0 }, goal);
    }
    const reached = record.reached === null ? null : { ...record.reached, order: goal.order };
    await this.#keep({ ...this.#existing(), reached });
    faultPoint("agent.adopted");
  }

  /** What had run before a reboot, or before the keeper lost it. */
  async #revive(signal: AbortSignal): Promise<number> {
    const record = this.#existing();
    const { reached } = record;
    if (reached === null) return -1;
    const { instances, releases, log, depots } = this.#context;
    const running = new Set((await instances.running(this.app)).map(({ release }) => release));
    const ids = [reached.release, ...reached.beside].filter(
      (id): id is ReleaseId => id !== null && !running.has(id),
    );
    try {
      for (const id of ids) {
        faultPoint("agent.revive");
        if (!(await releases.isInstalled(this.app, id))) {
          await releases.ensure(record, id, depots(), signal, () => undefined);
        }
        const loaded = await releases.load(record, id);
        const runs = loaded.plan(reached.generation);
        await instances.serve(runs, signal);
        log.info("brought back", { app: this.app, release: id });
        // Nothing of it is for this node: then there is nothing to bring back either.
        if (runs.processes.length === 0) return -1;
      }
      this.#failures = 0;
      this.#context.onNews();
      return 0;
    } catch (err) {
      signal.throwIfAborted();
      this.#failures += 1;
      log.error("could not be brought back", { app: this.app, "err.message": messageOf(err) });
      return this.#backoffMs();
    }
  }

  async #tidy(): Promise<void> {
    const { reached } = this.#existing();
    const wanted =
      reached === null || reached.state === "stopped" ? [] : [reached.release, ...reached.beside];
    for (const run of await this.#context.instances.running(this.app)) {
      if (!wanted.includes(run.release)) await this.#context.instances.retire(run);
    }
  }

  /** An order that the hub took back before this node had started it is answered too: the rollout waits for it. */
  async #answerWithdrawn(): Promise<void> {
    for (const env of this.#environments()) {
      const { head } = appStateOf(this.#context.store.state, this.app, env);
      if (head?.progress !== "withdrawn") continue;
      const record = this.record ?? newRecord(this.app, env);
      if (record.verdicts[head.digest] !== undefined) continue;
      const { epoch, seq, release } = orderOf(head);
      const ended = { verdict: "undone", code: "UNDONE_BY_HUB", message: null, cut: 0 } as const;
      await this.#keep(record);
      await this.#answer(ended, { order: head.digest, answers: { epoch, seq, release } });
    }
  }

  async #answer(ended: Ended, to: Pick<ReceiptInput, "order" | "answers">): Promise<void> {
    const record = this.#existing();
    const { app, env } = record;
    const { order, answers } = to;
    const receipt = await receiptOf({ app, env, order, answers, ...ended }, this.#context);
    await this.#context.outbox.put(receipt);
    await this.#keep({ ...withVerdict(record, order, ended.verdict), lastReceipt: receipt });
    faultPoint("agent.answered");
  }

  async #actual(): Promise<Actual> {
    const { paths, instances, releases } = this.#context;
    const { record } = this;
    const running = new Set((await instances.running(this.app)).map(({ release }) => release));
    const reached = record?.reached ?? null;
    // A release without processes on this node serves by being there.
    if (record !== undefined && reached !== null && reached.state === "run") {
      for (const id of [reached.release, ...reached.beside]) {
        if (id === null || running.has(id) || !(await releases.isInstalled(this.app, id))) continue;
        const loaded = await releases.load(record, id);
        if (loaded.plan(0).processes.length === 0) running.add(id);
      }
    }
    const current = await readCurrent(appFolders(paths, this.app));
    return { current, reached, attempt: record?.attempt ?? null, running: [...running] };
  }

  #environments(): readonly string[] {
    return Object.values(this.#context.store.state.apps)
      .filter(({ app }) => app === this.app)
      .map(({ env }) => env);
  }

  #envOf(order: Digest): string {
    const { apps } = this.#context.store.state;
    const found = Object.values(apps).find(
      ({ app, head, standing, prior }) =>
        app === this.app && [head, standing, prior].some((held) => held?.digest === order),
    );
    return found?.env ?? "default";
  }

  #existing(): AppRecord {
    const { record } = this;
    if (record === undefined) throw new SkeinError("INTERNAL", `${this.app} has no record`);
    return record;
  }

  async #keep(record: AppRecord): Promise<void> {
    await this.#context.records.save(record);
    this.#context.onNews();
  }

  #note(attempt: Attempt, stage: string, bytesDone: number, bytesTotal: number | null): void {
    const note = attempt.release === null ? null : shortRelease(this.app, attempt.release);
    this.progress = { order: attempt.order, stage, bytesDone, bytesTotal, note };
    this.#context.onNews();
  }

  #backoffMs(): number {
    return retryDelayMs(this.#failures, { ...BACKOFF, random: Math.random });
  }

  async #rest(ms: number, kicked: Promise<void> | undefined, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    const waits = [
      new Promise<void>((resolve) => until.addEventListener("abort", () => resolve(), { once: true })),
    ];
    if (kicked !== undefined) waits.push(kicked);
    if (ms > 0) waits.push(this.#context.clock.sleep(ms, until).catch(() => undefined));
    await Promise.race(waits);
    over.abort();
  }
}

type Ended = Pick<ReceiptInput, "verdict" | "code" | "message" | "cut">;

function endOf(attempt: Attempt, warnings: readonly Warning[]): Ended {
  const { back, cut, stuck, mode } = attempt;
  if (back === null && stuck === null) {
    const [warning] = warnings;
    if (mode === "return") return { verdict: "undone", code: "UNDONE_BY_HUB", message: null, cut };
    return { verdict: "ok", code: warning?.code ?? null, message: warning?.message ?? null, cut };
  }
  if (stuck !== null || mode === "return") {
    const message = [back?.message, stuck].filter((part) => part != null).join("; and the old version: ");
    return { verdict: "failed", code: "UNDO_INCOMPLETE", message, cut };
  }
  const verdict = back?.why === "failed" ? "failed" : "undone";
  const left = oldServes(attempt) ? "the old version serves" : "nothing runs";
  return { verdict, code: back?.code ?? null, message: `${back?.message ?? ""} (${left})`, cut };
}
