import { isMap } from "./later.ts";

/** Lays `over` on `under`: maps are merged key by key, anything else replaces what was there. */
export function overlay(under: unknown, over: unknown): unknown {
  if (!isMap(under) || !isMap(over)) return over;
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = Object.hasOwn(under, key) ? overlay(under[key], value) : value;
  }
  return merged;
}

/** The same without `x-...` keys, which are for people and other tools. Variables may be called anything. */
export function withoutExtras(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutExtras(item));
  if (!isMap(value) || key === "env") return value;
  const kept = Object.entries(value).filter(([name]) => !name.startsWith("x-"));
  return Object.fromEntries(kept.map(([name, item]) => [name, withoutExtras(item, name)]));
}
