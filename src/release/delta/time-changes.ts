import { type ByteReader, type ByteWriter, damaged } from "./byte-io.ts";

const MAX_TIME = 99_999_999_999_999;

/**
 * Times that cannot be told from the older tree: a content that was there keeps its time, any other is as old as most
 * of the new ones. What differs from that is listed, as steps from file to file and from time to time.
 * @param known per file, where the older tree has its content
 */
export function writeTimes(
  out: ByteWriter,
  times: readonly number[],
  known: readonly (number | undefined)[],
  old: readonly number[],
): void {
  const usual = mostCommon(times.filter((_, i) => known[i] === undefined));
  out.number(usual);
  let lastFile = -1;
  let lastTime = usual;
  for (const [i, time] of times.entries()) {
    if (time === expected(known[i], old, usual)) continue;
    out.number(i - lastFile - 1);
    out.signed(time - lastTime);
    lastFile = i;
    lastTime = time;
  }
}

/** @throws SkeinError DELTA_CORRUPT */
export function readTimes(
  column: ByteReader,
  known: readonly (number | undefined)[],
  old: readonly number[],
): number[] {
  const usual = column.number();
  const times = known.map((at) => expected(at, old, usual));
  let file = -1;
  let time = usual;
  while (!column.isDone) {
    file += column.number() + 1;
    time += column.signed();
    if (file >= times.length) throw damaged("it has times of files that are not there");
    times[file] = time;
  }
  if (times.some((value) => value < 0 || value > MAX_TIME)) throw damaged("a time is out of bounds");
  return times;
}

const expected = (known: number | undefined, old: readonly number[], usual: number): number =>
  known === undefined ? usual : (old[known] ?? 0);

function mostCommon(values: readonly number[]): number {
  const counts = new Map<number, number>();
  let best = 0;
  for (const value of values) {
    const count = (counts.get(value) ?? 0) + 1;
    counts.set(value, count);
    if (count > (counts.get(best) ?? 0)) best = value;
  }
  return best;
}
