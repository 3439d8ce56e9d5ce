/** Several questions in one request: over a far line each request costs a round trip, and everywhere both ends' time. */
import * as z from "zod";
import { hasPassed, type Clock } from "../lib/time/clock.ts";
import { fromWire, type WireError } from "../lib/errors/errors.ts";
import { errorBody } from "./field-schemas.ts";

/** In one request. What begins with a question asks for some six at most. */
export const MOST_TOGETHER = 16;
const LONGEST = 500;

export const questions = z.strictObject({
  /** With their queries, as they would be asked for by GET; only of what changes nothing and is answered at once. */
  paths: z.array(z.string().max(LONGEST)).min(1).max(MOST_TOGETHER),
});
const answer = z.union([errorBody, z.object({ body: z.unknown() })]);
/** In the order of the questions. */
export const answers = z.object({ answers: z.array(answer).max(MOST_TOGETHER) });
type Answer = z.infer<typeof answer>;

/** In as many requests as they take, without what no such request has room for. */
export function* requestsFor(paths: readonly string[]): Generator<readonly string[], void> {
  const short = paths.filter((path) => path.length <= LONGEST);
  for (let at = 0; at < short.length; at += MOST_TOGETHER) yield short.slice(at, at + MOST_TOGETHER);
}

/** What the hub said so long ago may have changed since, in ms. */
export const FRESH_MS = 2000;

interface Awaited {
  /** Undefined where the hub answers no questions together. */
  readonly answer: Promise<Answer | undefined>;
  /** When it came; undefined: not yet. In ms since the epoch. */
  at?: number;
}

/** Answers that came, or will, with others, by their questions. Each is told once, and while it is fresh. */
export class ToldTogether {
  readonly #clock: Clock;
  readonly #awaited = new Map<string, Awaited>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param ask gives the answers in the order of `paths`; undefined: the hub answers none together */
  expect(paths: readonly string[], ask: Promise<readonly Answer[] | undefined>): void {
    for (const [n, path] of paths.entries()) {
      const awaited: Awaited = { answer: ask.then((all) => all?.[n]) };
      this.#awaited.set(path, awaited);
      awaited.answer.then(
        () => (awaited.at = this.#clock.now()),
        () => undefined, // told to whoever asks
      );
    }
  }

  /** @throws the error that the question was answered with, or why there is no answer */
  async take(path: string): Promise<{ readonly body: unknown } | undefined> {
    const awaited = this.#awaited.get(path);
    this.#awaited.delete(path);
    if (awaited === undefined) return undefined;
    if (awaited.at !== undefined && hasPassed(FRESH_MS, awaited.at, this.#clock.now())) return undefined;
    const came = await awaited.answer;
    if (came === undefined) return undefined;
    if (!("error" in came)) return { body: came.body };
    const err = fromWire(came.error as WireError);
    // By itself it may be as long as it is.
    if (err.code === "DOC_TOO_BIG") return undefined;
    throw err;
  }
}
