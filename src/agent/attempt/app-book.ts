import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { failed, finished, started } from "../../trust/node/node-orders.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import type { AppContext } from "./app-context.ts";
import { AS_IT_IS, TAKEN_BACK, type Ended } from "./ending.ts";
import type { Attempt, Goal } from "../plan/plan.ts";
import { receiptOf, type ReceiptInput } from "./receipt-of.ts";
import { newRecord, withVerdict, type AppRecord } from "../plan/records.ts";

/** What is written down about one app, and what it answered to orders. */
export class AppBook {
  readonly app: string;
  readonly #context: AppContext;

  constructor(app: string, context: AppContext) {
    this.app = app;
    this.#context = context;
  }

  get record(): AppRecord | undefined {
    return this.#context.records.get(this.app);
  }

  /** The record of an app that is known to have one. */
  get existing(): AppRecord {
    const { record } = this;
    if (record === undefined) throw new SkeinError("INTERNAL", `${this.app} has no record`);
    return record;
  }

  /** Environments of which this node holds orders. */
  get environments(): readonly string[] {
    return Object.values(this.#context.store.state.apps)
      .filter(({ app }) => app === this.app)
      .map(({ env }) => env);
  }

  /** Durable when it resolves. */
  async keep(record: AppRecord): Promise<void> {
    await this.#context.records.save(record);
    this.#context.onNews("later");
  }

  /** Held until the next `keep`: a crash before it forgets this. */
  note(record: AppRecord): void {
    this.#context.records.note(record);
  }

  /** The record that an order of the app goes on from: a new one where the environment is another. */
  recordFor(goal: Pick<Goal, "order" | "local">): AppRecord {
    const env = goal.local === true ? this.#heldEnv() : this.#envOf(goal.order);
    const { record } = this;
    return record?.env === env ? record : { ...newRecord(this.app, env), good: record?.good ?? [] };
  }

  /** Notes that what is wanted is begun: from here on it is this node's own. @returns why it may not be */
  async markStarted(goal: Goal, env: string): Promise<SkeinError | undefined> {
    if (goal.local === true) return undefined;
    const { store, clock, signer } = this.#context;
    const name = { app: this.app, env, order: goal.order };
    const context = { now: clock.now(), self: signer.kid };
    const [outcome] = await store.apply([(state) => started(state, name, context)]);
    return outcome?.kind === "refused" ? outcome.error : undefined;
  }

  /** Notes how an order ended. */
  async markEnded({ order, local }: Pick<Attempt, "order" | "local">, { verdict }: Ended): Promise<void> {
    if (local === true) return;
    const name = { app: this.app, env: this.existing.env, order };
    await this.#context.store.apply([
      (state) => (verdict === "ok" ? finished(state, name) : failed(state, name)),
    ]);
  }

  /**
   * Signs a receipt, queues it durably and notes it; once for each order and verdict. A hold gets none.
   * @param to `env`: the order's, where it is another than that of what is held
   */
  async answer(
    ended: Ended,
    to: Pick<ReceiptInput, "order" | "answers"> & { local?: boolean | undefined; env?: string },
  ): Promise<void> {
    const record = this.existing;
    if (to.local === true) {
      await this.keep(withVerdict(record, to.order, ended.verdict));
      return;
    }
    const { app } = record;
    const { order, answers, env = record.env } = to;
    if (record.verdicts[order] === ended.verdict) return;
    const receipt = await receiptOf({ app, env, order, answers, ...ended }, this.#context);
    await this.#context.outbox.put(receipt);
    this.#context.onNews("now");
    await this.keep({ ...withVerdict(record, order, ended.verdict), lastReceipt: receipt });
    faultPoint("agent.answered");
  }

  /** An order that the hub took back before this node had started it is answered too: the rollout waits for it. */
  async answerWithdrawn(): Promise<void> {
    for (const env of this.environments) {
      const { head } = appStateOf(this.#context.store.state, this.app, env);
      if (head?.progress !== "withdrawn") continue;
      const record = this.record ?? newRecord(this.app, env);
      if (record.verdicts[head.digest] !== undefined) continue;
      const { epoch, seq, release } = orderOf(head);
      await this.keep(record);
      await this.answer(TAKEN_BACK, { env, order: head.digest, answers: { epoch, seq, release } });
    }
  }

  /** The order asks for what is here already. */
  async adopt(goal: Goal): Promise<void> {
    const { reached } = this.existing;
    const record = this.recordFor(goal);
    if (record !== this.record) await this.keep({ ...record, reached });
    const { env, verdicts } = record;
    const before = verdicts[goal.order];
    if (goal.back) {
      if (before !== "failed") await this.answer(TAKEN_BACK, goal);
    } else if (before === undefined) {
      await this.markStarted(goal, env);
      await this.markEnded(goal, AS_IT_IS);
      await this.answer(AS_IT_IS, goal);
    }
    await this.keep({
      ...this.existing,
      reached: reached === null ? null : { ...reached, order: goal.order },
    });
    faultPoint("agent.adopted");
  }

  #heldEnv(): string {
    return this.#context.hold?.(this.app)?.env ?? "default";
  }

  #envOf(order: Digest): string {
    const found = Object.values(this.#context.store.state.apps).find(
      ({ app, head, standing, prior }) =>
        app === this.app && [head, standing, prior].some((held) => held?.digest === order),
    );
    return found?.env ?? "default";
  }
}
