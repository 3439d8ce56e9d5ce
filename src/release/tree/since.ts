import { SkeinError } from "../../lib/errors/errors.ts";

/**
 * When each file's content first appeared in a release: runs of `count time` over the tree's files in order.
 * Installing sets the file's mtime to it, so caches and `make` see a change exactly when there is one.
 */
const SINCE_HEAD = "skein-since-1\n";
/** Longest run, in bytes. */
const RUN_BYTES = "999999999 99999999999999\n".length;

/** `times`: milliseconds since the epoch, one per file row. */
export function encodeSince(times: readonly number[]): Buffer {
  let text = SINCE_HEAD;
  for (let i = 0; i < times.length;) {
    const time = times[i];
    let run = i + 1;
    while (run < times.length && times[run] === time) run++;
    text += `${run - i} ${time}\n`;
    i = run;
  }
  return Buffer.from(text);
}

/** @throws SkeinError TREE_CORRUPT when it is not a table of exactly `files` times */
export function decodeSince(bytes: Uint8Array, files: number): number[] {
  // Each run is of a file at least: a longer table would cost memory before its first run is looked at.
  if (bytes.length > SINCE_HEAD.length + files * RUN_BYTES) throw badSince();
  const text = Buffer.from(bytes).toString("latin1");
  if (!text.startsWith(SINCE_HEAD) || !text.endsWith("\n")) throw badSince();
  const times = Array.from({ length: files }, () => 0);
  let known = 0;
  for (const line of text.slice(SINCE_HEAD.length).split("\n").slice(0, -1)) {
    const match = /^([1-9][0-9]{0,8}) ([0-9]{1,14})$/.exec(line);
    const count = Number(match?.[1]);
    if (match === null || known + count > files) throw badSince();
    times.fill(Number(match[2]), known, known + count);
    known += count;
  }
  if (known !== files) throw badSince();
  return times;
}

function badSince(): SkeinError {
  return new SkeinError("TREE_CORRUPT", "the table of times cannot be read");
}
