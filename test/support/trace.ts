import { spawnSync } from "node:child_process";
import path from "node:path";

/** For `skip` of a test that needs strace. In CI nothing may be missing. */
export function noTrace(file: string): string | false {
  if (process.env["CI"] !== undefined) return false;
  if (spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0) return false;
  return `needs strace: sudo npm test -- ${file}`;
}

/** One system call that succeeded, in the order in which they ended. */
export interface Call {
  readonly name: string;
  /** Quoted words of its arguments. */
  readonly words: readonly string[];
  /** Path behind its first descriptor (`strace -y`); empty without one. */
  readonly on: string;
  readonly flags: string;
}

/** What `strace -f -qq -y -o` wrote. Calls that another thread interrupted on paper are put together again. */
export function readTrace(text: string): Call[] {
  const open = new Map<string, string>();
  return text.split("\n").flatMap((line): Call[] => {
    const [, pid = "", rest = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(rest)?.[1];
    if (begun !== undefined) open.set(pid, begun);
    if (begun !== undefined) return [];
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)?.[1];
    const whole = resumed === undefined ? rest : `${open.get(pid) ?? ""}${resumed}`;
    const [, name, args = ""] = /^(\w+)\((.*)\)\s+= \d/.exec(whole) ?? [];
    if (name === undefined) return [];
    const words = [...args.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word = ""]) => word);
    return [{ name, words, on: /^\d+<([^>]*)>/.exec(args)?.[1] ?? "", flags: args }];
  });
}

/** Where a rename leads; undefined for other calls. */
export function target(call: Call): string | undefined {
  return call.name.startsWith("rename") ? call.words[1] : undefined;
}

/** Index of the first flush of this file or folder after `from`; -1 when there is none. */
export function flushAfter(calls: readonly Call[], what: string, from: number): number {
  return calls.findIndex(({ name, on }, at) => at > from && FLUSH.has(name) && on === what);
}

/** What was made below `folder`, itself included, and not flushed, one by one or by syncfs, between two calls. */
export function unflushed(calls: readonly Call[], folder: string, from: number, to: number): string[] {
  const inside = (file: string): boolean => file === folder || file.startsWith(`${folder}/`);
  const part = calls.slice(from, to);
  if (part.some(({ name, on }) => name === "syncfs" && inside(on))) return [];
  const made = part.flatMap((call): string[] => {
    const { name, words, flags } = call;
    const creates = name.startsWith("mkdir") || (name === "openat" && flags.includes("O_CREAT"));
    return [creates ? (words[0] ?? "") : (target(call) ?? "")].filter(inside);
  });
  const movedOn = new Set(
    part.filter((call) => target(call) !== undefined).map(({ words }) => words[0] ?? ""),
  );
  const left = made.filter((file) => !movedOn.has(file));
  return left.filter((file) => !part.some(({ name, on }) => FLUSH.has(name) && on === file));
}

/** How a path came to be: the last call before `to` that made it. */
export function madeBy(
  calls: readonly Call[],
  what: string,
  to: number,
): { readonly call: Call; readonly at: number } | undefined {
  for (let at = to - 1; at >= 0; at--) {
    const call = calls[at];
    if (call === undefined) continue;
    const creates = call.name === "openat" && call.flags.includes("O_CREAT");
    if (creates && call.words[0] === what) return { call, at };
    if (call.name.startsWith("symlink") && call.words[1] === what) return { call, at };
    if (call.name.startsWith("mkdir") && call.words[0] === what) return { call, at };
  }
  return undefined;
}

const FLUSH = new Set(["fsync", "fdatasync"]);

export const folderOf = (file: string): string => path.dirname(file);
