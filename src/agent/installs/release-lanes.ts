import type { ReleaseId } from "../../lib/text/ids.ts";
import type { InstallProgress } from "../../release/install/install-progress.ts";
import { until } from "../../lib/time/until.ts";

type Listener = (progress: InstallProgress) => void;

interface Work {
  readonly app: string;
  readonly release: ReleaseId;
  readonly ended: Promise<void>;
  readonly listeners: Set<Listener>;
}

/** One piece of work on a release's files at a time: a deployment, a staging and gc may all mean the same one. */
export class ReleaseLanes {
  readonly #work = new Map<string, Work>();

  /** Releases of an app whose files are being worked on. */
  busy(app: string): readonly ReleaseId[] {
    return [...this.#work.values()].filter((work) => work.app === app).map(({ release }) => release);
  }

  /**
   * Runs `work` as soon as nobody else works on the release. `onProgress` hears of what it waits for, too.
   * Rejects when `signal` aborts while it waits.
   */
  async alone<T>(
    app: string,
    release: ReleaseId,
    work: (tell: Listener) => Promise<T>,
    options: { readonly signal: AbortSignal; readonly onProgress?: Listener },
  ): Promise<T> {
    const { signal, onProgress = () => undefined } = options;
    const key = `${app} ${release}`;
    for (let before = this.#work.get(key); before !== undefined; before = this.#work.get(key)) {
      before.listeners.add(onProgress);
      try {
        await endOf(before, signal);
      } finally {
        before.listeners.delete(onProgress);
      }
    }
    signal.throwIfAborted();
    const listeners = new Set([onProgress]);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#work.set(key, { app, release, ended: promise, listeners });
    try {
      return await work((progress) => {
        for (const listener of listeners) listener(progress);
      });
    } finally {
      this.#work.delete(key);
      resolve();
    }
  }
}

async function endOf({ ended }: Work, signal: AbortSignal): Promise<void> {
  using over = until([signal]);
  const aborted = new Promise<void>((resolve) => {
    over.signal.addEventListener("abort", () => resolve(), { once: true });
    if (over.signal.aborted) resolve();
  });
  await Promise.race([ended, aborted]);
  signal.throwIfAborted();
}
