import type { Row } from "./rows.ts";

/** A path that is to be a folder of the app's own, and what the release has there, or on the way to it. */
export interface Blocked {
  readonly writable: string;
  readonly path: string;
  readonly kind: "file" | "link";
}

type Entry = Pick<Row, "kind" | "path">;

/**
 * Which of the paths that are to be linked into the app's data cannot be: a folder in the place of a file would hide
 * it, and below a file or a link there is no place at all.
 */
export function blockedIn(rows: Iterable<Entry>, writable: Iterable<string>): Blocked[] {
  const wanted = new Map<string, string[]>();
  for (const name of writable)
    for (const at of waysTo(name)) wanted.set(at, [...(wanted.get(at) ?? []), name]);
  if (wanted.size === 0) return [];
  const found: Blocked[] = [];
  for (const { kind, path } of rows) {
    if (kind === "d") continue;
    for (const name of wanted.get(path) ?? [])
      found.push({ writable: name, path, kind: kind === "l" ? "link" : "file" });
  }
  return found;
}

/** `a`, `a/b`, `a/b/c`. */
function waysTo(at: string): string[] {
  const parts = at.split("/");
  return parts.map((_, n) => parts.slice(0, n + 1).join("/"));
}
