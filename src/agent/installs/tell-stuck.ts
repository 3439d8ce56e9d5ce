import type { Log } from "../../lib/process/log.ts";
import type { OnStuck } from "../../release/install/stuck.ts";

/** Has what nothing can be done about told in the agent's log: work goes on without it. */
export function tellStuck(log: Log, app: string): OnStuck {
  return ({ code, message, hint }) => {
    log.warn("something stays that was to be removed", {
      app,
      "err.code": code,
      "err.message": message,
      hint,
    });
  };
}
