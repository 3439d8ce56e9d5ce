import http from "node:http";

/** How one request ended. `late` is an answer after {@link LATE_MS}; `wrong` any status or text but the expected. */
export type Outcome = "ok" | "refused" | "reset" | "cut" | "late" | "wrong" | "other";

export interface LoadTarget {
  readonly host: string;
  readonly port: number;
}

export interface LoadReport {
  readonly sent: number;
  readonly lost: number;
  readonly byOutcome: Readonly<Partial<Record<Outcome, number>>>;
  /** Answer text → how often. */
  readonly answers: ReadonlyMap<string, number>;
}

export interface LoadOptions {
  readonly targets: readonly LoadTarget[];
  /** Requests a second over all targets: half on kept connections, half each on a new one. */
  readonly perSecond: number;
  /** Whether an answer's text is a right one. */
  readonly right: (text: string) => boolean;
}

export const LATE_MS = 2000;
const TICK_MS = 20;
/**
 * Held up for so long, this process says nothing about whom it asks: it did not ask, did not read what was answered, and
 * does not know yet which idle connections were ended meanwhile (Node's servers wait 5 s for the next request).
 */
const HELD_UP_MS = 1000;

/**
 * Open-loop load: requests start by the clock, whatever became of those before, so a stall is seen as what it is. Only
 * its own stalls, on a machine that lets nothing run, are not counted.
 */
export class Load {
  readonly #options: LoadOptions;
  readonly #kept = new http.Agent({ keepAlive: true, maxSockets: 16 });
  readonly #open = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #counts = new Map<Outcome, number>();
  #answers = new Map<string, number>();
  #started = 0;
  /** In all, since the start. */
  #heldUpMs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  start(): void {
    const begun = performance.now();
    let before = begun;
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (now - before > HELD_UP_MS) this.#wasHeldUp(now - before);
      before = now;
      const due = Math.floor(((now - begun - this.#heldUpMs) / 1000) * this.#options.perSecond);
      while (this.#started < due) this.#send(this.#started++);
    }, TICK_MS);
  }

  /** What happened since the last call; waits for the requests that are under way. */
  async report(): Promise<LoadReport> {
    await Promise.all(this.#open);
    const byOutcome = Object.fromEntries(this.#counts);
    const answers = this.#answers;
    const sent = [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
    this.#counts = new Map();
    this.#answers = new Map();
    return { sent, lost: sent - (byOutcome["ok"] ?? 0), byOutcome, answers };
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#kept.destroy();
  }

  #wasHeldUp(ms: number): void {
    this.#heldUpMs += ms;
    for (const idle of Object.values(this.#kept.freeSockets))
      for (const socket of idle ?? []) socket.destroy();
  }

  #send(n: number): void {
    const target = this.#options.targets[n % this.#options.targets.length];
    if (target === undefined) return;
    const kept = Math.floor(n / this.#options.targets.length) % 2 === 0;
    const done = this.#request(target, kept).then((outcome) => {
      this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1);
      this.#open.delete(done);
    });
    this.#open.add(done);
  }

  #request(target: LoadTarget, kept: boolean): Promise<Outcome> {
    const begun = performance.now() - this.#heldUpMs;
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const request = http.get(
      { ...target, agent: kept ? this.#kept : false, timeout: LATE_MS * 5 },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => (text += part));
        response.on("error", () => resolve("cut"));
        response.on("end", () => {
          const ms = performance.now() - this.#heldUpMs - begun;
          resolve(this.#judge(response.statusCode, text, ms));
        });
      },
    );
    request.on("timeout", () => request.destroy(new Error("late")));
    request.on("error", (err: NodeJS.ErrnoException) => resolve(outcomeOf(err)));
    return promise;
  }

  #judge(status: number | undefined, text: string, ms: number): Outcome {
    if (status !== 200 || !this.#options.right(text)) return "wrong";
    if (ms > LATE_MS) return "late";
    const answer = text.trim();
    this.#answers.set(answer, (this.#answers.get(answer) ?? 0) + 1);
    return "ok";
  }
}

function outcomeOf(err: NodeJS.ErrnoException): Outcome {
  if (err.code === "ECONNREFUSED") return "refused";
  if (err.code === "ECONNRESET" || err.code === "EPIPE") return "reset";
  return err.message === "late" ? "late" : "other";
}
