import type http from "node:http";
import { SkeinError } from "../../lib/errors/errors.ts";

/**
 * Signals of requests: aborted when the caller goes before it was answered, or when the hub stops. Made for handlers
 * that ask for one; most requests are answered, and cost nothing more then. `AbortSignal.any` would make a chain of weak
 * links for each.
 */
export class OpenCalls {
  readonly #stop: AbortSignal;
  readonly #open = new Set<AbortController>();

  constructor(stop: AbortSignal) {
    this.#stop = stop;
    const abort = (): void => {
      for (const call of this.#open) call.abort(stop.reason);
    };
    stop.addEventListener("abort", abort, { once: true });
  }

  signalOf(res: http.ServerResponse): AbortSignal {
    const call = new AbortController();
    const closed = (): void => {
      this.#open.delete(call);
      if (!res.writableFinished) call.abort(new SkeinError("INTERRUPTED", "the caller has gone"));
    };
    if (this.#stop.aborted) call.abort(this.#stop.reason);
    if (res.closed) {
      closed();
      return call.signal;
    }
    this.#open.add(call);
    res.once("close", closed);
    return call.signal;
  }
}
