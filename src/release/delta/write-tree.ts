import type { Digest } from "../../lib/text/ids.ts";
import { isFileRow, type FileRow, type Row } from "../tree/rows.ts";
import { comparePaths } from "../tree/tree-path.ts";
import { ByteWriter } from "./byte-io.ts";
import { ROW_BYTES } from "./limits.ts";
import { writeTimes } from "./time-changes.ts";
import { columns, COLUMNS, OPS, ROW_KINDS, SOURCES } from "./tree-columns.ts";
import { OldFiles, type FreshContent, type TreeState } from "./tree-state.ts";

export interface EncodedTree {
  readonly bytes: Buffer;
  /** In the order in which a delta holds them. */
  readonly fresh: readonly (FreshContent & { readonly row: FileRow })[];
  /** What the rows that it describes come to, as a receiver counts it against `DESCRIBED_BYTES`. */
  readonly described: number;
}

/**
 * How a tree's rows and times follow from an older tree's, without the hashes of contents that are new: the receiver
 * computes those. Runs of operations over the older rows in order, and columns of what they need; docs/formats/delta.md.
 */
export function encodeTree(from: TreeState, to: TreeState): EncodedTree {
  const writer = new TreeWriter(from);
  let next = 0;
  for (const row of to.rows) {
    while (next < from.rows.length && comparePaths((from.rows[next] as Row).path, row.path) < 0) {
      writer.op(OPS.drop);
      next += 1;
    }
    const old = from.rows[next]?.path === row.path ? from.rows[next++] : undefined;
    writer.row(row, old);
  }
  for (; next < from.rows.length; next++) writer.op(OPS.drop);
  const files = to.rows.filter(isFileRow);
  writeTimes(
    writer.columns.times,
    to.times,
    files.map(({ sha256 }) => writer.old.withContent(sha256)),
    from.times,
  );
  return writer.end();
}

class TreeWriter {
  readonly columns = columns(() => new ByteWriter());
  readonly old: OldFiles;
  readonly #fresh: (FreshContent & { readonly row: FileRow })[] = [];
  readonly #again = new Map<Digest, number>();
  #op: number = OPS.keep;
  #run = 0;
  #path = "";
  #ref = 0;
  #described = 0;

  constructor(from: TreeState) {
    this.old = new OldFiles(from);
  }

  op(op: number): void {
    if (op !== this.#op) this.#endRun();
    this.#op = op;
    this.#run += 1;
  }

  row(row: Row, old: Row | undefined): void {
    if (old !== undefined && sameRow(row, old)) this.op(OPS.keep);
    else {
      this.op(old === undefined ? OPS.insert : OPS.replace);
      this.#describe(row, old);
    }
    this.#path = row.path;
  }

  end(): EncodedTree {
    this.#endRun();
    const all = new ByteWriter();
    for (const name of COLUMNS) all.number(this.columns[name].length);
    for (const name of COLUMNS) all.bytes(this.columns[name].view());
    return { bytes: Buffer.from(all.view()), fresh: this.#fresh, described: this.#described };
  }

  #endRun(): void {
    if (this.#run > 0) this.columns.ops.number(this.#run * 4 + this.#op);
    this.#run = 0;
  }

  #describe(row: Row, old: Row | undefined): void {
    this.#described += ROW_BYTES + (old === undefined ? row.path.length : 0);
    const source = isFileRow(row) ? this.#sourceOf(row) : SOURCES.fresh;
    this.columns.kinds.number(ROW_KINDS.indexOf(row.kind) + 4 * source);
    const moved = isFileRow(row) && source === SOURCES.old ? this.#writeMoved(row) : "";
    if (old === undefined) this.#writePath(row.path, moved);
    if (row.kind === "l") this.#writeText(row.target);
    else if (isFileRow(row) && source === SOURCES.fresh) this.#addFresh(row, old);
    else if (isFileRow(row) && source === SOURCES.again) {
      const content = this.#again.get(row.sha256) ?? 0;
      this.columns.numbers.number(this.#fresh.length - 1 - content);
    }
  }

  /** @returns where the content was */
  #writeMoved({ sha256 }: FileRow): string {
    const index = this.old.withContent(sha256) ?? 0;
    this.columns.numbers.signed(index - this.#ref);
    this.#ref = index + 1;
    return this.old.files[index]?.path ?? "";
  }

  #sourceOf(row: FileRow): number {
    if (row.size === 0) return SOURCES.empty;
    if (this.old.withContent(row.sha256) !== undefined) return SOURCES.old;
    return this.#again.has(row.sha256) ? SOURCES.again : SOURCES.fresh;
  }

  #addFresh(row: FileRow, old: Row | undefined): void {
    const before = old !== undefined && isFileRow(old) ? old.size : 0;
    this.columns.numbers.signed(row.size - before);
    this.#again.set(row.sha256, this.#fresh.length);
    this.#fresh.push({ row, size: row.size, own: this.old.at(row.path) });
  }

  /** A path shares its beginning with the row before it, and its end with the file that it was moved from. */
  #writePath(path: string, moved: string): void {
    const head = sharedHead(this.#path, path);
    const tail = sharedTail(moved, path.slice(head));
    this.columns.numbers.number(head);
    if (moved !== "") this.columns.numbers.number(tail);
    this.#writeText(path.slice(head, path.length - tail));
  }

  #writeText(text: string): void {
    const bytes = Buffer.from(text);
    this.columns.numbers.number(bytes.length);
    this.columns.text.bytes(bytes);
  }
}

const sameRow = (a: Row, b: Row): boolean =>
  isFileRow(a)
    ? a.kind === b.kind && a.sha256 === b.sha256
    : a.kind === b.kind && (a.kind !== "l" || (b.kind === "l" && a.target === b.target));

/** In UTF-16 units; never half a character. */
function sharedHead(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a.charCodeAt(length) === b.charCodeAt(length)) length += 1;
  return isHalf(b.charCodeAt(length)) ? Math.max(0, length - 1) : length;
}

function sharedTail(a: string, b: string): number {
  let length = 0;
  const most = Math.min(a.length, b.length);
  while (length < most && a.charCodeAt(a.length - 1 - length) === b.charCodeAt(b.length - 1 - length))
    length += 1;
  return length > 0 && isHalf(b.charCodeAt(b.length - length)) ? length - 1 : length;
}

/** The second half of a character of two UTF-16 units. */
const isHalf = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;
