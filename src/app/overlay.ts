import { isMap } from "./is-map.ts";
import type { KeyPath } from "./problem.ts";

/**
 * Lays `over` on `under`: maps are merged key by key, anything else replaces what was there. A short form below a map
 * is spelled out first: `/up` and `{ ready: { within: 60s } }` are that check with another time.
 */
export function overlay(under: unknown, over: unknown, path: KeyPath = []): unknown {
  const form = formAt(path);
  const below = under === undefined || isMap(under) ? under : (FORMS[form]?.(under) ?? under);
  if (!isMap(below) || !isMap(over)) return over;
  const merged =
    isCheck(form) && CHECKS.some((kind) => Object.hasOwn(over, kind)) ? unchecked(below) : { ...below };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = Object.hasOwn(below, key) ? overlay(below[key], value, [...path, key]) : value;
  }
  return merged;
}

/** By where they stand, `*` being any name: what the short forms are short for. */
const FORMS: Readonly<Record<string, (short: unknown) => unknown>> = {
  listen: (port) => ({ http: { port } }),
  "listen.*": (port) => ({ port }),
  health: (http) => ({ ready: { http } }),
  "health.ready": (http) => ({ http }),
  "health.live": (http) => ({ http }),
  build: (run) => ({ run }),
  version: (run) => ({ run }),
  verify: (run) => ({ run }),
  "hooks.*": (run) => ({ run }),
  "processes.*": (run) => ({ run }),
};

/** What stands in a process is written as at the top. */
function formAt(path: KeyPath): string {
  const [first = "", ...more] = path[0] === "processes" && path.length > 2 ? path.slice(2) : path;
  const anyName = ["listen", "hooks", "processes"].includes(String(first));
  return [first, ...more.map((key, n) => (anyName && n === 0 ? "*" : key))].join(".");
}

const isCheck = (form: string): boolean => form === "health.ready" || form === "health.live";

/** A check is one of these: another one takes its place. */
const CHECKS = ["http", "tcp", "run"];

const unchecked = (check: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(check).filter(([key]) => !CHECKS.includes(key)));

/** What the short form of one process is made of. */
const SHORT = ["run", "listen", "health"];

/**
 * Lays an environment on a manifest. Where it says `processes` over a manifest in the short form, both are spelled out
 * first: `run` is the process `web`.
 */
export function layEnvironment(base: unknown, over: unknown): unknown {
  const spells = isMap(base) && isMap(over) && "run" in base && isMap(over["processes"]) && !("run" in over);
  return spells ? overlay(spelledOut(base), spelledOut(over)) : overlay(base, over);
}

function spelledOut(short: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { processes, ...all } = short;
  const rest = Object.fromEntries(Object.entries(all).filter(([key]) => !SHORT.includes(key)));
  const web = Object.fromEntries(Object.entries(all).filter(([key]) => SHORT.includes(key)));
  return { ...rest, processes: overlay({ web }, processes ?? {}, ["processes"]) };
}

/** Where the short form has what its full form has at `path`. */
export function shortPath([first, second, third = "", ...more]: KeyPath): KeyPath | undefined {
  const isShort = first === "processes" && second === "web" && SHORT.includes(String(third));
  return isShort ? [third, ...more] : undefined;
}

/** Whether the variables of an environment stand there, which may be called anything. */
export function isEnvironment(path: KeyPath): boolean {
  const inner = path[0] === "environments" ? path.slice(2) : path;
  return inner.at(-1) === "env" && (inner.length === 1 || (inner[0] === "processes" && inner.length === 3));
}

/** Keys for people and other tools. */
export const isExtra = (key: string): boolean => key.startsWith("x-");

/** The same without those. */
export function withoutExtras(value: unknown, path: KeyPath = []): unknown {
  if (Array.isArray(value)) return value.map((item, i) => withoutExtras(item, [...path, i]));
  if (!isMap(value) || isEnvironment(path)) return value;
  const kept = Object.entries(value).filter(([name]) => !isExtra(name));
  return Object.fromEntries(kept.map(([name, item]) => [name, withoutExtras(item, [...path, name])]));
}
