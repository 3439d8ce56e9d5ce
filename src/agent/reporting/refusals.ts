import type { Log } from "../../lib/process/log.ts";
import { SaidOnce } from "../../lib/process/said-once.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { receiptOf } from "../attempt/receipt-of.ts";
import type { Refusal } from "../node/intake.ts";

type RefusalsContext = Pick<AppContext, "outbox" | "onNews"> & Parameters<typeof receiptOf>[1];

/** What this node did not take, and what is wrong with it: each is said once. */
export class Refusals {
  readonly #context: RefusalsContext;
  readonly #log: Log;
  readonly #said = new SaidOnce();
  readonly #alarms = new Set<string>();

  constructor(context: RefusalsContext, log: Log) {
    this.#context = context;
    this.#log = log;
  }

  /** In the log, and for an order in a receipt. */
  async refuse({ type, code, message, hint, alarm, order }: Refusal): Promise<void> {
    const key = `${code} ${order?.digest ?? message}`;
    if (!this.#said.isNews(key, this.#context.clock.now())) return;
    this.#log.warn("document refused", { type, alarm, "err.code": code, "err.message": message });
    if (order === null) return;
    const { app, env, epoch, seq, release } = order.body;
    const answers = { epoch, seq, release };
    const verdict = "refused" as const;
    const input = { app, env, order: order.digest, answers, verdict, code, message, hint, cut: 0 };
    try {
      await this.#context.outbox.put(await receiptOf(input, this.#context));
    } catch (err) {
      // It is offered again: then the receipt is tried once more.
      this.#said.unsay(key);
      throw err;
    }
    this.#context.onNews("now");
  }

  /** Once, until it has passed. @param message null: all is well */
  alarm(code: "DUPLICATE" | "CLOCK_SKEW", message: string | null): void {
    if (message === null) return void this.#alarms.delete(code);
    if (!this.#alarms.has(code)) this.#log.error(message, { "err.code": code });
    this.#alarms.add(code);
  }
}
