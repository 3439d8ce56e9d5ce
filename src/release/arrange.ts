import { SkeinError } from "../lib/errors.ts";
import { targetFault, type Row } from "./rows.ts";
import { comparePaths, linkFault, pathFault } from "./tree-path.ts";
import type { SourceEntry } from "./tree-source.ts";

/** More entries than this are refused: rows are held in memory. */
const MAX_ENTRIES = 1_000_000;

const BEYOND = /[\ud800-\uffff]/;

/**
 * A source's entries as a tree: sorted, folders on the way added, every path and link held to the rules.
 * @throws SkeinError TREE_REFUSED with data {path, reason}
 */
export function arrange(entries: readonly SourceEntry[]): SourceEntry[] {
  if (entries.length > MAX_ENTRIES) throw refused(".", `it has more than ${MAX_ENTRIES} entries`);
  const byPath = new Map<string, SourceEntry>();
  for (const entry of entries) add(byPath, entry);
  for (const entry of entries) addParents(byPath, entry.path);
  checkLinks(byPath);
  const isPlain = !entries.some((entry) => BEYOND.test(entry.path));
  const sorted = [...byPath.values()];
  if (!isPlain) return sorted.sort((a, b) => comparePaths(a.path, b.path));
  return sorted.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Holds rows that came from elsewhere to the same rules: sorted, no path twice, folders before what is in them, no
 * link out of the tree.
 * @throws SkeinError TREE_CORRUPT when they are not in order; TREE_REFUSED
 */
export function checkRows(rows: readonly Row[]): void {
  if (rows.length > MAX_ENTRIES) throw refused(".", `it has more than ${MAX_ENTRIES} entries`);
  const folders = new Folders();
  const links = new Map<string, string>();
  let before = "";
  for (const row of rows) {
    if (!isBefore(before, row.path) || !folders.hasParentOf(row.path)) {
      throw new SkeinError("TREE_CORRUPT", `${JSON.stringify(row.path)} stands where no such row may`);
    }
    if (row.kind === "d") folders.add(row.path);
    if (row.kind === "l") links.set(row.path, row.target);
    before = row.path;
  }
  for (const [path, target] of links) {
    const fault = linkFault(path, target, links);
    if (fault !== undefined) throw refused(path, fault);
  }
}

class Folders {
  readonly #all = new Set<string>();
  /** What was asked for last: most rows stand beside the one before. */
  #last = "";

  add(path: string): void {
    this.#all.add(path);
  }

  hasParentOf(path: string): boolean {
    const slash = path.lastIndexOf("/");
    if (slash === -1 || (slash === this.#last.length && path.startsWith(this.#last))) return true;
    this.#last = path.slice(0, slash);
    return this.#all.has(this.#last);
  }
}

/** The language's own order of text is that of the bytes, as long as no surrogate is about. */
function isBefore(a: string, b: string): boolean {
  return BEYOND.test(a) || BEYOND.test(b) ? comparePaths(a, b) < 0 : a < b;
}

function add(byPath: Map<string, SourceEntry>, entry: SourceEntry): void {
  const fault = pathFault(entry.path);
  if (fault !== undefined) throw refused(entry.path, fault);
  const before = byPath.get(entry.path);
  if (before !== undefined && (before.kind !== "d" || entry.kind !== "d")) {
    throw refused(entry.path, "it is there twice");
  }
  byPath.set(entry.path, entry);
}

function addParents(byPath: Map<string, SourceEntry>, path: string): void {
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
    const parent = path.slice(0, end);
    const there = byPath.get(parent);
    if (there === undefined) byPath.set(parent, { kind: "d", path: parent });
    else if (there.kind !== "d") throw refused(path, `${parent} is not a directory`);
    else return;
  }
}

function checkLinks(byPath: ReadonlyMap<string, SourceEntry>): void {
  const links = new Map<string, string>();
  for (const entry of byPath.values()) if (entry.kind === "l") links.set(entry.path, entry.target);
  for (const [path, target] of links) {
    const fault = targetFault(target) ?? linkFault(path, target, links);
    if (fault !== undefined) throw refused(path, fault);
  }
}

function refused(path: string, reason: string): SkeinError {
  return new SkeinError("TREE_REFUSED", `${JSON.stringify(path)} cannot be released: ${reason}`, {
    data: { path, reason },
  });
}
