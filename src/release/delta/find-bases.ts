import type { FileRow } from "../tree/rows.ts";
import type { Content } from "../tree/tree-source.ts";
import { extensionOf, plainName } from "./alike-names.ts";
import { MAX_BASES } from "./limits.ts";
import { sketchOf, type Sketch } from "./sketch.ts";
import type { FreshContent, OldFiles } from "./tree-state.ts";

/** A new content, and the older files that it may be made from, by their index; the likeliest first. */
export interface Lead {
  readonly row: FileRow;
  readonly own: number | undefined;
  /** Their bytes say which of them, if any. */
  readonly candidates: readonly number[];
}

/** Older files that are looked at for one new content, and bytes that are looked at for all of them. */
const MAX_CANDIDATES = 24;
const LOOK_BYTES = 256 * 1024 * 1024;
/** A file that is so many times larger or smaller is not looked at. */
const SIZE_CLASS = 8;
/** Larger files are taken for what their names say: reading them twice costs more than it finds. */
const LARGE_BYTES = 16 * 1024 * 1024;
/** A smaller content is not worth a search. */
const LEAST_BYTES = 256;

/**
 * Which older files are looked at for each new content: the one at the same path, those whose names differ in a hash
 * alone, and what went away and has the same kind of name. Decided by names and sizes.
 * @param paths of the new tree
 */
export function leadsFor(
  fresh: readonly (FreshContent & { readonly row: FileRow })[],
  old: OldFiles,
  paths: ReadonlySet<string>,
): Lead[] {
  const sizeOf = (index: number): number => old.files[index]?.size ?? 0;
  const gone = old.files
    .flatMap((row, index) => (paths.has(row.path) || row.size === 0 ? [] : [index]))
    .sort((a, b) => sizeOf(a) - sizeOf(b));
  const byName = groupBy(gone, (index) => plainName((old.files[index] as FileRow).path));
  const byExtension = groupBy(gone, (index) => extensionOf((old.files[index] as FileRow).path));
  let look = LOOK_BYTES;
  return fresh.map(({ row, own: before }) => {
    // Nothing is made from an empty file.
    const own = before !== undefined && sizeOf(before) > 0 ? before : undefined;
    if (row.size < LEAST_BYTES || (own !== undefined && row.size > LARGE_BYTES)) return lead(row, own, []);
    const named = byName.get(plainName(row.path)) ?? [];
    const others = look > 0 ? (byExtension.get(extensionOf(row.path)) ?? []) : [];
    const candidates = [...new Set([...nearest(named, row, old), ...nearest(others, row, old)])];
    const taken = candidates.slice(0, MAX_CANDIDATES);
    for (const index of taken) look -= old.files[index]?.size ?? 0;
    return lead(row, own, taken);
  });
}

function lead(row: FileRow, own: number | undefined, candidates: readonly number[]): Lead {
  return { row, own, candidates: own === undefined ? candidates : [own, ...candidates] };
}

/** In each group they stay in order. */
function groupBy(indexes: readonly number[], keyOf: (index: number) => string): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const index of indexes) {
    const key = keyOf(index);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  }
  return groups;
}

/** Of files in order of their sizes those of like size, the nearest first: there may be as many as contents are looked for. */
function nearest(indexes: readonly number[], { size }: FileRow, old: OldFiles): number[] {
  const sizeAt = (place: number): number => old.files[indexes[place] ?? -1]?.size ?? 0;
  let [low, high] = [0, indexes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sizeAt(middle) < size) low = middle + 1;
    else high = middle;
  }
  const found: number[] = [];
  for (let [smaller, larger] = [low - 1, low]; found.length < MAX_CANDIDATES;) {
    const below = smaller < 0 ? Infinity : size / sizeAt(smaller);
    const above = larger === indexes.length ? Infinity : sizeAt(larger) / size;
    if (Math.min(below, above) > SIZE_CLASS) break;
    found.push(indexes[above <= below ? larger++ : smaller--] ?? 0);
  }
  return found;
}

/** A share of a content's places that another file must have to be a base, and to be a further one. */
const LEAST_SHARE = 0.1;
const FURTHER_SHARE = 0.15;
/** With so large a share, what is at the same path needs no rival. */
const ENOUGH_SHARE = 0.5;

/** Chooses bases by what the files hold. Sketches of older files are kept from one content to the next. */
export class BaseChooser {
  readonly #old: OldFiles;
  readonly #oldContent: (index: number) => Content;
  readonly #sketches = new Map<number, Sketch>();

  constructor(old: OldFiles, oldContent: (index: number) => Content) {
    this.#old = old;
    this.#oldContent = oldContent;
  }

  /** Indexes of older files, the best first; empty when nothing is alike. */
  choose({ row, own, candidates }: Lead, content: Content): readonly number[] {
    if (candidates.every((index) => index === own)) return candidates;
    const places = sketchOf({ size: row.size, content });
    if (own !== undefined && shared(places, this.#sketch(own)) >= ENOUGH_SHARE * places.size) return [own];
    const bases = this.#cover(places, candidates);
    // A small edit of a small file may leave no place alike; what is at the same path is then still the best guess.
    return bases.length === 0 && own !== undefined ? [own] : bases;
  }

  /** The candidate that shares most, then whichever shares most of what is left. */
  #cover(places: Sketch, candidates: readonly number[]): number[] {
    const left = new Set(places);
    const bases: number[] = [];
    for (let least = LEAST_SHARE; bases.length < MAX_BASES / 2; least = FURTHER_SHARE) {
      const best = this.#best(left, candidates);
      if (best === undefined || best.score < Math.max(2, least * places.size)) break;
      bases.push(best.index);
      for (const place of this.#sketch(best.index)) left.delete(place);
    }
    return bases;
  }

  #best(places: Sketch, candidates: readonly number[]): { index: number; score: number } | undefined {
    let best: { index: number; score: number } | undefined;
    for (const index of candidates) {
      const score = shared(places, this.#sketch(index));
      if (best === undefined || score > best.score) best = { index, score };
    }
    return best;
  }

  #sketch(index: number): Sketch {
    const known = this.#sketches.get(index);
    if (known !== undefined) return known;
    const size = this.#old.files[index]?.size ?? 0;
    const sketch = sketchOf({ size, content: this.#oldContent(index) });
    this.#sketches.set(index, sketch);
    return sketch;
  }
}

function shared(a: Sketch, b: Sketch): number {
  let count = 0;
  for (const place of a) if (b.has(place)) count += 1;
  return count;
}
