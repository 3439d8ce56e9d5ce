import type { AppContext, StepFailure } from "../attempt/app-context.ts";
import type { Line } from "./command-lines.ts";

export interface Troubles {
  /** For the work that is told of. */
  readonly context: AppContext;
  lines(): Line[];
}

/** What held a command's work up nowhere, and yet is for whoever gave it to know: a pre-remove that failed. */
export function troubles(context: AppContext): Troubles {
  const failures: StepFailure[] = [];
  const onFailure = (failure: StepFailure): void => {
    failures.push(failure);
    context.onFailure?.(failure);
  };
  return {
    context: { ...context, onFailure },
    lines: () =>
      failures.map(({ step, release, code, message }) => ({ type: "trouble", step, release, code, message })),
  };
}
