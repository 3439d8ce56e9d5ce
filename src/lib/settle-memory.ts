import { collect } from "./collect.ts";

const AFTER_START_MS = 3000;

/**
 * For daemons that idle for days: gives back, once, what starting up left behind (source text, compiled code that runs
 * no more; 6 of 85 MiB), or a piece of work with very many objects. V8 alone keeps it, since an idle program allocates too little to make it look. Takes some
 * 50 ms, 3 s after the call; keeps no process alive.
 */
export function settleMemory(): void {
  setTimeout(() => {
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
  }, AFTER_START_MS).unref();
}
