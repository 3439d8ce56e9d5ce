import assert from "node:assert/strict";
import test from "node:test";
import { ROLLING } from "../../trust/strategy.fixture.ts";
import { needsOf, orderFor, type HeldOrder, type Line } from "./order.ts";

test("nodes go on from what they were told last, alone or with all others, unless it was taken back", () => {
  const order = (seq: number, selector: string): HeldOrder =>
    ({ order: { epoch: 0, seq, selector }, digest: String(seq) }) as unknown as HeldOrder;
  const whole = order(1, "all");
  const [a2, b3, a4, b5] = [order(2, "name=a"), order(3, "name=b"), order(4, "name=a"), order(5, "name=b")];
  const base = (selector: string, line: Partial<Line>): number | undefined =>
    orderFor({ standing: line.head, takenBack: false, whole, parts: [], ...line } as Line, selector)?.order
      .seq;
  assert.equal(base("name=a", { head: b3, parts: [b3, a2] }), 2);
  assert.equal(base("name=b", { head: b3, parts: [b3, a2] }), 3);
  assert.equal(base("name=c", { head: b3, parts: [b3, a2] }), 1);
  assert.equal(base("all", { head: b3, parts: [b3, a2] }), 1);
  assert.equal(base("name=a", { head: b5, parts: [b5, a4] }), 4);
  assert.equal(base("name=b", { head: b5, standing: a4, takenBack: true, parts: [a4, b3] }), 3);
  assert.equal(base("name=a", { head: whole }), 1);
  assert.equal(base("name=b", { head: b3 }), 3, "a hub that does not tell");
});

test("a settle needs the receipts that a rollout cannot end well without, and no more", () => {
  const needs = (total: number, present: number, change: Partial<typeof ROLLING> = {}): number =>
    needsOf(total, present, { ...ROLLING, ...change });
  assert.equal(needs(3, 0), 0, "nobody is there");
  assert.equal(needs(1, 1), 1);
  // One of three may be away: before this is signed, or after.
  assert.equal(needs(3, 3), 2);
  assert.equal(needs(3, 2), 2);
  assert.equal(needs(3, 1), 1, "the other two are waited for");
  assert.equal(needs(3, 3, { maxAbsent: 0 }), 3);
  assert.equal(needs(20, 20), 19);
  assert.equal(needs(20, 20, { maxFailed: "10%" }), 17);
  assert.equal(needs(2, 2, { maxFailed: 5 }), 1, "never nobody's");
  assert.equal(needs(1000, 1000), 32, "as many as a settle may name");
});
