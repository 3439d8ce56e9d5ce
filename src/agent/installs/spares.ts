import type { Clock } from "../../lib/time/clock.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { dropSpares, makeSpare, type SpareWish } from "../../release/install/spare.ts";
import type { AppRecord, Records } from "../plan/records.ts";
import type { AppFolders } from "./folders.ts";
import { tellStuck } from "./tell-stuck.ts";
import { until } from "../../lib/time/until.ts";

export interface SparesOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly records: Pick<Records, "all" | "get">;
  readonly folders: (app: string) => Pick<AppFolders, "revs">;
  /** What the spare of an app's current release is to be; undefined where it is to have none. */
  readonly wishOf: (record: AppRecord, release: ReleaseId) => Promise<SpareWish | undefined>;
}

/** Nothing was to be done for so long before a spare is made. */
const IDLE_MS = 1000;
/** It works a quarter of the time. */
const REST_PER_WORK = 3;

/**
 * Has the spare of each app's current release made while nothing else is to be done on this node (`release/install/spare.ts`).
 * Whoever has something to do makes it give way.
 */
export class Spares {
  readonly #options: SparesOptions;
  /** App → its current release; null: it is to have no spare. */
  readonly #wanted = new Map<string, ReleaseId | null>();
  #working = 0;
  #making: AbortController | undefined;
  #news = Promise.withResolvers<void>();

  constructor(options: SparesOptions) {
    this.#options = options;
  }

  /** Told whenever an app is where it should be: the release that runs then; null where none does. */
  want(app: string, release: ReleaseId | null): void {
    if (this.#wanted.get(app) === release) return;
    this.#wanted.set(app, release);
    this.#news.resolve();
  }

  /** What is being made is broken off; it goes on when nothing is to be done any more. */
  giveWay(): void {
    this.#making?.abort();
    this.#news.resolve();
  }

  /** Does work on releases' files while no spare is made. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    this.#working += 1;
    try {
      this.giveWay();
      return await work();
    } finally {
      this.#working -= 1;
      // It may have taken a spare.
      this.#news.resolve();
    }
  }

  /** For whoever needs the room. @returns whether there were any */
  dropAll(): boolean {
    this.giveWay();
    const apps = this.#options.records.all().map(({ app }) => app);
    return apps.filter((app) => this.#drop(app) > 0).length > 0;
  }

  /** Makes spares until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      using over = until([signal]);
      const ended = new Promise<void>((resolve) => {
        over.signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await Promise.race([this.#news.promise, ended]);
      this.#news = Promise.withResolvers();
      await clock.sleep(IDLE_MS, signal).catch(() => undefined);
      for (const [app, release] of this.#wanted) if (!signal.aborted) await this.#make(app, release, signal);
    }
  }

  /** @returns how many went */
  #drop(app: string): number {
    const { folders, log } = this.#options;
    return dropSpares(folders(app).revs, tellStuck(log, app));
  }

  async #make(app: string, release: ReleaseId | null, signal: AbortSignal): Promise<void> {
    const { clock, log, records, wishOf } = this.#options;
    if (this.#working > 0 || records.all().some(({ attempt }) => attempt !== null))
      return this.#news.resolve();
    const record = records.get(app);
    // It was until a moment ago.
    if (record === undefined || (release !== null && record.reached?.release !== release)) return;
    const making = new AbortController();
    this.#making = making;
    using within = until([signal, making.signal]);
    const rest = async (busyMs: number): Promise<void> =>
      await clock.sleep(busyMs * REST_PER_WORK, within.signal).catch(() => undefined);
    try {
      if (release === null) return void this.#drop(app);
      const wish = await wishOf(record, release);
      const onStuck = tellStuck(log, app);
      if (wish !== undefined) await makeSpare({ ...wish, rest, onStuck, signal: within.signal });
    } catch (err) {
      if (within.signal.aborted) return;
      log.warn("the next release's tree was not prepared", { app, release, "err.message": messageOf(err) });
    } finally {
      this.#making = undefined;
    }
  }
}
