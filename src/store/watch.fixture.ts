import type { TestContext } from "node:test";
import type { Store, StoreEvent } from "./store.ts";

/** A watch that is read by whoever asks for its next batches; it ends with the test. */
export function collect(
  store: Store,
  prefix: string,
  from: number,
  t: TestContext,
): { take(count: number): Promise<(readonly StoreEvent[])[]> } {
  const iterator = store.watch(prefix, from, t.signal)[Symbol.asyncIterator]();
  return {
    async take(count) {
      const batches: (readonly StoreEvent[])[] = [];
      while (batches.length < count) {
        const { done, value } = await iterator.next();
        if (done === true) break;
        batches.push(value);
      }
      return batches;
    },
  };
}

/** What a watch that fell behind is told, in a form to compare. */
export function dataOf(err: unknown): unknown {
  if (!(err instanceof Error) || !("code" in err) || !("data" in err)) return err;
  return { code: err.code, compacted: (err.data as { compacted?: unknown }).compacted };
}
