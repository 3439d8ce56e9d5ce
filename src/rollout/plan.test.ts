import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import { ROLLING } from "../trust/strategy.fixture.ts";
import { limitsOf } from "./limits.ts";
import { GRACE_MS } from "./facts.ts";
import { canPlan, membersOf, NO_LAYOUT, planOf, type Layout } from "./plan.ts";
import { kid, World } from "./world.fixture.ts";

test("amounts are numbers or shares: batches round down to one at least, absence rounds up", () => {
  const table: [object, number, object][] = [
    [{}, 3, { batch: 1, maxUnavailable: 1, maxAbsent: 1, maxFailed: 0 }],
    [{}, 100, { batch: 25, maxUnavailable: 1, maxAbsent: 5, maxFailed: 0 }],
    [{ batch: "50%", maxUnavailable: "10%" }, 7, { batch: 3, maxUnavailable: 1 }],
    [{ batch: "33.333%", maxFailed: "10%" }, 10, { batch: 3, maxFailed: 1 }],
    [{ maxAbsent: "10%" }, 10, { maxAbsent: 1 }],
    [{ maxAbsent: 0 }, 10, { maxAbsent: 0 }],
    [{ batch: 4, maxUnavailable: 2 }, 3, { batch: 4, maxUnavailable: 2 }],
    [{ type: "all_at_once" }, 9, { batch: 9, maxUnavailable: 9 }],
    [{}, 0, { batch: 1, maxUnavailable: 1, maxAbsent: 0 }],
  ];
  for (const [strategy, total, wanted] of table) {
    const limits = limitsOf({ ...ROLLING, ...strategy }, total);
    assert.deepEqual({ ...limits, ...wanted }, limits, `${JSON.stringify(strategy)} of ${total}`);
  }
});

test("an order to stop is not watched when it is done: nothing is there to be watched", () => {
  assert.equal(limitsOf({ ...ROLLING, bakeMs: 30_000 }, 3, "run").bakeMs, 30_000);
  assert.equal(limitsOf({ ...ROLLING, bakeMs: 30_000 }, 3, "stopped").bakeMs, 0);
});

test("strategies of a later version are refused by name", () => {
  for (const type of ["canary", "blue_green"] as const) {
    assert.throws(() => limitsOf({ ...ROLLING, type }, 3), { code: "MANIFEST_LATER", data: { type } });
  }
});

test("nodes where the app serves come first, then by name; who is away comes last", () => {
  const world = new World(6, { strategy: { batch: 2 }, away: [1], empty: [0, 3] });
  assert.deepEqual(world.plan, {
    batches: [[kid(2), kid(4)], [kid(5), kid(0)], [kid(3)]],
    absent: [kid(1)],
  });
});

test("names come in their order whatever the nodes' keys, and of two alike the lower key", () => {
  const world = new World(4);
  for (const [n, name] of ["web3", "web1", "web2", "web1"].entries()) world.change(n, { name });
  const members = [3, 2, 1, 0].map(kid);
  const plan = planOf(members, world.facts(), world.limits, NO_LAYOUT);
  assert.deepEqual(plan.batches.flat(), [1, 3, 2, 0].map(kid));
});

test("a plan is made when all are there, or when those who are not had time to call", () => {
  const world = new World(2, { away: [1] });
  const members = [kid(0), kid(1)];
  const can = (afterMs: number): boolean =>
    canPlan(members, { ...world.facts(), since: world.now, now: world.now + afterMs });
  assert.deepEqual([can(0), can(GRACE_MS - 1), can(GRACE_MS)], [false, false, true]);
  world.change(1, { present: true });
  assert.equal(can(0), true);
});

const SAY_WEB: Layout = {
  after: { web: ["say"], say: ["db"] },
  processesOn: (node) =>
    node === kid(0) ? ["web"] : node === kid(1) ? ["say", "web"] : node === kid(2) ? ["db"] : [],
};

test("nodes whose processes others look up come before them, and no batch holds both", () => {
  const { plan } = new World(4, { strategy: { type: "all_at_once" }, layout: SAY_WEB });
  assert.deepEqual(plan.batches, [
    [kid(2), kid(3)],
    [kid(0), kid(1)],
  ]);
});

test("processes that wait for each other in a circle are refused", () => {
  const layout: Layout = { after: { a: ["b"], b: ["c"], c: ["a"] }, processesOn: () => ["a"] };
  assert.throws(() => new World(1, { layout }), { code: "MANIFEST_INVALID", message: /a → b → c → a/ });
});

test("a plan holds each node once, whatever the order they are given in, in batches of the bound", () => {
  const node = fc.record({ present: fc.boolean(), serving: fc.boolean() });
  fc.assert(
    fc.property(fc.array(node, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), (nodes, batch) => {
      const world = new World(0);
      nodes.forEach((facts, n) => world.change(n, facts));
      const limits = { ...world.limits, batch };
      const members = nodes.map((_, n) => kid(n));
      const plan = planOf(members, world.facts(), limits, SAY_WEB);
      assert.deepEqual(planOf(members.toReversed(), world.facts(), limits, SAY_WEB), plan);
      assert.deepEqual(membersOf(plan).sort(), members.toSorted());
      for (const one of plan.batches) assert.ok(one.length > 0 && one.length <= batch);
    }),
  );
});
