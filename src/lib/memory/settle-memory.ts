import { collect } from "./collect.ts";

declare global {
  /** Of the package's entry: keeps what V8 has compiled for the next start. */
  var skeinKeepCompiled: (() => void) | undefined;
}

const AFTER_MS = 3000;
/** What is done with fewer files leaves too little behind. */
const MANY_FILES = 5000;

/**
 * For daemons that idle for days: gives back, once, what starting up left behind (source text, compiled code that runs
 * no more; 6 of 85 MiB), or a piece of work with very many objects. V8 alone keeps it, since an idle program allocates
 * too little to make it look. Takes some 50 ms, 3 s after the call; keeps no process alive. The next start calls that
 * code again, so it is written down before.
 */
export function settleMemory(): void {
  setTimeout(() => {
    globalThis.skeinKeepCompiled?.();
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
  }, AFTER_MS).unref();
}

/** The same after a piece of work with so many files, where they were many. */
export function settleMemoryAfter(files: number): void {
  if (files >= MANY_FILES) settleMemory();
}
