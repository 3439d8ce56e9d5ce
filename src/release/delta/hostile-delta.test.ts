import assert from "node:assert/strict";
import { test } from "node:test";
import { applyDelta } from "./apply-delta.ts";
import { ByteWriter } from "./byte-io.ts";
import { HashingSink } from "./delta.fixture.ts";
import { planDelta } from "./encode-delta.ts";
import { DELTA_MAGIC } from "./limits.ts";
import { decodeTree } from "./read-tree.ts";
import { columns, COLUMNS, OPS } from "./tree-columns.ts";
import { OldFiles } from "./tree-state.ts";
import { packFrame } from "./zstd.ts";

/** What a depot may hand over that wants to do harm, in place of a delta from an empty tree. */
async function receive(pieces: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const content = (): never => assert.fail("there are no old files");
  await applyDelta(pieces, { state: { rows: [], times: [] }, content }, new HashingSink(), signal);
}

/** Of parts as long as they may be, about. */
const PATH = `${"n".repeat(199)}/`.repeat(5);

/** A delta up to its blocks. Folders only: each shares `shared` units with the path of the one before. */
function headOf(folders: number, shared: number): Buffer {
  const parts = columns(() => new ByteWriter());
  if (folders > 0) parts.ops.number(4 * folders + OPS.insert);
  for (let i = 0; i < folders; i++) {
    const name = i === 0 ? PATH.slice(0, shared) : "n";
    parts.kinds.number(0);
    parts.numbers.number(i === 0 ? 0 : shared);
    parts.numbers.number(name.length);
    parts.text.bytes(Buffer.from(name));
  }
  parts.times.number(0);
  const tree = new ByteWriter();
  for (const name of COLUMNS) tree.number(parts[name].length);
  for (const name of COLUMNS) tree.bytes(parts[name].view());
  const raw = Buffer.from(tree.view());
  const frame = packFrame(raw, 3);
  const isShorter = frame.length < raw.length;
  const head = new ByteWriter();
  head.bytes(Buffer.from(DELTA_MAGIC));
  head.number(raw.length);
  head.number(isShorter ? frame.length : raw.length);
  head.bytes(isShorter ? frame : raw);
  return Buffer.from(head.view());
}

test("a few kilobytes of rows that inflate to paths without end are refused", async (t) => {
  const delta = headOf(100_000, 999);
  assert.ok(delta.length < 16_384, `${delta.length} bytes`);
  const pieces = async function* () {
    yield delta;
  };
  await assert.rejects(receive(pieces(), t.signal), { code: "DELTA_CORRUPT" });
});

test("rows without number are refused, however short their paths", async (t) => {
  const pieces = async function* () {
    yield headOf(1_030_000, 1);
  };
  await assert.rejects(receive(pieces(), t.signal), { code: "DELTA_CORRUPT" });
});

test("a maker knows of a change how much of it receivers take (long)", () => {
  const none = { rows: [], times: [] };
  for (const [folders, fits] of [
    [62_000, true],
    [63_500, false],
  ] as const) {
    const paths = Array.from({ length: folders }, (_, n) => `${PATH}${String(n).padStart(5, "0")}`);
    const plan = planDelta(none, { rows: paths.map((at) => ({ kind: "d", path: at })), times: [] });
    assert.equal(plan.fits, fits);
    const decode = () => decodeTree(plan.tree, [], new OldFiles(none));
    if (fits) assert.doesNotThrow(decode);
    else assert.throws(decode, { code: "DELTA_CORRUPT" });
  }
});

/** Three sections that stand as they are, and frames, of no bytes each. */
const EMPTY_BLOCKS = Buffer.alloc(5 * 1000, Buffer.from([7, 0, 0, 0, 0]));

test("blocks that bring nothing are not read for ever", async (t) => {
  const pieces = async function* () {
    yield headOf(1, 1);
    for (let bytes = 0; bytes < 2 ** 20; bytes += EMPTY_BLOCKS.length) yield EMPTY_BLOCKS;
    assert.fail("it was read on and on");
  };
  await assert.rejects(receive(pieces(), t.signal), { code: "DELTA_CORRUPT" });
});
