import { createHash } from "node:crypto";
import { isDigest, type Digest, type TreeId } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { pathFault } from "./tree-path.ts";

/** One line of a tree. Paths are relative, `/`-separated UTF-8; rows are sorted by the raw bytes of their paths. */
export type Row =
  | { readonly kind: "d"; readonly path: string }
  | { readonly kind: "l"; readonly path: string; readonly target: string }
  | FileRow;

/** `x` is a file that may be executed. */
export interface FileRow {
  readonly kind: "f" | "x";
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** SHA-256 of the content. */
  readonly sha256: Digest;
}

const TREE_LABEL = "skein-tree-1\0";
const DIGEST_LENGTH = 64;
/** A link's text, as long as Linux allows one. */
const MAX_TARGET_BYTES = 4095;

export const isFileRow = (row: Row): row is FileRow => row.kind === "f" || row.kind === "x";

/** The row as it enters the tree id; docs/formats/tree.md. */
export function encodeRow(row: Row): string {
  if (row.kind === "d") return `d ${row.path}\n`;
  if (row.kind === "l") return `l ${row.path}\0${row.target}\n`;
  return `${row.kind} ${row.path}\0${row.size} ${row.sha256}\n`;
}

/** SHA-256 of a label and all rows, given as the pieces of their encoding in order. */
export function treeIdOf(pieces: Iterable<Uint8Array>): TreeId {
  const sum = new TreeSum();
  for (const piece of pieces) sum.add(piece);
  return sum.end();
}

/** The same of pieces that come one after the other. */
export class TreeSum {
  readonly #sum = createHash("sha256").update(TREE_LABEL);

  add(piece: Uint8Array): void {
    this.#sum.update(piece);
  }

  end(): TreeId {
    return this.#sum.digest("hex") as TreeId;
  }
}

/**
 * Parses encoded rows strictly: what it returns encodes to the same bytes.
 * @throws SkeinError TREE_CORRUPT
 */
export function decodeRows(bytes: Uint8Array): Row[] {
  const text = decodeUtf8(bytes);
  if (text !== "" && !text.endsWith("\n")) throw corrupt("the last row has no end");
  const rows: Row[] = [];
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    rows.push(decodeRow(text.slice(at, end)));
    at = end + 1;
  }
  return rows;
}

/** The same of rows that were parsed when they came, and are proved to be those still. */
export function rereadRows(bytes: Uint8Array): Row[] {
  const rows: Row[] = [];
  for (const cursor = new RowCursor(bytes); cursor.next();) rows.push(cursor.row());
  return rows;
}

/**
 * Goes through rows that are proved, one after the other, without an object for each: V8 keeps objects where it was
 * seen to keep those of another reading, and many thousand that are looked at once would be garbage there.
 */
export class RowCursor {
  readonly #text: string;
  #at = 0;
  /** Where the row ends, and its path. */
  #end = -1;
  #zero = -1;
  kind: Row["kind"] = "d";

  constructor(bytes: Uint8Array) {
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  }

  /** Goes to the next row, first to the first one. @returns false, with none to be asked for, behind the last */
  next(): boolean {
    this.#at = this.#end + 1;
    if (this.#at >= this.#text.length) return false;
    this.#end = this.#text.indexOf("\n", this.#at);
    this.kind = this.#text.charAt(this.#at) as Row["kind"];
    this.#zero = this.kind === "d" ? this.#end : this.#text.indexOf("\0", this.#at);
    return true;
  }

  get isFile(): boolean {
    return this.kind === "f" || this.kind === "x";
  }

  get path(): string {
    return this.#text.slice(this.#at + 2, this.#zero);
  }

  /** Of a link. */
  get target(): string {
    return this.#text.slice(this.#zero + 1, this.#end);
  }

  /** Of a file. */
  get size(): number {
    return Number(this.#text.slice(this.#zero + 1, this.#end - DIGEST_LENGTH - 1));
  }

  /** Of a file. */
  get sha256(): Digest {
    return this.#text.slice(this.#end - DIGEST_LENGTH, this.#end) as Digest;
  }

  row(): Row {
    const { kind, path } = this;
    if (kind === "d") return { kind, path };
    if (kind === "l") return { kind, path, target: this.target };
    return { kind, path, size: this.size, sha256: this.sha256 };
  }
}

function decodeRow(line: string): Row {
  const kind = line.charAt(0);
  if (line.charAt(1) !== " ") throw corrupt(`a row begins with ${JSON.stringify(line.slice(0, 2))}`);
  const [path = "", rest] = splitAtZero(line.slice(2));
  const fault = pathFault(path);
  if (fault !== undefined) throw corrupt(`${JSON.stringify(path)}: ${fault}`);
  if (rest === undefined && kind === "d") return { kind, path };
  if (rest !== undefined && kind === "l" && targetFault(rest) === undefined) {
    return { kind, path, target: rest };
  }
  if (rest !== undefined && (kind === "f" || kind === "x")) return decodeFile(kind, path, rest);
  throw corrupt(`${JSON.stringify(path)}: not a row of kind d, f, x or l`);
}

function splitAtZero(text: string): readonly string[] {
  const zero = text.indexOf("\0");
  return zero === -1 ? [text] : [text.slice(0, zero), text.slice(zero + 1)];
}

function decodeFile(kind: "f" | "x", path: string, rest: string): FileRow {
  const space = rest.indexOf(" ");
  const digits = rest.slice(0, space);
  const size = Number(digits);
  const sha256 = rest.slice(space + 1);
  if (!/^(0|[1-9][0-9]{0,15})$/.test(digits) || !Number.isSafeInteger(size) || !isDigest(sha256)) {
    throw corrupt(`${JSON.stringify(path)}: size or hash cannot be read`);
  }
  return { kind, path, size, sha256 };
}

/** Why this may not be the text of a link, or undefined. Where it leads is judged with the whole tree. */
export function targetFault(target: string): string | undefined {
  if (target === "") return "the link is empty";
  if (/[\p{Cc}\ufffd]/u.test(target)) return "the link's text holds a control or invalid character";
  if (Buffer.byteLength(target) > MAX_TARGET_BYTES)
    return `the link's text is over ${MAX_TARGET_BYTES} bytes`;
  return undefined;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (err) {
    throw corrupt("rows are not UTF-8", err);
  }
}

function corrupt(what: string, cause?: unknown): SkeinError {
  return new SkeinError("TREE_CORRUPT", `the tree cannot be read: ${what}`, { cause });
}
