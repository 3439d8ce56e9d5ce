import { setImmediate } from "node:timers/promises";
import type { Digest } from "../../lib/text/ids.ts";
import { collectAfter } from "../../lib/memory/collect.ts";
import { freeNow } from "../../lib/memory/free.ts";
import type { Content } from "../tree/tree-source.ts";
import { readBlocks, type Block } from "./block-reader.ts";
import { ByteReader, damaged } from "./byte-io.ts";
import { ByteStream } from "./byte-stream.ts";
import { DELTA_MAGIC, DICTIONARY_BYTES, MAX_BASES, mostBlockBytes, TREE_BYTES } from "./limits.ts";
import { METHODS, RUN_KINDS } from "./piece.ts";
import { JoinedContent } from "./read-content.ts";
import { SectionOpener } from "./section-opener.ts";
import { decodeTree } from "./read-tree.ts";
import { OldFiles, type FreshContent, type TreeState } from "./tree-state.ts";
import { freeFrame, openFrame } from "./zstd.ts";

/** Takes the new contents, one after the other, each from its first byte to its last. */
export interface FreshSink {
  /** Told before anything else what is to come. */
  expect(contents: readonly FreshContent[]): void;
  begin(content: number, size: number): void;
  /** Where the next bytes go: at least one byte of room, until the content's size is reached. */
  space(): Buffer | Promise<Buffer>;
  /** So many bytes of the space were filled, `old` of them by what the older tree has. */
  filled(length: number, old: number): void;
  /** The content is complete: its SHA-256. */
  end(): Digest | Promise<Digest>;
}

export interface OldTree {
  /** Asked for once, when the delta's own tree is there. */
  readonly state: TreeState;
  /** Tells the wanted tree's times from others; see `PendingTree.finish`. */
  readonly isTimes?: (times: readonly number[]) => boolean;
  /** Of a file, by its index among the files. */
  content(file: number): Content;
}

/** Making so much is worth a look at the heap of an agent that holds a large tree. */
const MUCH_BYTES = 16 * 1024 * 1024;

/**
 * Follows a delta from an older tree, as its bytes arrive. What comes out is not proved: it is the caller's to compare
 * the tree with what was signed, and only then to use any of the contents.
 * @throws SkeinError DELTA_CORRUPT; whatever `pieces` and the sink throw
 */
export async function applyDelta(
  pieces: AsyncIterable<Uint8Array>,
  old: OldTree,
  sink: FreshSink,
  signal: AbortSignal,
): Promise<TreeState> {
  const stream = new ByteStream(pieces);
  try {
    const bytes = await readTree(stream);
    const { state } = old;
    const files = new OldFiles(state);
    const tree = decodeTree(bytes, state.rows, files);
    sink.expect(tree.fresh);
    // What the trees' texts left behind would be held while contents take as much again.
    if (bytesOf(tree.fresh) >= MUCH_BYTES) collectAfter(state.rows.length);
    stream.bound(mostBlockBytes(tree.fresh));
    using maker = new ContentMaker(tree.fresh, { files, content: (file) => old.content(file) }, sink);
    for await (const block of readBlocks(stream)) {
      signal.throwIfAborted();
      await maker.take(block);
      for (const section of Object.values<Buffer>({ ...block })) freeNow(section);
    }
    return tree.finish(maker.end(), old.isTimes?.bind(old));
  } finally {
    await stream.close();
  }
}

const bytesOf = (contents: readonly FreshContent[]): number =>
  contents.reduce((sum, { size }) => sum + size, 0);

async function readTree(stream: ByteStream): Promise<Buffer> {
  const magic = await stream.bytes(DELTA_MAGIC.length, DELTA_MAGIC.length);
  if (magic.toString("latin1") !== DELTA_MAGIC) throw damaged("it does not begin as one");
  const raw = await stream.number();
  const length = await stream.number();
  if (raw > TREE_BYTES || length > raw) throw damaged("its tree is too long");
  const bytes = await stream.bytes(length, raw);
  if (length === raw) return bytes;
  using opener = new SectionOpener();
  return await opener.open(bytes, raw, true);
}

/** A content that is being made. */
interface Making {
  left: number;
  readonly size: number;
  readonly method: "runs" | "whole" | "frame";
  readonly old: JoinedContent;
  /** Place in the old contents less place in the new one, of the last run that had one. */
  shift: number;
}

/** Contents made before other work of the process gets its turn. */
const CONTENTS_PER_TURN = 64;

interface OldContents extends Pick<OldTree, "content"> {
  readonly files: OldFiles;
}

/** Makes contents from blocks; docs/formats/delta.md says how. */
class ContentMaker implements Disposable {
  readonly #fresh: readonly FreshContent[];
  readonly #old: OldContents;
  readonly #sink: FreshSink;
  readonly #digests: Digest[] = [];
  #making: Making | undefined;

  constructor(fresh: readonly FreshContent[], old: OldContents, sink: FreshSink) {
    this.#fresh = fresh;
    this.#old = old;
    this.#sink = sink;
  }

  async take(block: Block): Promise<void> {
    const sections = {
      control: new ByteReader(block.control),
      differ: new ByteReader(block.differ),
      literal: new ByteReader(block.literal),
      frames: new ByteReader(block.frames),
    };
    while (await this.#step(sections));
    if (Object.values(sections).some((section) => !section.isDone))
      throw damaged("a block has bytes too many");
  }

  end(): readonly Digest[] {
    if (this.#making !== undefined || this.#digests.length !== this.#fresh.length)
      throw damaged("it ends before all contents are there");
    return this.#digests;
  }

  [Symbol.dispose](): void {
    this.#making?.old[Symbol.dispose]();
  }

  /** One instruction. @returns whether there may be more in this block */
  async #step(sections: Sections): Promise<boolean> {
    const { control, literal } = sections;
    const making = this.#making;
    if (making === undefined) {
      if (control.isDone) return false;
      this.#begin(control);
      return true;
    }
    if (making.method === "frame") await this.#frame(making, sections);
    else if (making.method === "whole") {
      if (literal.isDone) return false;
      await this.#bytes(making, "literal", Math.min(making.left, literal.left), sections);
    } else {
      if (control.isDone) return false;
      await this.#run(making, sections);
    }
    if (making.left === 0) await this.#finish(making);
    return true;
  }

  #begin(control: ByteReader): void {
    const content = this.#digests.length;
    const fresh = this.#fresh[content];
    if (fresh === undefined) throw damaged("it has contents too many");
    const method = control.number();
    const old = new JoinedContent(this.#basesOf(method, fresh, control));
    const name = methodOf(method);
    this.#making = { left: fresh.size, size: fresh.size, method: name, old, shift: 0 };
    this.#sink.begin(content, fresh.size);
  }

  #basesOf(method: number, fresh: FreshContent, control: ByteReader) {
    const indexes: number[] = [];
    if (method === METHODS.runsOwn || method === METHODS.frameOwn) indexes.push(fresh.own ?? -1);
    if (method === METHODS.runsListed || method === METHODS.frameListed) {
      const count = control.number();
      if (count > MAX_BASES) throw damaged("a content is made from too many files");
      for (let i = 0; i < count; i++) indexes.push(control.number());
    }
    return indexes.map((index) => {
      const row = this.#old.files.files[index];
      if (row === undefined) throw damaged("a content is made from a file that is not there");
      return { size: row.size, content: this.#old.content(index) };
    });
  }

  async #frame(making: Making, { control, frames }: Sections): Promise<void> {
    const frame = frames.bytes(control.number());
    if (making.size > DICTIONARY_BYTES || making.old.size > DICTIONARY_BYTES)
      throw damaged("a frame with a dictionary is too large");
    const dictionary = making.old.slice(0, making.old.size);
    const bytes = openFrame(frame, making.size, dictionary);
    freeNow(dictionary);
    let old = Math.max(0, bytes.length - frame.length);
    for (let done = 0; done < bytes.length;) {
      const into = await this.#sink.space();
      const length = bytes.copy(into, 0, done);
      this.#sink.filled(length, Math.min(old, length));
      old -= Math.min(old, length);
      done += length;
    }
    freeFrame(bytes);
    making.left = 0;
  }

  async #run(making: Making, sections: Sections): Promise<void> {
    const instruction = sections.control.number();
    const kind = RUN_KINDS[instruction % RUN_KINDS.length] as (typeof RUN_KINDS)[number];
    const length = Math.floor(instruction / RUN_KINDS.length);
    if (length === 0 || length > making.left) throw damaged("a run does not fit its content");
    if (kind !== "literal") {
      making.shift += sections.control.signed();
      const at = making.size - making.left + making.shift;
      if (!(at >= 0 && at + length <= making.old.size))
        throw damaged("a run lies outside of the old content");
    }
    await this.#bytes(making, kind, length, sections);
  }

  async #bytes(
    making: Making,
    kind: (typeof RUN_KINDS)[number],
    length: number,
    sections: Sections,
  ): Promise<void> {
    for (let left = length; left > 0;) {
      const space = await this.#sink.space();
      const into = space.length > left ? space.subarray(0, left) : space;
      if (kind === "literal") into.set(sections.literal.bytes(into.length));
      else {
        making.old.read(making.size - making.left + making.shift, into);
        if (kind === "differ") addTo(into, sections.differ.bytes(into.length));
      }
      this.#sink.filled(into.length, kind === "literal" ? 0 : into.length);
      making.left -= into.length;
      left -= into.length;
    }
  }

  async #finish({ old }: Making): Promise<void> {
    old[Symbol.dispose]();
    this.#making = undefined;
    this.#digests.push(await this.#sink.end());
    if (this.#digests.length % CONTENTS_PER_TURN === 0) await setImmediate();
  }
}

type Sections = Record<keyof Block, ByteReader>;

function methodOf(method: number): Making["method"] {
  if (method === METHODS.whole) return "whole";
  if (method === METHODS.runsOwn || method === METHODS.runsListed) return "runs";
  if (method === METHODS.frameOwn || method === METHODS.frameListed) return "frame";
  throw damaged("a content is given in an unknown way");
}

/** Adds differences, which are nearly all zero: four at a time are looked at. */
function addTo(bytes: Buffer, differ: Buffer): void {
  const whole = differ.length - (differ.length % 4);
  for (let i = 0; i < whole; i += 4) {
    if (differ.readInt32LE(i) === 0) continue;
    for (let k = i; k < i + 4; k++) bytes[k] = (bytes[k] as number) + (differ[k] as number);
  }
  for (let k = whole; k < differ.length; k++) bytes[k] = (bytes[k] as number) + (differ[k] as number);
}
