import { SkeinError } from "../../lib/errors/errors.ts";
import { targetFault, type Row } from "./rows.ts";
import { comparePaths, linkFault, pathFault } from "./tree-path.ts";
import { ROWS_BYTES } from "./segments.ts";
import type { SourceEntry } from "./tree-source.ts";

/** More entries than this are refused: rows are held in memory. */
export const MAX_ENTRIES = 1_000_000;

/** A path and a link's text, as long as they may be. */
const LONGEST_ROW = 1024 + 4095 + 4;

const BEYOND = /[\ud800-\uffff]/;

/**
 * A source's entries as a tree: sorted, folders on the way added, every path and link held to the rules.
 * @throws SkeinError TREE_REFUSED with data {path, reason}
 */
export function arrange(entries: readonly SourceEntry[]): SourceEntry[] {
  if (entries.length > MAX_ENTRIES) throw refused(".", `it has more than ${MAX_ENTRIES} entries`);
  for (const { path } of entries) {
    const fault = pathFault(path);
    if (fault !== undefined) throw refused(path, fault);
  }
  if (entries.length * LONGEST_ROW > ROWS_BYTES && rowBytes(entries) > ROWS_BYTES)
    throw refused(".", `the list of what is in it is over ${ROWS_BYTES / 2 ** 20} MiB`);
  // A large folder comes as it is to be: to look that it does costs a third of what it costs to make it so.
  const whole = misplaced(entries) === undefined ? [...entries] : sorted(withParents(entries));
  checkLinks(whole);
  return whole;
}

/** What the entries' rows come to (`encodeRow`). */
function rowBytes(entries: readonly SourceEntry[]): number {
  let bytes = 0;
  for (const entry of entries) {
    bytes += Buffer.byteLength(entry.path) + "d \n".length;
    if (entry.kind === "l") bytes += Buffer.byteLength(entry.target) + 1;
    else if (entry.kind !== "d") bytes += String(entry.size).length + "\0 ".length + 64;
  }
  return bytes;
}

function withParents(entries: readonly SourceEntry[]): SourceEntry[] {
  const byPath = new Map<string, SourceEntry>();
  for (const entry of entries) add(byPath, entry);
  for (const entry of entries) addParents(byPath, entry.path);
  return [...byPath.values()];
}

function sorted(entries: SourceEntry[]): SourceEntry[] {
  const isPlain = !entries.some((entry) => BEYOND.test(entry.path));
  if (!isPlain) return entries.sort((a, b) => comparePaths(a.path, b.path));
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The first row that does not come after the one before it, or whose folder was not there before it. */
function misplaced(rows: readonly (Row | SourceEntry)[]): string | undefined {
  const folders = new Folders();
  let before = "";
  for (const { kind, path } of rows) {
    // The language's own order of text is that of the bytes, as long as one of the two has no surrogate.
    const isNext = BEYOND.test(path) ? comparePaths(before, path) < 0 : before < path;
    if (!isNext || !folders.hasParentOf(path)) return path;
    if (kind === "d") folders.add(path);
    before = path;
  }
  return undefined;
}

/**
 * Holds rows that came from elsewhere to the same rules: sorted, no path twice, folders before what is in them, no
 * link out of the tree.
 * @throws SkeinError TREE_CORRUPT when they are not in order; TREE_REFUSED
 */
export function checkRows(rows: readonly Row[]): void {
  if (rows.length > MAX_ENTRIES) throw refused(".", `it has more than ${MAX_ENTRIES} entries`);
  const at = misplaced(rows);
  if (at !== undefined) {
    throw new SkeinError("TREE_CORRUPT", `${JSON.stringify(at)} stands where no such row may`);
  }
  const links = linksOf(rows);
  for (const [path, target] of links) {
    const fault = linkFault(path, target, links);
    if (fault !== undefined) throw refused(path, fault);
  }
}

function linksOf(rows: readonly (Row | SourceEntry)[]): Map<string, string> {
  const links = new Map<string, string>();
  for (const row of rows) if (row.kind === "l") links.set(row.path, row.target);
  return links;
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

function add(byPath: Map<string, SourceEntry>, entry: SourceEntry): void {
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

function checkLinks(entries: readonly SourceEntry[]): void {
  const links = linksOf(entries);
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
