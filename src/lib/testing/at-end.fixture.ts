/**
 * What a test opens, it closes: the last first, and all of it, whatever one of them throws. Hooks of the runner's own
 * run the first one first, so that a folder would go before the program that still writes there, and end at the first
 * that throws, so that whatever is behind it would keep the test's process alive.
 */
import type { TestContext } from "node:test";

const opened = new WeakMap<TestContext, AsyncDisposableStack>();

export function atEnd(t: TestContext, close: () => unknown): void {
  let stack = opened.get(t);
  if (stack === undefined) {
    stack = new AsyncDisposableStack();
    opened.set(t, stack);
    t.after(async () => await opened.get(t)?.disposeAsync());
  }
  stack.defer(async () => {
    await close();
  });
}
