/** Someone who asks an app all the time while its versions change hands. */
import { once } from "node:events";
import http from "node:http";
import { text as textOf } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";

/** What of the drain is long enough for a client that is let run: the time from connecting to the first byte. */
export const WINDOW_MS = 50;

/**
 * Asks again and again, each time on a new connection. A client that itself stood still for longer than the drain's
 * window between connecting and asking (this process also publishes, forks and waits for a core) is told the
 * connection is closed, and has lost nothing: that is what the window says. Whatever else is not answered is lost.
 */
export function watchful(
  port: number,
  good: ReadonlySet<string>,
  pauseMs = 40, // an agent's start takes hundreds
): { readonly bad: string[]; readonly late: string[]; end(): Promise<number> } {
  const bad: string[] = [];
  const late: string[] = [];
  let asked = 0;
  const stop = new AbortController();
  const work = (async () => {
    while (!stop.signal.aborted) {
      asked += 1;
      const { text, sentAfterMs } = await ask(port);
      if (!good.has(text)) (sentAfterMs > WINDOW_MS && HUNG_UP.test(text) ? late : bad).push(text);
      await sleep(pauseMs);
    }
  })();
  return {
    bad,
    late,
    async end() {
      stop.abort();
      await work;
      return asked;
    },
  };
}

const HUNG_UP = /ECONNRESET|EPIPE|socket hang up/;

/** @returns the answer or the failure, and when the request had left, in ms since it was begun */
async function ask(port: number): Promise<{ text: string; sentAfterMs: number }> {
  const began = performance.now();
  let sentAfterMs: number | undefined;
  const request = http.get({ host: "127.0.0.1", port, agent: false, timeout: PATIENCE_MS });
  request.once("finish", () => (sentAfterMs = performance.now() - began));
  request.once("timeout", () => request.destroy(new Error("no answer")));
  const heard = async (): Promise<string> => {
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    return await textOf(response);
  };
  const text = await heard().catch((err: unknown) => String(err));
  return { text, sentAfterMs: sentAfterMs ?? performance.now() - began };
}
