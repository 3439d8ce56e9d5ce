import assert from "node:assert/strict";
import { test } from "node:test";
import type { RolloutNode, RolloutView } from "../../api/schemas.ts";
import type { Digest, KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { board, boardLines, counters, worst } from "./board.ts";
import { columns, type Io } from "./io.ts";

const node = (name: string, more: Partial<RolloutNode> = {}): RolloutNode => ({
  node: name as KeyId,
  name,
  batch: 0,
  present: true,
  gate: "go",
  state: "judge",
  verdict: null,
  code: null,
  message: null,
  bytesDone: 0,
  bytesTotal: null,
  note: null,
  cut: 0,
  ...more,
});

const view = (nodes: RolloutNode[], phase: RolloutView["phase"] = "running"): RolloutView => ({
  order: "0".repeat(64) as Digest,
  app: "shop",
  env: "default",
  release: "3f9c2ab1".padEnd(32, "0") as ReleaseId,
  phase,
  nodes,
  verdict: null,
  revision: 1,
});

const plain = { columns: 60, rows: 24, paint: (_colour: string, text: string) => text };
const failed = { verdict: "failed", code: "HEALTH_TIMEOUT", message: "not ready in 30s" } as const;

test("a board has a line for each node, with what it does and why it failed", () => {
  const lines = boardLines(
    view([
      node("n1", { bytesDone: 512, bytesTotal: 2048 }),
      node("n2", { gate: "hold" }),
      node("n3", failed),
      node("n4", { verdict: "ok", cut: 2, sources: { disk: 40_000_000, hub: 1200 } }),
    ]),
    plain,
  );
  assert.deepEqual(lines, [
    "shop@3f9c2ab1  running",
    "  n1  judge  512 B of 2.0 KB",
    "  n2  waits for its batch",
    "  n3  failed  HEALTH_TIMEOUT not ready in 30s",
    "  n4  ok  hub 1.2 KB, disk 40.0 MB  2 connections cut",
  ]);
});

test("a node that is to go back and is in a hook says that this is waited for", () => {
  const texts = [
    node("n1", { gate: "undo", state: "pre-jump", note: "shop@3f9c2ab1" }),
    node("n2", { gate: "undo", state: "back-flip" }),
    node("n3", { gate: "go", state: "pre-jump" }),
  ];
  assert.deepEqual(boardLines(view(texts, "undoing"), plain), [
    "shop@3f9c2ab1  undoing",
    "  n1  pre-jump  goes back when this hook has ended",
    "  n2  back-flip",
    "  n3  pre-jump",
  ]);
});

test("above twenty nodes it shows counters and those that differ, worst first", () => {
  const nodes = [
    ...Array.from({ length: 30 }, (_, i) => node(`ok${i}`, { verdict: "ok" })),
    node("slow"),
    node("bad", failed),
    node("later", { gate: "hold" }),
  ];
  assert.equal(counters({ nodes }), "30 ok · 1 judge · 1 failed · 1 waiting");
  assert.deepEqual(
    worst(nodes).map(({ name }) => name),
    ["bad", "slow"],
  );
  assert.equal(boardLines(view(nodes), plain).length, 4);
});

test("no line is wider than the terminal", () => {
  const lines = boardLines(view([node("n1", { ...failed, message: "x".repeat(200) })]), plain);
  assert.ok(lines.every((line) => line.length < 60));
});

test("what is redrawn wraps on no terminal, and scrolls out of none", () => {
  const nodes = Array.from({ length: 18 }, (_, i) => node(`n${i}`, i % 2 === 0 ? failed : {}));
  const painted: string[] = [];
  const paint = (_colour: string, text: string): string => {
    painted.push(text);
    return text;
  };
  for (const [width, height] of [
    [80, 24],
    [40, 10],
    [12, 4],
    [1, 1],
  ] as const) {
    const lines = boardLines(view(nodes, "baking"), { columns: width, rows: height, paint });
    assert.ok(
      lines.every((line) => line.length < Math.max(2, width)),
      `${width}: ${lines.join("|")}`,
    );
    assert.ok(lines.length < Math.max(3, height), `${height}: ${lines.length}`);
  }
  assert.equal(boardLines(view(nodes), { columns: 80, rows: 24, paint }).length, 19);
  const few = boardLines(view(nodes), { columns: 80, rows: 8, paint });
  assert.deepEqual([few.length, few[1]], [7, "  9 failed · 9 judge"]);
  assert.ok(!painted.includes(""));
});

test("what an app says in wide characters takes one line, too", () => {
  const [, line = ""] = boardLines(view([node("n1", { note: "起動中".repeat(20) })]), {
    ...plain,
    columns: 40,
  });
  const [, head = "", wide = ""] = /^([^起]*)(.+)$/.exec(line) ?? [];
  assert.equal(head, "  n1  judge  ");
  assert.ok(head.length + 2 * wide.length <= 39, line);
});

function recorder(live: boolean): { io: Io; said: string[]; drawn: string[] } {
  const said: string[] = [];
  const drawn: string[] = [];
  const io: Io = {
    json: false,
    quiet: false,
    verbose: false,
    live,
    columns: 60,
    rows: 24,
    print: () => undefined,
    say: (line) => void said.push(line),
    raw: (text) => void drawn.push(text),
    event: () => undefined,
    paint: (_colour, text) => text,
  };
  return { io, said, drawn };
}

test("elsewhere than on a terminal each change is one line, and nothing is redrawn", () => {
  const { io, said, drawn } = recorder(false);
  const shown = board(io);
  shown.show(view([node("n1")]));
  shown.show(view([node("n1")]));
  shown.show(view([node("n1", { verdict: "ok" })], "ok"));
  shown.end();
  assert.deepEqual(said, ["n1  judge", "n1  ok", "shop@3f9c2ab1  ok"]);
  assert.deepEqual(drawn, []);
});

test("on a terminal a burst of views is drawn once, over the last picture", () => {
  const { io, drawn } = recorder(true);
  const shown = board(io);
  for (let i = 0; i < 100; i++) shown.show(view([node("n1", { note: String(i) })]));
  shown.end();
  assert.equal(drawn.length, 1);
  assert.match(drawn[0] ?? "", /n1 {2}judge {2}99/);
  shown.show(view([node("n1", { verdict: "ok" })], "ok"));
  shown.end();
  assert.ok(drawn[1]?.startsWith("\x1b[2A"));
});

test("columns are as wide as their widest cell", () => {
  assert.deepEqual(
    columns([
      ["a", "bb", "c"],
      ["aaa", "b", ""],
    ]),
    ["a    bb  c", "aaa  b"],
  );
});
