import v8 from "node:v8";
import vm from "node:vm";

/** Below this many things of some hundred bytes each, what a step leaves behind is not worth a look at the heap. */
const MANY = 10_000;

type Options = { type: "major"; execution: "sync"; flavor?: "last-resort" };

/**
 * Collects garbage now that a step which handled `count` things is over, where they were many. V8 lets the heap grow by
 * a good part of what is alive before it looks: one step's leavings would be held while the next one takes as much
 * again. Nothing else runs meanwhile: some 50 ms for a heap of 40 MiB.
 */
export function collectAfter(count: number): void {
  if (count >= MANY) collect({ type: "major", execution: "sync" });
}

/** Collects garbage, and with `last-resort` also what may be made again (compiled code), at once. */
export function collect(options: Options): void {
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("gc") as (options: Options) => void;
  v8.setFlagsFromString("--no-expose-gc");
  gc(options);
}
