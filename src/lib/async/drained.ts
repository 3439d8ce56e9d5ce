import type { Writable } from "node:stream";

/** Waits until what was written has gone out, or nobody reads it any more: a line that was cut is told by its end. */
export async function drained(to: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  to.once("drain", resolve).once("close", resolve);
  await promise;
  to.off("drain", resolve).off("close", resolve);
}
