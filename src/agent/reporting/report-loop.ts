import type { Report, Reported } from "../../api/schemas.ts";
import { forever, News, type ForeverOptions } from "../../lib/async/forever.ts";
import type { When } from "../attempt/app-context.ts";
import type { Source } from "../source/source.ts";
import { hasPassed } from "../../lib/time/clock.ts";
import { leastAheadMs } from "../../trust/charter/charter.ts";

/** Longest time between two reports; the port table forgets a node after 60 s. */
const REPORT_EVERY_MS = 20_000;
/** News that come within this time are reported together. */
const GATHER_MS = 40;
/** How long news may wait for others. */
const WITHIN_MS: Readonly<Record<When, number>> = { now: 0, soon: 2000, later: 8000 };

export interface ReportLoopOptions extends Omit<ForeverOptions, "onFailure"> {
  readonly source: () => Promise<Source>;
  readonly report: () => Promise<Report>;
  /** @param skewMs the hub's clock less this machine's, at least */
  readonly delivered: (reported: Reported, skewMs: number) => Promise<void>;
  /** Default 20 000. */
  readonly everyMs?: number | undefined;
}

/** Says what this node does: at news, and often enough that what the hub knows of it lives on. */
export class ReportLoop {
  readonly #options: ReportLoopOptions;
  readonly #everyMs: number;
  readonly #news: News;
  #last: { readonly text: string; readonly at: number } | undefined;

  constructor(options: ReportLoopOptions) {
    this.#options = options;
    this.#everyMs = options.everyMs ?? REPORT_EVERY_MS;
    this.#news = new News(options.clock, options.signal);
  }

  tell(when: When): void {
    // Until it has said anything nobody knows that this node is there.
    this.#news.tell(this.#last === undefined ? 0 : WITHIN_MS[when]);
  }

  /** Until the signal aborts. */
  async run(): Promise<void> {
    // What could not be reported is news still.
    const onFailure = (): void => {
      this.#last = undefined;
      this.#news.tell();
    };
    await forever({ ...this.#options, onFailure }, (signal) => this.#turn(signal));
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { clock, source, report, delivered } = this.#options;
    const mostMs = this.#last === undefined ? this.#everyMs : this.#leftMs(this.#last.at, clock.now());
    await this.#news.wait({ mostMs, gatherMs: GATHER_MS }, signal);
    const from = await source();
    const said = await report();
    // Receipts are told until they were taken; everything else need not be told twice.
    const text = JSON.stringify({ ...said, at: null, receipts: null });
    const isDue = this.#last === undefined || hasPassed(this.#everyMs, this.#last.at, clock.now());
    if (!isDue && said.receipts.length === 0 && text === this.#last?.text) return;
    const sentAt = clock.now();
    const reported = await from.report(said, signal);
    const at = clock.now();
    this.#last = { text, at };
    await delivered(reported, leastAheadMs(Date.parse(reported.hubTime), sentAt, at));
  }

  /** Until a report is due. */
  #leftMs(last: number, now: number): number {
    return hasPassed(this.#everyMs, last, now) ? 0 : last + this.#everyMs - now;
  }
}
