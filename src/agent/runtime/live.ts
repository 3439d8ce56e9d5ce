import type { Live } from "../../app/manifest.ts";
import { systemClock } from "../../lib/clock.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { addressVariables } from "./address.ts";
import { runCheck } from "./checks.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { instanceKey, runKey, type ProcessPlan, type ReleasePlan, type RunRef } from "./plan.ts";
import { readStock, type Held } from "./stock.ts";

const STOP_GRACE_MS = 15_000;

/**
 * Asks instances that serve whether they still do (`health.live`) and starts those anew that fail too often in a row.
 * Their sockets' queues hold what comes meanwhile.
 */
export class LiveChecks {
  readonly #link: KeeperLink;
  readonly #log: Log;
  readonly #watched = new Map<string, AbortController>();

  constructor(link: KeeperLink, log: Log) {
    this.#link = link;
    this.#log = log;
  }

  /** From now on until `leave`. Idempotent. */
  watch(plan: ReleasePlan): void {
    if (this.#watched.has(runKey(plan))) return;
    const stop = new AbortController();
    this.#watched.set(runKey(plan), stop);
    for (const process of plan.processes) {
      if (process.live === null) continue;
      for (let index = 1; index <= process.count; index++) {
        void this.#watchOne(plan, process, process.live, index, stop.signal);
      }
    }
  }

  leave(run: RunRef): void {
    this.#watched.get(runKey(run))?.abort();
    this.#watched.delete(runKey(run));
  }

  end(): void {
    for (const stop of this.#watched.values()) stop.abort();
    this.#watched.clear();
  }

  async #watchOne(
    plan: ReleasePlan,
    process: ProcessPlan,
    live: Live,
    index: number,
    signal: AbortSignal,
  ): Promise<void> {
    const key = instanceKey(plan, process.name, index);
    let fails = 0;
    while (!signal.aborted) {
      try {
        await systemClock.sleep(live.everyMs, signal);
        const why = await this.#ask(plan, live, key, signal);
        fails = why === null ? 0 : fails + 1;
        if (fails < live.fails) continue;
        fails = 0;
        this.#log.warn("not live any more; starting it anew", { app: plan.app, instance: key, why });
        await this.#renew(key, process.drain.withinMs);
      } catch (err) {
        if (!signal.aborted) this.#log.error("live check", { instance: key, "err.message": messageOf(err) });
      }
    }
  }

  /** null also when it is not there to be asked: its end is the keeper's matter. */
  async #ask(plan: ReleasePlan, live: Live, key: string, signal: AbortSignal): Promise<string | null> {
    const held = await this.#serving(key);
    if (held === undefined) return null;
    const addresses = held.meta.checked;
    const env = { ...held.view.spec.env, ...addressVariables(addresses) };
    return await runCheck(live.check, { plan, env, addresses, clock: systemClock, signal });
  }

  async #serving(key: string): Promise<Held | undefined> {
    const { instances } = await readStock(this.#link);
    return instances.find(({ view }) => view.spec.key === key && view.state === "running" && view.attached);
  }

  async #renew(key: string, withinMs: number): Promise<void> {
    if ((await this.#serving(key)) === undefined) return;
    await this.#link.call("stop", { key }, withinMs + STOP_GRACE_MS);
    await this.#link.call("again", { key });
  }
}
