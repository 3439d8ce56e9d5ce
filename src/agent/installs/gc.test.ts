import assert from "node:assert/strict";
import test from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { world } from "../agent.fixture.ts";
import { ask } from "../programs/command.fixture.ts";
import { removable } from "./gc.ts";

const id = (n: number): ReleaseId => String(n).repeat(32) as ReleaseId;
const ids = (...all: number[]): ReleaseId[] => all.map(id);
const KEEP = { releases: 3, good: 2, freeDisk: 0.1 };

const TABLE: readonly [
  what: string,
  installed: number[],
  good: number[],
  needed: number[],
  tight: boolean,
  gone: number[],
][] = [
  ["nothing beyond the policy", [3, 2, 1], [3, 2, 1], [3], false, []],
  ["the oldest goes", [4, 3, 2, 1], [4, 3, 2, 1], [4], false, [1]],
  ["failed ones never push good ones out", [9, 8, 7, 6, 2, 1], [2, 1], [2], false, [8, 7, 6]],
  ["what is needed stays, however old", [5, 4, 3, 2, 1], [5, 4], [5, 1], false, [3, 2]],
  ["a tight disk keeps only what is needed and the good ones", [5, 4, 3, 2, 1], [4, 3, 1], [5], true, [2, 1]],
  ["what is needed and not here pushes nothing out", [3, 2, 1], [3], [5, 4, 3], false, []],
  ["what ran well but is no more there counts for nothing", [5, 2, 1], [4, 3, 2, 1], [5], true, []],
];

for (const [what, installed, good, needed, isTight, gone] of TABLE) {
  test(`gc: ${what}`, () => {
    const found = removable({
      installed: ids(...installed),
      good: ids(...good),
      needed: new Set(ids(...needed)),
      keep: KEEP,
      isTight,
    });
    assert.deepEqual(found, ids(...gone));
  });
}

test("what came and was stopped while a node was off keeps it from no gc", async (t) => {
  const w = await world(t);
  await w.agent();
  const tree = { "skein.yaml": "app: shop\nkind: files\n", version: "1" };
  await w.receipt((await w.deploy(tree)).digest, "ok");
  const { digest, envelope } = await w.order(await w.publish({ ...tree, version: "2" }), {
    state: "stopped",
  });
  w.offer({ orders: [envelope], gates: { [digest]: "go" } });
  await w.receipt(digest, "ok");
  const answer = await ask(w, "gc", {});
  assert.deepEqual([answer.at(-1)?.["ok"], answer.at(-1)?.["code"]], [true, undefined]);
});
