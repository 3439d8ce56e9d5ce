/** Each part of a delta that says what cannot be: refused before anything is made, read or written by it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { digestOf } from "../../lib/text/ids.ts";
import { tempDir } from "../release.fixture.ts";
import type { Row } from "../tree/rows.ts";
import { applyDelta } from "./apply-delta.ts";
import { ByteWriter } from "./byte-io.ts";
import { HashingSink } from "./delta.fixture.ts";
import {
  BLOCK_BYTES,
  CONTROL_BYTES,
  DELTA_MAGIC,
  DICTIONARY_BYTES,
  FRAMES_BYTES,
  TREE_BYTES,
} from "./limits.ts";
import { METHODS } from "./piece.ts";
import { columns, COLUMNS, OPS, SOURCES, type Columns } from "./tree-columns.ts";
import type { TreeState } from "./tree-state.ts";
import { packFrame } from "./zstd.ts";

/** The older tree: a folder and two files, of which one is large and never read here. */
const OLD = Buffer.from("0123456789".repeat(10));
const LARGE = DICTIONARY_BYTES + 1;
const ROWS: readonly Row[] = [
  { kind: "d", path: "a" },
  { kind: "f", path: "a/old", size: OLD.length, sha256: digestOf(OLD) },
  { kind: "f", path: "large", size: LARGE, sha256: digestOf("large") },
];

type Write = (parts: Columns<ByteWriter>) => void;

const bytesOf = (...numbers: readonly number[]): Buffer => {
  const writer = new ByteWriter();
  for (const number of numbers) writer.number(number);
  return Buffer.from(writer.view());
};

/** A name as a whole, shared with none. */
const name = (parts: Columns<ByteWriter>, text: string | Buffer, head = 0): void => {
  const bytes = Buffer.from(text);
  parts.numbers.number(head);
  parts.numbers.number(bytes.length);
  parts.text.bytes(bytes);
};

/** A new file at `z` of so many bytes. */
const fresh =
  (size: number): Write =>
  (parts) => {
    parts.ops.number(4 + OPS.insert);
    parts.kinds.number(1 + 4 * SOURCES.fresh);
    name(parts, "z");
    parts.numbers.signed(size);
  };

const insert =
  (kind: number, write: Write): Write =>
  (parts) => {
    parts.ops.number(4 + OPS.insert);
    parts.kinds.number(kind);
    write(parts);
  };

/** A tree that keeps all rows, and what is written beside. */
function treeOf(write: Write, { kept = ROWS.length, more = 0, usual = 5 } = {}): Buffer {
  const parts = columns(() => new ByteWriter());
  if (kept > 0) parts.ops.number(4 * kept + OPS.keep);
  parts.times.number(usual);
  write(parts);
  const tree = new ByteWriter();
  for (const column of COLUMNS) tree.number(parts[column].length);
  for (const column of COLUMNS) tree.bytes(parts[column].view());
  tree.bytes(Buffer.alloc(more));
  return Buffer.from(tree.view());
}

const headOf = (tree: Buffer): Buffer =>
  Buffer.concat([Buffer.from(DELTA_MAGIC), bytesOf(tree.length, tree.length), tree]);

interface Parts {
  readonly control?: Buffer;
  readonly differ?: Buffer;
  readonly literal?: Buffer;
  readonly frames?: Buffer;
}

/** A block as it is, with nothing compressed. */
function block({
  control = Buffer.alloc(0),
  differ = Buffer.alloc(0),
  literal = Buffer.alloc(0),
  frames = Buffer.alloc(0),
}: Parts): Buffer {
  const lengths = bytesOf(7, control.length, differ.length, literal.length, frames.length);
  return Buffer.concat([lengths, control, differ, literal, frames]);
}

async function receive(t: TestContext, delta: Buffer): Promise<TreeState & { readonly made: number }> {
  const file = path.join(tempDir(t), "old");
  fs.writeFileSync(file, OLD);
  const content = () => ({ file, offset: 0 });
  const pieces = async function* () {
    yield delta;
  };
  const sink = new HashingSink();
  const state = { rows: ROWS, times: [1, 2] };
  return { ...(await applyDelta(pieces(), { state, content }, sink, t.signal)), made: sink.bytes };
}

const LITERAL = 0;
const DIFFER = 1;
const COPY = 2;
const run = (kind: number, length: number): number => 3 * length + kind;
/** As it stands where either sign is written. */
const minus = (value: number): number => 2 * value - 1;
const plus = (value: number): number => 2 * value;
const X = (length: number): Buffer => Buffer.alloc(length, "x");
const DICTIONARY_FRAME = packFrame(Buffer.from("0123456789and more"), 3, OLD);

test("a delta of right parts leads where they say", async (t) => {
  const made: readonly [size: number, parts: Parts, is: string][] = [
    [3, { control: bytesOf(METHODS.whole), literal: X(3) }, "xxx"],
    [
      12,
      {
        control: bytesOf(
          METHODS.runsListed,
          1,
          0,
          run(LITERAL, 2),
          run(COPY, 4),
          minus(2),
          run(DIFFER, 6),
          plus(90),
        ),
        literal: X(2),
        differ: Buffer.from([1, 1, 1, 1, 1, 0]),
      },
      "xx0123567899",
    ],
    [
      18,
      { control: bytesOf(METHODS.frameListed, 1, 0, DICTIONARY_FRAME.length), frames: DICTIONARY_FRAME },
      "0123456789and more",
    ],
  ];
  for (const [size, parts, is] of made) {
    const { rows, times } = await receive(t, Buffer.concat([headOf(treeOf(fresh(size))), block(parts)]));
    assert.deepEqual(rows, [...ROWS, { kind: "f", path: "z", size, sha256: digestOf(is) }]);
    assert.deepEqual(times, [1, 2, 5]);
  }
});

const NOTHING: Write = () => undefined;
const TREES: readonly [what: string, message: RegExp, tree: Buffer][] = [
  ["bytes too many", /bytes too many/, treeOf(NOTHING, { more: 1 })],
  ["changes of rows that are not there", /rows that are not there/, treeOf(NOTHING, { kept: 4 })],
  ["no word of a row", /becomes of every row/, treeOf(NOTHING, { kept: 2 })],
  ["a new file of no bytes", /a file has no size/, treeOf(fresh(0))],
  ["a new file of less than none", /a file has no size/, treeOf(fresh(-1))],
  [
    "a folder with a content",
    /a row of no kind/,
    treeOf(insert(4 * SOURCES.old, (parts) => name(parts, "z"))),
  ],
  ["a file from nowhere", /a row of no kind/, treeOf(insert(1 + 4 * 4, (parts) => name(parts, "z")))],
  ["a path that climbs", /a path that may not be/, treeOf(insert(0, (parts) => name(parts, "../z")))],
  ["a path of two rows", /a path that may not be/, treeOf(insert(0, (parts) => name(parts, "z\nd y")))],
  [
    "a path that is no text",
    /a name is not UTF-8/,
    treeOf(insert(0, (parts) => name(parts, Buffer.from([0xff])))),
  ],
  ["a path that shares too much", /refers too far/, treeOf(insert(0, (parts) => name(parts, "z", 6)))],
  [
    "a path that is cut",
    /ends too early/,
    treeOf(insert(0, (parts) => [0, 9].map((n) => parts.numbers.number(n)))),
  ],
  [
    "a link that may not be",
    /a link that may not be/,
    treeOf(
      insert(3, (parts) => {
        name(parts, "z");
        parts.numbers.number(1);
        parts.text.bytes(Buffer.from([7]));
      }),
    ),
  ],
  [
    "a file that was moved from nowhere",
    /a file that is not there/,
    treeOf(insert(1 + 4 * SOURCES.old, (parts) => parts.numbers.signed(2))),
  ],
  [
    "a moved file's path that shares too much",
    /refers too far/,
    treeOf(
      insert(1 + 4 * SOURCES.old, (parts) => {
        parts.numbers.signed(0);
        parts.numbers.number(0);
        parts.numbers.number("a/old".length + 1);
        parts.numbers.number(0);
      }),
    ),
  ],
  [
    "a content again that never came",
    /repeats a content/,
    treeOf(
      insert(1 + 4 * SOURCES.again, (parts) => {
        name(parts, "z");
        parts.numbers.number(0);
      }),
    ),
  ],
  [
    "a time of a file that is not there",
    /times of files that are not there/,
    treeOf((parts) => [2, 0].map((n) => parts.times.number(n))),
  ],
  [
    "a time before all",
    /a time is out of bounds/,
    treeOf((parts) => [0, minus(6)].map((n) => parts.times.number(n))),
  ],
  [
    "a time after all",
    /a time is out of bounds/,
    treeOf((parts) => [0, plus(1)].map((n) => parts.times.number(n)), { usual: 99_999_999_999_999 }),
  ],
];

for (const [what, message, tree] of TREES) {
  test(`a tree with ${what} is refused`, async (t) => {
    await assert.rejects(receive(t, headOf(tree)), { code: "DELTA_CORRUPT", message });
  });
}

const ONE = headOf(treeOf(fresh(3)));
const method = (...numbers: readonly number[]): Buffer =>
  block({ control: bytesOf(...numbers), literal: X(3) });
const runs = (...numbers: readonly number[]): Buffer => method(METHODS.runsListed, 1, 0, ...numbers);
const NINE = Array.from({ length: 9 }, () => 0);
const framed = (size: number, ...bases: readonly number[]): Buffer =>
  Buffer.concat([
    headOf(treeOf(fresh(size))),
    block({ control: bytesOf(METHODS.frameListed, bases.length, ...bases, 4), frames: X(4) }),
  ]);

const BLOCKS: readonly [what: string, message: RegExp, delta: Buffer][] = [
  ["another beginning", /does not begin as one/, Buffer.from("skd2")],
  [
    "a tree too long",
    /its tree is too long/,
    Buffer.concat([Buffer.from(DELTA_MAGIC), bytesOf(TREE_BYTES + 1, 1)]),
  ],
  ["a tree that grew", /its tree is too long/, Buffer.concat([Buffer.from(DELTA_MAGIC), bytesOf(10, 11)])],
  ["unknown flags", /unknown flags/, Buffer.concat([ONE, bytesOf(64)])],
  ["a section too long", /section is longer/, Buffer.concat([ONE, bytesOf(7, CONTROL_BYTES + 1)])],
  ["sections too long", /a block is too long/, Buffer.concat([ONE, bytesOf(7, 0, BLOCK_BYTES, 1)])],
  ["a section that grew", /part of it is longer/, Buffer.concat([ONE, bytesOf(6, 0, 1026, 0, 0, 0)])],
  ["frames too long", /part of it is longer/, Buffer.concat([ONE, bytesOf(7, 0, 0, 0, FRAMES_BYTES + 1)])],
  ["a content too many", /contents too many/, Buffer.concat([ONE, method(METHODS.whole, METHODS.whole)])],
  ["a content too few", /before all contents/, ONE],
  [
    "half a content",
    /before all contents/,
    Buffer.concat([ONE, block({ control: bytesOf(1), literal: X(2) })]),
  ],
  ["an unknown method", /an unknown way/, Buffer.concat([ONE, method(5)])],
  [
    "a content from too many files",
    /too many files/,
    Buffer.concat([ONE, method(METHODS.runsListed, 9, ...NINE)]),
  ],
  [
    "a content from no file",
    /a file that is not there/,
    Buffer.concat([ONE, method(METHODS.runsListed, 1, 2)]),
  ],
  [
    "a content from none at its path",
    /a file that is not there/,
    Buffer.concat([ONE, method(METHODS.runsOwn)]),
  ],
  ["a run of nothing", /does not fit its content/, Buffer.concat([ONE, runs(run(LITERAL, 0))])],
  ["a run too long", /does not fit its content/, Buffer.concat([ONE, runs(run(LITERAL, 4))])],
  ["a run before the old content", /outside of the old/, Buffer.concat([ONE, runs(run(COPY, 3), minus(1))])],
  ["a run behind the old content", /outside of the old/, Buffer.concat([ONE, runs(run(COPY, 3), plus(98))])],
  [
    "literals too few",
    /ends too early/,
    Buffer.concat([ONE, block({ control: bytesOf(3, 1, 0, run(LITERAL, 3)) })]),
  ],
  [
    "literals too many",
    /bytes too many/,
    Buffer.concat([ONE, block({ control: bytesOf(1), literal: X(4) })]),
  ],
  [
    "differences too many",
    /bytes too many/,
    Buffer.concat([ONE, block({ control: bytesOf(1), literal: X(3), differ: X(1) })]),
  ],
  [
    "frames too many",
    /bytes too many/,
    Buffer.concat([ONE, block({ control: bytesOf(1), literal: X(3), frames: X(1) })]),
  ],
  ["a frame for too large a content", /dictionary is too large/, framed(DICTIONARY_BYTES + 1, 0)],
  ["too large a dictionary", /dictionary is too large/, framed(3, 1)],
  ["a frame that is none", /cannot be inflated/, framed(3, 0)],
];

for (const [what, message, delta] of BLOCKS) {
  test(`a delta with ${what} is refused`, async (t) => {
    await assert.rejects(receive(t, delta), { code: "DELTA_CORRUPT", message });
  });
}

test("a block that is bad is met in its turn, while the one before it is made", async (t) => {
  class SlowSink extends HashingSink {
    made = "";
    override async space(): Promise<Buffer> {
      for (let turn = 0; turn < 10; turn++) await setImmediate();
      this.made += "x";
      return super.space();
    }
  }
  const sink = new SlowSink();
  const good = block({ control: bytesOf(METHODS.whole), literal: X(3) });
  const pieces = async function* () {
    yield Buffer.concat([ONE, good, bytesOf(64)]);
  };
  const content = (): never => assert.fail("nothing old is asked for");
  const old = { state: { rows: ROWS, times: [1, 2] }, content };
  await assert.rejects(applyDelta(pieces(), old, sink, t.signal), { message: /unknown flags/ });
  assert.equal(sink.made, "x");
});
