import { isMap } from "./later.ts";
import type { KeyPath } from "./problem.ts";

/** Lays `over` on `under`: maps are merged key by key, anything else replaces what was there. */
export function overlay(under: unknown, over: unknown): unknown {
  if (!isMap(under) || !isMap(over)) return over;
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = Object.hasOwn(under, key) ? overlay(under[key], value) : value;
  }
  return merged;
}

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
  return { ...rest, processes: overlay({ web }, processes ?? {}) };
}

/** Where the short form has what its full form has at `path`. */
export function shortPath([first, second, third = "", ...more]: KeyPath): KeyPath | undefined {
  const isShort = first === "processes" && second === "web" && SHORT.includes(String(third));
  return isShort ? [third, ...more] : undefined;
}

/** The same without `x-...` keys, which are for people and other tools. Variables may be called anything. */
export function withoutExtras(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutExtras(item));
  if (!isMap(value) || key === "env") return value;
  const kept = Object.entries(value).filter(([name]) => !name.startsWith("x-"));
  return Object.fromEntries(kept.map(([name, item]) => [name, withoutExtras(item, name)]));
}
