import fs from "node:fs/promises";
import path from "node:path";
import timers from "node:timers/promises";

export interface LogOptions {
  /** Only this process's instances, or one (`web.1`), or `hooks`; absent: all. */
  readonly process: string | undefined;
  /** Last lines of each file. */
  readonly lines: number;
  readonly follow: boolean;
  /** Where to begin, by instance, in bytes: nothing before that is given, and of others nothing that is there now. */
  readonly since?: ReadonlyMap<string, number> | undefined;
}

export interface LogLine {
  readonly type: "line";
  /** `web.1`, or `hooks`. */
  readonly instance: string;
  readonly line: string;
}

const LOOK_MS = 200;
const TAIL_BYTES = 256 * 1024;

/** The last lines of an app's logs, then (with `follow`) what is added, until `signal` aborts. */
export async function* followLogs(
  logDir: string,
  app: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void> {
  const dir = path.join(logDir, app);
  const tails = new Map<string, Tail>();
  for (let first = true; first || (options.follow && !signal.aborted); first = false) {
    for (const name of await logNames(dir, options.process)) {
      const tail = tails.get(name) ?? { offset: first ? -1 : 0, rest: "" };
      tails.set(name, tail);
      const instance = instanceOf(name);
      const from = options.since === undefined ? 0 : (options.since.get(instance) ?? Infinity);
      const lines = await readOn(path.join(dir, name), tail, { last: options.lines, from });
      for (const line of lines) yield { type: "line", instance, line };
    }
    if (options.follow) await timers.setTimeout(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

interface Tail {
  /** Next byte to read; -1: the last lines are wanted first. */
  offset: number;
  rest: string;
}

async function logNames(dir: string, process: string | undefined): Promise<readonly string[]> {
  const names = await fs.readdir(dir).catch(() => []);
  const logs = names.filter((name) => name.endsWith(".log")).sort();
  return process === undefined
    ? logs
    : logs.filter((name) => [instanceOf(name), processOf(name)].includes(process));
}

const instanceOf = (log: string): string => log.slice(0, -".log".length);
const processOf = (log: string): string => instanceOf(log).replace(/\.\d+$/, "");

/** A file that is shorter than that was rotated meanwhile. */
const beginning = (from: number, size: number): number =>
  from <= size ? from : Number.isFinite(from) ? 0 : size;

/** @param first of what is there when it is read for the first time: so many lines, none before that byte */
async function readOn(
  file: string,
  tail: Tail,
  first: { readonly last: number; readonly from: number },
): Promise<readonly string[]> {
  await using handle = await fs.open(file, "r");
  const { size } = await handle.stat();
  const isFirst = tail.offset < 0;
  if (isFirst) tail.offset = Math.max(beginning(first.from, size), size - TAIL_BYTES);
  // Rotation copies and truncates: a file that shrank begins anew.
  if (size < tail.offset) tail.offset = 0;
  const buffer = Buffer.alloc(Math.min(size - tail.offset, 4 * TAIL_BYTES));
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, tail.offset);
  tail.offset += bytesRead;
  const lines = (tail.rest + buffer.toString("utf8", 0, bytesRead)).split("\n");
  tail.rest = lines.pop() ?? "";
  return isFirst ? lines.slice(Math.max(0, lines.length - first.last)) : lines;
}
