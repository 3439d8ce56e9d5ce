import { isMap } from "./is-map.ts";
import type { KeyPath, Problem } from "./problem.ts";

/**
 * What skein.yaml's language knows and this version does not do. Such a key is refused by name: doing something
 * else than what was asked is worse than doing nothing. `*` stands for any name; `values` limits it to those.
 */
const LATER: readonly { readonly path: readonly string[]; readonly values?: readonly string[] }[] = [
  { path: ["kind"], values: ["secret", "state"] },
  { path: ["routes"] },
  { path: ["config"] },
  { path: ["secrets"] },
  { path: ["hooks", "once"] },
  { path: ["build", "on"], values: ["builder"] },
  { path: ["strategy", "type"], values: ["canary", "blue_green"] },
  { path: ["strategy", "steps"] },
  { path: ["strategy", "judge"] },
  { path: ["strategy", "on_failure"], values: ["pause"] },
  { path: ["listen", "*", "handover"], values: ["router", "reuseport", "nat"] },
  { path: ["processes", "*", "listen", "*", "handover"], values: ["router", "reuseport", "nat"] },
];

/** Everything in `raw` (parsed YAML) that is known but comes later. */
export function findLater(raw: unknown): Problem[] {
  return LATER.flatMap(({ path, values }) =>
    places(raw, path, []).flatMap(({ at, value }): Problem[] => {
      if (values === undefined)
        return [later(at, `${at.at(-1)} is known, but comes with a later version`, true)];
      if (typeof value !== "string" || !values.includes(value)) return [];
      return [later(at, `${value} is known, but comes with a later version`, false)];
    }),
  );
}

const later = (path: KeyPath, message: string, atKey: boolean): Problem => ({
  code: "MANIFEST_LATER",
  path,
  atKey,
  message,
});

interface Place {
  readonly at: KeyPath;
  readonly value: unknown;
}

function places(value: unknown, path: readonly string[], at: KeyPath): Place[] {
  const [key, ...rest] = path;
  if (key === undefined) return [{ at, value }];
  if (!isMap(value)) return [];
  const keys = key === "*" ? Object.keys(value) : Object.hasOwn(value, key) ? [key] : [];
  return keys.flatMap((name) => places(value[name], rest, [...at, name]));
}
