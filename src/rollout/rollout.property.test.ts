import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import type { KeyId } from "../lib/text/ids.ts";
import { STALL_MS } from "./facts.ts";
import { membersOf } from "./plan.ts";
import { phaseOf, verdictOf, type Rollout } from "./rollout.ts";
import { abort, pause, resume } from "./steer.ts";
import { step } from "./step.ts";
import { tallyOf } from "./tally.ts";
import { kid, World } from "./world.fixture.ts";

const NODES = 8;
const node = fc.nat(NODES - 1);

type Event = (world: World) => void;
/** What may happen to a rollout, in any order. */
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(node, fc.constantFrom("ok", "ok", "ok", "failed", "refused" as const)).map(answers),
  },
  { weight: 2, arbitrary: node.map((n) => (world: World) => world.change(n, { present: false })) },
  { weight: 3, arbitrary: node.map((n) => (world: World) => world.change(n, { present: true })) },
  { weight: 2, arbitrary: node.map((n) => (world: World) => world.change(n, { serving: true })) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(1000, 30_000, STALL_MS).map((ms) => (world: World) => void (world.now += ms)),
  },
  { weight: 1, arbitrary: fc.constant((world: World) => void (world.since = world.now)) },
  {
    weight: 1,
    arbitrary: fc.constant((world: World) => void (world.rollout = pause(world.rollout, world.facts()))),
  },
  {
    weight: 1,
    arbitrary: fc.constant((world: World) => void (world.rollout = resume(world.rollout, world.scene()))),
  },
  {
    weight: 1,
    arbitrary: fc.constant((world: World) => void (world.rollout = abort(world.rollout, world.facts()))),
  },
);

/** An honest node: it only reports what it was told to do. */
function answers([n, verdict]: [number, "ok" | "failed" | "refused"]): Event {
  return (world) => {
    const facts = world.nodes.get(kid(n));
    if (facts?.present !== true) return;
    const gate = world.gate(n);
    if (gate === "go" && facts.receipt === null)
      world.change(n, { receipt: { verdict, code: null, message: null } });
    if (gate === "undo" && facts.receipt?.verdict === "ok") {
      world.change(n, { receipt: { verdict: "undone", code: null, message: null } });
    }
  };
}

const anyOptions = fc.record({
  strategy: fc.record({
    type: fc.constantFrom("rolling" as const, "rolling" as const, "all_at_once" as const),
    batch: fc.constantFrom(1, 2, 3, "50%", "100%"),
    maxUnavailable: fc.constantFrom(1, 2, "50%"),
    maxAbsent: fc.constantFrom(0, 1, "30%", "100%"),
    maxFailed: fc.constantFrom(0, 1, "25%"),
    bakeMs: fc.constantFrom(0, 30_000),
    onFailure: fc.constantFrom("undo" as const, "undo" as const, "pause" as const),
  }),
  away: fc.uniqueArray(node, { maxLength: 3 }),
  empty: fc.uniqueArray(node, { maxLength: 4 }),
});

const ranks = { forward: 0, back: 1 };
const covers = (big: ReadonlySet<KeyId>, small: ReadonlySet<KeyId>): boolean => small.isSubsetOf(big);

function assertMonotone(before: Rollout, after: Rollout): void {
  assert.ok(
    covers(after.go, before.go) && covers(after.back, before.back) && covers(after.lost, before.lost),
  );
  assert.ok(ranks[after.direction] >= ranks[before.direction]);
  if (before.ended !== null) assert.equal(after.ended, before.ended);
}

/** What one decision may do to the nodes, given what was known when it was made. */
function assertDecision(world: World, before: Rollout, after: Rollout): void {
  const { limits, plan } = world;
  const facts = world.facts();
  const told = [...after.go.difference(before.go)].filter((id) => facts.nodes.get(id)?.receipt === null);
  const servingTold = told.filter((id) => facts.nodes.get(id)?.serving === true);
  const tally = tallyOf(plan, before, facts);
  if (servingTold.length > 0) assert.ok(tally.inFlight.length + servingTold.length <= limits.maxUnavailable);
  if (told.length === 0 || before.ended !== null) return;
  assert.ok(told.every((id) => facts.nodes.get(id)?.present === true));
  assert.equal(after.direction, "forward");
  assert.equal(before.paused, false);
  assert.ok(tally.failed.length <= limits.maxFailed + before.forgiven);
  assert.ok(tally.absent.length + tally.gone.length <= limits.maxAbsent);
  const places = told.map((id) => plan.batches.findIndex((batch) => batch.includes(id)));
  for (const earlier of plan.batches.slice(
    0,
    Math.min(...places.map((place) => (place < 0 ? 1e9 : place))),
  )) {
    for (const id of earlier) assert.ok(!tally.waiting.includes(id) && !tally.inFlight.includes(id));
  }
}

function runChecked(world: World): void {
  for (;;) {
    const next = step(world.rollout, world.scene());
    if (next === world.rollout) return;
    assertMonotone(world.rollout, next);
    assertDecision(world, world.rollout, next);
    world.rollout = next;
  }
}

test("whatever happens, no decision breaks a bound and no decision is taken back", () => {
  fc.assert(
    fc.property(anyOptions, fc.array(anyEvent, { maxLength: 60 }), (options, events) => {
      const world = new World(NODES, options);
      for (const event of events) {
        const before = world.rollout;
        event(world);
        assertMonotone(before, world.rollout);
        runChecked(world);
      }
    }),
    { numRuns: 500 },
  );
});

test("whatever happened, once nodes answer and time passes it ends, and says how", () => {
  fc.assert(
    fc.property(anyOptions, fc.array(anyEvent, { maxLength: 40 }), (options, events) => {
      const world = new World(NODES, options);
      for (const event of events) {
        event(world);
        runChecked(world);
      }
      world.rollout = resume(world.rollout, world.scene());
      for (let round = 0; round < 4 * NODES; round++) {
        for (let n = 0; n < NODES; n++) {
          world.change(n, { present: true });
          answers([n, "ok"])(world);
          runChecked(world);
        }
        world.now += 60_000;
        runChecked(world);
      }
      assert.notEqual(verdictOf(world.rollout), null, phaseOf(world.rollout));
      // In the end all are on one side: done, or where they came from.
      const { ended } = world.rollout;
      for (const id of membersOf(world.plan)) {
        const verdict = world.nodes.get(id)?.receipt?.verdict;
        if (ended === "undone") assert.notEqual(verdict, "ok");
        if (ended === "ok") assert.notEqual(verdict, "undone");
      }
    }),
    { numRuns: 300 },
  );
});

test("the same states and facts give the same decisions, from any written state on", () => {
  fc.assert(
    fc.property(anyOptions, fc.array(anyEvent, { maxLength: 30 }), (options, events) => {
      const [one, two] = [new World(NODES, options), new World(NODES, options)];
      for (const event of events) {
        event(one);
        one.run();
        event(two);
        // As after a restart: only what was written is known.
        two.rollout = { ...two.rollout, go: new Set(two.rollout.go), back: new Set(two.rollout.back) };
        two.run();
      }
      assert.deepEqual(two.rollout, one.rollout);
    }),
    { numRuns: 100 },
  );
});

test("ten thousand nodes, some slow, some failing, some away, come to an end (long)", () => {
  const count = 10_000;
  const away = Array.from({ length: 200 }, (_, n) => n * 50);
  const world = new World(count, {
    away,
    strategy: { batch: "5%", maxUnavailable: 100, maxAbsent: "5%", maxFailed: "1%", bakeMs: 60_000 },
  });
  let rounds = 0;
  let done = 0;
  const answered = new Set<KeyId>();
  while (verdictOf(world.rollout) === null && rounds < 1000) {
    rounds += 1;
    world.now += 1000;
    for (const id of world.rollout.go) {
      const n = Number.parseInt(id, 16);
      // Every seventh answers only in every third round.
      if (answered.has(id) || (n % 7 === 0 && rounds % 3 !== 0)) continue;
      answered.add(id);
      const verdict = n % 997 === 1 ? "failed" : "ok";
      world.change(n, { receipt: { verdict, code: null, message: null } });
      done += 1;
    }
    world.run();
    const { inFlight } = tallyOf(world.plan, world.rollout, world.facts());
    assert.ok(inFlight.length <= 100);
  }
  assert.equal(world.phase, "ok");
  assert.equal(done, count - away.length);
  assert.ok(rounds < 600, `${rounds} rounds`);
});
