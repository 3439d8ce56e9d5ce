import type http from "node:http";
import { SkeinError } from "../../lib/errors.ts";

/**
 * A signal for each request: aborted when its caller goes before it was answered, or when the hub stops. Most requests
 * are answered, and cost nothing more then; `AbortSignal.any` would make a chain of weak links for each.
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

  begin(res: http.ServerResponse): AbortSignal {
    const call = new AbortController();
    if (this.#stop.aborted) call.abort(this.#stop.reason);
    this.#open.add(call);
    res.once("close", () => {
      this.#open.delete(call);
      if (!res.writableFinished) call.abort(new SkeinError("INTERRUPTED", "the caller has gone"));
    });
    return call.signal;
  }
}
