import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyId, ReleaseId } from "../../lib/text/ids.ts";
import type { Order } from "../../trust/document/documents.ts";
import { Heard, type Answer } from "./ask.ts";
import type { NamedLine } from "./commands.ts";
import { driftOf } from "./drift.ts";
import { repairedOf } from "./repair.ts";

const ONE = "1".repeat(32) as ReleaseId;
const TWO = "2".repeat(32) as ReleaseId;
const ORDER = { app: "shop", release: ONE, state: "run", generation: 1 } as Order;

const line = (type: string, more: object = {}): NamedLine => ({
  node: "a".repeat(32) as KeyId,
  name: "n1",
  type,
  ...more,
});
const answer = (lines: readonly NamedLine[], more: Partial<Answer> = {}): Answer => ({
  node: "n1",
  outcome: "ok",
  lines,
  unkept: 0,
  code: null,
  message: null,
  hint: null,
  ...more,
});
const running = (more: object = {}): NamedLine =>
  line("running", { current: ONE, release: ONE, state: "run", generation: 1, busy: false, ...more });

const TABLE: readonly [what: string, lines: NamedLine[], differs: string[]][] = [
  ["all is as it should be", [running()], []],
  [
    "another release",
    [running({ release: TWO, current: TWO })],
    ["shop@22222222 where shop@11111111 was ordered"],
  ],
  [
    "nothing at all",
    [running({ release: null, current: null })],
    ["nothing where shop@11111111 was ordered"],
  ],
  ["it is stopped", [running({ state: "stopped" })], ["stopped where run was ordered"]],
  ["a restart is due", [running({ generation: 0 })], ["a restart that was ordered is still due"]],
  ["a lost link", [running({ current: null })], ["current is nothing where shop@11111111 was activated"]],
  [
    "missing instances",
    [running(), line("missing", { process: "web", serving: 1, wanted: 3 })],
    ["1 of 3 web serve"],
  ],
  [
    "instances by labels of before",
    [running(), line("surplus", { process: "web", instances: 2 })],
    ["2 web too many, which this node's labels do not ask for"],
  ],
  ["a sick one", [running(), line("ailing", { instance: "web.1", why: "500" })], ["web.1 is not well: 500"]],
];

test("drift: what was stopped before it ever came to a node needs no link there", () => {
  const lines = [running({ state: "stopped", current: null })];
  assert.deepEqual(driftOf(answer(lines), { ...ORDER, state: "stopped" }).differs, []);
});

for (const [what, lines, differs] of TABLE) {
  test(`drift: ${what}`, () => assert.deepEqual(driftOf(answer(lines), ORDER).differs, differs));
}

test("drift: a node's no is a difference, and its silence is none", () => {
  const no = answer([], { outcome: "failed", code: "APP_NOT_FOUND", message: "this node holds no shop" });
  assert.deepEqual(driftOf(no, ORDER).differs, ["APP_NOT_FOUND this node holds no shop"]);
  const silent = driftOf(answer([], { outcome: "silent" }), ORDER);
  assert.deepEqual([silent.outcome, silent.differs], ["silent", []]);
});

test("drift: files are counted in all, and text from a node stays on its line", () => {
  const lines = [
    line("difference", { release: ONE, path: "a\nn2  OK", reason: "content" }),
    line("compared", { release: ONE, differences: 1500 }),
  ];
  const { files, filesDiffering } = driftOf(answer(lines), undefined);
  assert.deepEqual([files[0]?.path, filesDiffering], ["a n2  OK", 1500]);
});

test("drift, repair: that a node said more than is kept of it is told", () => {
  const heard = new Heard();
  for (let n = 0; n < 5002; n++)
    heard.take(line("difference", { release: ONE, path: `f${n}`, reason: "content" }));
  heard.take({ ...line("result", { ok: true }), name: "n2" });
  heard.take(line("compared", { release: ONE, differences: 5002 }));
  heard.take(line("result", { ok: true }));
  const { files, differs, outcome } = driftOf(heard.answer("n1"), undefined);
  assert.deepEqual([outcome, files.length], ["ok", 5000]);
  assert.deepEqual(differs, ["more than is shown: it said 3 lines beyond the 5000 that are kept"]);
  assert.deepEqual(driftOf(heard.answer("n2"), undefined).differs, []);
  assert.equal(heard.answer("n3").outcome, "silent");
  const mended = repairedOf(answer([line("mended", { path: "a", reason: "content" })], { unkept: 7 }));
  assert.equal(mended.done.at(-1), "more than is shown: it said 7 lines beyond those");
});

test("repair: what was done is said, and nothing done is well", () => {
  assert.equal(repairedOf(answer([])).outcome, "well");
  const lines = [
    line("mended", { path: "a.txt", reason: "content" }),
    line("files", { files: 1, shared: 2 }),
    line("ended", { process: "web", instances: 2 }),
    line("progress"),
  ];
  assert.deepEqual(repairedOf(answer(lines)).done, [
    "a.txt (content) was set right",
    "1 file was replaced, and 2 in other releases that shared them",
    "2 web ended, which this node's labels do not ask for",
  ]);
  const failed = answer(lines, { outcome: "failed", code: "VERIFY_FAILED", message: "it is broken" });
  assert.deepEqual([repairedOf(failed).outcome, repairedOf(failed).done.length], ["failed", 3]);
});
