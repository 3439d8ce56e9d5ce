import fs from "node:fs/promises";
import path from "node:path";
import { StringDecoder } from "node:string_decoder";
import timers from "node:timers/promises";
import type { LogPlaces } from "../../api/log-places.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { cutLine, lineBegun } from "../../lib/text/lines.ts";
import { HOOKS_LOG } from "../programs/app-log.ts";

export interface LogOptions {
  /** Only this process's instances, or one (`web.1`), or `hooks`; absent: all. */
  readonly process: string | undefined;
  /** Last lines of each file. */
  readonly lines: number;
  readonly follow: boolean;
  /** Where to begin, by instance, in bytes: nothing before that is given, and of others nothing that is there now. */
  readonly since?: ReadonlyMap<string, number> | undefined;
  /** Where to go on, by instance: of others all is given. */
  readonly after?: LogPlaces | undefined;
  /** Told is also how far that is, from which another one may go on. */
  readonly places?: boolean;
}

export interface LogLine {
  readonly type: "line";
  /** `web.1`, or `hooks`. */
  readonly instance: string;
  readonly line: string;
}

/** All before it was given. */
export interface LogAt {
  readonly type: "at";
  readonly instance: string;
  readonly at: number;
}

const LOOK_MS = 200;
const TAIL_BYTES = 256 * 1024;
const LINE_CHARS = 64 * 1024;
const MOST_AT_ONCE = 4 * TAIL_BYTES;

/** The last lines of an app's logs, then (with `follow`) what is added, until `signal` aborts. */
export async function* followLogs(
  logDir: string,
  app: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<LogLine | LogAt, void> {
  const dir = path.join(logDir, app);
  const tails = new Map<string, Tail>();
  for (let first = true; first || (options.follow && !signal.aborted); first = false) {
    for (const name of await logNames(dir, options.process)) {
      const instance = instanceOf(name);
      const tail = tails.get(name) ?? firstTail(options, instance, first);
      tails.set(name, tail);
      const before = tail.lineAt;
      for (const line of await read(path.join(dir, name), tail, instance, options))
        yield { type: "line", instance, line };
      if (options.places === true && tail.lineAt !== before) yield { type: "at", instance, at: tail.lineAt };
    }
    if (options.follow) await timers.setTimeout(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** @param first of all looks: what is there later began after that */
function firstTail({ after }: LogOptions, instance: string, first: boolean): Tail {
  if (after === undefined || !first) return newTail(first ? -1 : 0);
  const { at, lines } = after.get(instance) ?? { at: 0, lines: 0 };
  return { ...newTail(at), skip: lines };
}

async function read(
  file: string,
  tail: Tail,
  instance: string,
  { since, lines, follow }: LogOptions,
): Promise<readonly string[]> {
  const from = since === undefined ? 0 : (since.get(instance) ?? Infinity);
  const told = await readOn(file, tail, { last: lines, from, isAll: !follow });
  const skipped = Math.min(tail.skip, told.length);
  tail.skip -= skipped;
  return told.slice(skipped);
}

interface Tail {
  /** Next byte to read; -1: the last lines are wanted first. */
  offset: number;
  /** Where the line begins of which the end was not read yet; -1 before the first look. */
  lineAt: number;
  /** Lines that are still to be passed over. */
  skip: number;
  /** A line whose end was not read yet. */
  rest: string;
  /** Holds back a character of which not all bytes were read yet. */
  readonly decoder: StringDecoder;
}

const newTail = (offset: number): Tail => ({
  offset,
  lineAt: -1,
  skip: 0,
  rest: "",
  decoder: new StringDecoder("utf8"),
});

async function logNames(dir: string, process: string | undefined): Promise<readonly string[]> {
  const names = await fs.readdir(dir).catch(() => []);
  const logs = names.filter((name) => name.endsWith(".log")).sort();
  if (process === undefined) return logs;
  const isOf = (log: string): boolean => process !== HOOKS_LOG && processOf(log) === process;
  return logs.filter((name) => instanceOf(name) === process || isOf(name));
}

const instanceOf = (log: string): string => log.slice(0, -".log".length);
const processOf = (log: string): string => instanceOf(log).replace(/\.\d+$/, "");

/** A file that is shorter than that was rotated meanwhile. */
const beginning = (from: number, size: number): number =>
  from <= size ? from : Number.isFinite(from) ? 0 : size;

/**
 * @param first of what is there when it is read for the first time: so many lines, none before that byte; where it is
 * all, a line without end is one, too
 */
async function readOn(
  file: string,
  tail: Tail,
  first: { readonly last: number; readonly from: number; readonly isAll: boolean },
): Promise<readonly string[]> {
  await using handle = await fs.open(file, "r");
  const { size } = await handle.stat();
  const isFirst = tail.offset < 0;
  const before = isFirst
    ? await startOf(file, tail, first.from, size)
    : await restOfRotated(file, tail, size);
  const bytes = await readAt(handle, tail.offset, size - tail.offset);
  const end = bytes.lastIndexOf("\n");
  if (end >= 0 || tail.lineAt < 0) tail.lineAt = tail.offset + end + 1;
  tail.offset += bytes.length;
  const lines = (tail.rest + before + tail.decoder.write(bytes)).split("\n");
  const begun = lines.pop() ?? "";
  if (first.isAll && begun !== "") lines.push(begun);
  else tail.rest = lineBegun(begun, LINE_CHARS);
  const told = isFirst ? lines.slice(Math.max(0, lines.length - first.last)) : lines;
  return told.map((line) => cutLine(line, LINE_CHARS));
}

/** Where to begin. @returns what of the log that was rotated last belongs to the last lines, when this one is short */
async function startOf(file: string, tail: Tail, from: number, size: number): Promise<string> {
  tail.offset = Math.max(beginning(from, size), size - TAIL_BYTES);
  if (from > 0 || tail.offset > 0) return "";
  return await ofRotated(file, tail, (rotated) => Math.max(0, rotated - (TAIL_BYTES - size)));
}

/** Rotation copies and truncates: of a file that shrank, what came since the last look is in the copy. */
async function restOfRotated(file: string, tail: Tail, size: number): Promise<string> {
  if (size >= tail.offset) return "";
  const { offset } = tail;
  tail.offset = 0;
  tail.lineAt = -1;
  return await ofRotated(file, tail, () => offset);
}

async function ofRotated(file: string, tail: Tail, startAt: (size: number) => number): Promise<string> {
  try {
    await using handle = await fs.open(`${file}.1`, "r");
    const { size } = await handle.stat();
    return tail.decoder.write(await readAt(handle, startAt(size), size - startAt(size)));
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return "";
    throw err;
  }
}

async function readAt(handle: fs.FileHandle, at: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(Math.min(Math.max(0, bytes), MOST_AT_ONCE));
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
  return buffer.subarray(0, bytesRead);
}
