import type { Readable } from "node:stream";

/** Of a process the last so many are kept. */
export const STATUS_LINES = 20;
const LINE_CHARS = 1000;
/** A preload says a few words. After so many pieces, or a long one, nothing is read for a while, and who says more waits. */
const PIECES = 8;
const LONG_CHARS = 4096;
const PAUSE_MS = 100;

/**
 * Tells what a process says on its status pipe, in lines. It is the app that has the pipe: one that writes without end
 * has neither all of the keeper's time, nor has it tell the agent so much that this counts as deaf.
 */
export function readStatus(pipe: Readable, tell: (lines: readonly string[]) => void): void {
  let rest = "";
  let pieces = PIECES;
  pipe.on("error", () => undefined);
  pipe.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n").map((line) => line.slice(0, LINE_CHARS));
    rest = lines.pop() ?? "";
    tell(lines.slice(-STATUS_LINES));
    pieces -= 1;
    if (pieces > 0 && text.length <= LONG_CHARS) return;
    pipe.pause();
    setTimeout(() => {
      pieces = PIECES;
      pipe.resume();
    }, PAUSE_MS);
  });
}
