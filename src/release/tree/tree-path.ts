/** What a path and a link of a release may be. Held when a release is made, and again when one is received. */
const MAX_PATH_BYTES = 1024;
const MAX_PART_BYTES = 255;
const MAX_DEPTH = 64;
/** Kept for what Skein may one day lay beside a release's own files. */
export const RESERVED = ".skein";

/** Control characters, text-direction overrides, and what stands where bytes were not UTF-8. */
const BAD_CHARACTER = /[\p{Cc}\u202a-\u202e\u2066-\u2069\ufffd]/u;
/** What most paths are; of at most 1,023 bytes. */
const SIMPLE = /^[\w@+=,~-][\w.@+=,~ -]{0,62}(?:\/[\w@+=,~-][\w.@+=,~ -]{0,62}){0,15}$/;

/** Why this may not be a path in a tree, or undefined. */
export function pathFault(path: string): string | undefined {
  if (SIMPLE.test(path)) return undefined;
  if (path === "") return "the path is empty";
  if (path.startsWith("/")) return "the path is absolute";
  if (BAD_CHARACTER.test(path) || !path.isWellFormed()) {
    return "the path holds a control, direction or invalid character";
  }
  return lengthFault(path) ?? partsFault(path.split("/"));
}

/** Of a folder this is asked before it is read: the kernel takes no path beyond 4 KiB at all. */
export function lengthFault(path: string): string | undefined {
  return Buffer.byteLength(path) > MAX_PATH_BYTES ? `the path is over ${MAX_PATH_BYTES} bytes` : undefined;
}

function partsFault(parts: readonly string[]): string | undefined {
  if (parts.length > MAX_DEPTH) return `the path is over ${MAX_DEPTH} folders deep`;
  if (parts[0] === RESERVED) return `${RESERVED} is reserved`;
  for (const part of parts) {
    if (part === "") return "the path has an empty part";
    if (part === "." || part === "..") return `the path has a part ${part}`;
    if (Buffer.byteLength(part) > MAX_PART_BYTES) return `a part of the path is over ${MAX_PART_BYTES} bytes`;
  }
  return undefined;
}

/** Orders paths by their raw UTF-8 bytes. */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // UTF-16 puts surrogates (code points above U+FFFF) below U+E000..U+FFFF; UTF-8 puts them above.
    if (x >= 0xd800 && y >= 0xd800) return Number(isSurrogate(x)) - Number(isSurrogate(y)) || x - y;
    return x - y;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;

/** As many links as Linux follows before it gives up. */
const MAX_HOPS = 40;

/**
 * Why the link at `path` leads out of its tree, or undefined. Links on the way are followed as the kernel would
 * (pnpm's trees are chains of them); one that leads nowhere inside the tree, or in a circle, stays inside.
 */
export function linkFault(
  path: string,
  target: string,
  links: ReadonlyMap<string, string>,
): string | undefined {
  const at = path.split("/").slice(0, -1);
  const todo = target.split("/").reverse();
  if (target.startsWith("/")) return `links to ${target}, which is absolute`;
  for (let hops = 0; todo.length > 0;) {
    const part = todo.pop();
    if (part === undefined || part === "" || part === ".") continue;
    if (part === "..") {
      if (at.pop() === undefined) return `links to ${target}, outside the release`;
      continue;
    }
    at.push(part);
    const next = links.get(at.join("/"));
    if (next === undefined) continue;
    if (++hops > MAX_HOPS) return undefined;
    if (next.startsWith("/")) return `links to ${target}, which leads on to ${next}`;
    at.pop();
    todo.push(...next.split("/").reverse());
  }
  return undefined;
}
