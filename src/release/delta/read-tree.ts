import type { Digest } from "../../lib/text/ids.ts";
import { EMPTY_SHA256 } from "../publish/content-reader.ts";
import { isFileRow, targetFault, type FileRow, type Row } from "../tree/rows.ts";
import { pathFault } from "../tree/tree-path.ts";
import { ByteReader, damaged } from "./byte-io.ts";
import { DESCRIBED_BYTES, ROW_BYTES } from "./limits.ts";
import { readTimes } from "./time-changes.ts";
import { columns, COLUMNS, OPS, ROW_KINDS, SOURCES, type Columns } from "./tree-columns.ts";
import type { FreshContent, OldFiles, TreeState } from "./tree-state.ts";

/** A tree whose new contents are not hashed yet. */
export interface PendingTree {
  readonly fresh: readonly FreshContent[];
  /**
   * The tree, once the contents' digests are known, in the order of `fresh`.
   * @param isRight tells the tree's own times from others; they are found sooner then. Default: nobody can tell
   */
  finish(digests: readonly Digest[], isRight?: (times: readonly number[]) => boolean): TreeState;
}

/** What is known of a row: all, or all but the digest of the new content `content`. */
interface Pending {
  readonly row: Row;
  readonly content?: number;
  /** The older tree's file whose content it has. */
  readonly from?: number;
}

/** @throws SkeinError DELTA_CORRUPT */
export function decodeTree(bytes: Buffer, rows: readonly Row[], old: OldFiles): PendingTree {
  const reader = new TreeReader(bytes, rows, old);
  const arrived = reader.rows();
  const { fresh, lacking } = reader;
  return {
    fresh,
    finish: (digests, isRight = () => false) => {
      for (const [at, content] of lacking) {
        arrived[at] = { ...(arrived[at] as FileRow), sha256: digests[content] as Digest };
      }
      const likely = reader.likelyTimes();
      return { rows: arrived, times: isRight(likely) ? likely : reader.times(arrived) };
    },
  };
}

class TreeReader {
  readonly #columns: Columns<ByteReader>;
  /** Its column of times. */
  readonly #times: Buffer;
  readonly #oldRows: readonly Row[];
  readonly #old: OldFiles;
  readonly #rows: Row[] = [];
  /** Per file row, where the older tree has it, as far as that was said. */
  readonly #likely: (number | undefined)[] = [];
  readonly fresh: FreshContent[] = [];
  /** Which row → which of the new contents it is of. */
  readonly lacking = new Map<number, number>();
  #ref = 0;
  /** What the rows described so far come to. */
  #described = 0;

  constructor(bytes: Buffer, oldRows: readonly Row[], old: OldFiles) {
    this.#oldRows = oldRows;
    this.#old = old;
    const all = new ByteReader(bytes);
    const lengths = COLUMNS.map(() => all.number());
    let i = 0;
    const parts = columns(() => all.bytes(lengths[i++] ?? 0));
    this.#times = parts.times;
    const readers = COLUMNS.map((name) => [name, new ByteReader(parts[name])] as const);
    this.#columns = Object.fromEntries(readers) as Columns<ByteReader>;
    if (!all.isDone) throw damaged("its tree has bytes too many");
  }

  /** Without the digests of new contents. */
  rows(): Row[] {
    const { ops } = this.#columns;
    const old = this.#oldRows;
    let next = 0;
    let file = 0;
    while (!ops.isDone) {
      const run = ops.number();
      const op = run % 4;
      const count = Math.floor(run / 4);
      if (op !== OPS.insert && next + count > old.length) throw damaged("it changes rows that are not there");
      // Every inserted row has at least its kind in a column: the count is bounded by what is there.
      for (let i = 0; i < count; i++) {
        const before = op === OPS.insert ? undefined : old[next++];
        const from = before !== undefined && isFileRow(before) ? file++ : undefined;
        if (op === OPS.drop) continue;
        if (op === OPS.keep && before !== undefined) this.#add(before, from);
        else this.#describe(this.#read(before));
      }
    }
    if (next !== old.length) throw damaged("it does not say what becomes of every row");
    return this.#rows;
  }

  times(rows: readonly Row[]): number[] {
    const known = rows.filter(isFileRow).map(({ sha256 }) => this.#old.withContent(sha256));
    return readTimes(new ByteReader(this.#times), known, this.#old.times);
  }

  /** What `times` gives where all files of one content have one time, as they have in a release. */
  likelyTimes(): number[] {
    return readTimes(new ByteReader(this.#times), this.#likely, this.#old.times);
  }

  #add(row: Row, from: number | undefined): void {
    this.#rows.push(row);
    if (isFileRow(row)) this.#likely.push(from);
  }

  #describe({ row, content, from }: Pending): void {
    if (content !== undefined) this.lacking.set(this.#rows.length, content);
    this.#add(row, from);
  }

  #read(old: Row | undefined): Pending {
    this.#count(ROW_BYTES);
    const byte = this.#columns.kinds.number();
    const kind = ROW_KINDS[byte % 4] as Row["kind"];
    const source = Math.floor(byte / 4);
    if (kind === "f" || kind === "x") return this.#readFile(kind, source, old);
    if (source !== SOURCES.fresh) throw damaged("it has a row of no kind");
    const path = old?.path ?? this.#readPath(undefined);
    return { row: kind === "d" ? { kind, path } : { kind, path, target: this.#readTarget() } };
  }

  #readFile(kind: FileRow["kind"], source: number, old: Row | undefined): Pending {
    const moved = source === SOURCES.old ? this.#moved() : undefined;
    const path = old?.path ?? this.#readPath(moved?.path);
    if (moved !== undefined) return { row: { ...moved, kind, path }, from: this.#ref - 1 };
    if (source === SOURCES.fresh) return this.#readFresh(kind, path, old);
    if (source === SOURCES.again) return this.#again(kind, path, this.#columns.numbers.number());
    if (source === SOURCES.empty) return { row: { kind, path, size: 0, sha256: EMPTY_SHA256 } };
    throw damaged("it has a row of no kind");
  }

  #readFresh(kind: FileRow["kind"], path: string, old: Row | undefined): Pending {
    const before = old !== undefined && isFileRow(old) ? old.size : 0;
    const size = this.#columns.numbers.signed() + before;
    if (size < 1 || !Number.isSafeInteger(size)) throw damaged("a file has no size");
    this.fresh.push({ size, own: this.#old.at(path) });
    return this.#pending(kind, path, this.fresh.length - 1);
  }

  #moved(): FileRow {
    const ref = this.#columns.numbers.signed() + this.#ref;
    const row = this.#old.files[ref];
    if (row === undefined) throw damaged("it names a file that is not there");
    this.#ref = ref + 1;
    return row;
  }

  #again(kind: "f" | "x", path: string, back: number): Pending {
    const content = this.fresh.length - 1 - back;
    if (content < 0) throw damaged("it repeats a content that it does not have");
    return this.#pending(kind, path, content);
  }

  #pending(kind: "f" | "x", path: string, content: number): Pending {
    const size = this.fresh[content]?.size ?? 0;
    return { row: { kind, path, size, sha256: EMPTY_SHA256 }, content };
  }

  #readPath(moved: string | undefined): string {
    const head = this.#columns.numbers.number();
    const tail = moved === undefined ? 0 : this.#columns.numbers.number();
    const middle = this.#readText();
    const before = this.#rows.at(-1)?.path ?? "";
    if (head > before.length || tail > (moved?.length ?? 0)) throw damaged("a path refers too far");
    this.#count(head + middle.length + tail);
    const path = before.slice(0, head) + middle + (moved ?? "").slice((moved?.length ?? 0) - tail);
    // A path with the end of a row in it would be hashed as two rows.
    if (pathFault(path) !== undefined) throw damaged("it has a path that may not be");
    return path;
  }

  #count(bytes: number): void {
    this.#described += bytes;
    if (this.#described > DESCRIBED_BYTES) throw damaged("it describes more than a tree may hold");
  }

  #readTarget(): string {
    const target = this.#readText();
    if (targetFault(target) !== undefined) throw damaged("it has a link that may not be");
    return target;
  }

  #readText(): string {
    const bytes = this.#columns.text.bytes(this.#columns.numbers.number());
    try {
      return strictUtf8.decode(bytes);
    } catch (err) {
      throw damaged("a name is not UTF-8", err);
    }
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
