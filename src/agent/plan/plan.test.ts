import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import {
  afterFailure,
  attemptFor,
  isPatient,
  outcomeOf,
  oldServes,
  sparesTableOnly,
  plan,
  turned,
  type Actual,
  type Attempt,
  type Goal,
  type Reached,
  type StepName,
} from "./plan.ts";

const release = (n: number): ReleaseId => String(n).repeat(32).slice(0, 32) as ReleaseId;
const order = (n: number): Digest => String(n).repeat(64).slice(0, 64) as Digest;
const [A, B, C] = [release(1), release(2), release(3)];
const [ONE, TWO, THREE] = [order(1), order(2), order(3)];

const goal = (of: Partial<Goal> = {}): Goal => ({
  order: TWO,
  release: B,
  state: "run",
  generation: 0,
  beside: [],
  hooks: true,
  back: false,
  go: true,
  everywhere: false,
  answers: { epoch: 0, seq: 1, release: B },
  ...of,
});
const reached = (of: Partial<Reached> = {}): Reached => ({
  order: ONE,
  release: A,
  state: "run",
  generation: 0,
  beside: [],
  ...of,
});
const EMPTY: Actual = { current: null, reached: null, attempt: null, running: [], tableOnly: [], fits: true };
const SERVING: Actual = {
  current: A,
  reached: reached(),
  attempt: null,
  running: [A],
  tableOnly: [],
  fits: true,
};
/** Has jumped from C to A; of C only what callers on other nodes look up is left. */
const LINGERING: Actual = { ...SERVING, running: [C, A], tableOnly: [C, A] };
const under = (actual: Actual, to: Goal, done: readonly StepName[] = []): Actual => ({
  ...actual,
  attempt: { ...attemptFor(to, actual), done },
});
const failing = (actual: Actual): Actual => ({
  ...actual,
  attempt: actual.attempt && {
    ...actual.attempt,
    back: { why: "failed", code: "HOOK_FAILED", message: "no" },
  },
});
const PASSED = ["install", "post-sync", "judge", "pre-jump", "un-jump"] as const;

const JUMP_FROM_FLIP = "flip attach post-jump beside retire finish";

const TABLE: readonly [what: string, goal: Goal | null, actual: Actual, steps: string][] = [
  ["nothing wanted, nothing here", null, EMPTY, ""],
  ["an order may begin", goal(), SERVING, "begin"],
  ["an order that is held waits, and what runs is kept up", goal({ go: false }), SERVING, ""],
  [
    "a held order does not stop the old release from being brought back",
    goal({ go: false }),
    { ...SERVING, running: [] },
    "revive",
  ],
  ["what is reached needs nothing", goal({ order: ONE, release: A }), SERVING, ""],
  ["another order for the same thing is only taken over", goal({ release: A }), SERVING, "adopt"],
  [
    "another order for what is here in part begins what is missing",
    goal({ release: A }),
    { ...SERVING, fits: false },
    "begin",
  ],
  [
    "what of it serves is left alone",
    goal({ release: A }),
    under({ ...SERVING, fits: false }, goal({ release: A })),
    "install judge attach beside retire finish",
  ],
  ["after a reboot what was reached is brought back", null, { ...SERVING, running: [] }, "revive"],
  ["a lost current is pointed again", null, { ...SERVING, current: null }, "mend"],
  [
    "no current is pointed at what was stopped before it ever came here",
    null,
    { ...EMPTY, reached: reached({ state: "stopped" }) },
    "",
  ],
  ["a release that nobody asks for is retired", null, { ...SERVING, running: [A, C] }, "tidy"],
  [
    "what others may look up lives while other nodes are under way",
    goal({ order: ONE, release: A }),
    LINGERING,
    "",
  ],
  [
    "what others looked up is retired once the order stands everywhere",
    goal({ order: ONE, release: A, everywhere: true }),
    LINGERING,
    "tidy",
  ],
  ["without a word of the order it lives on", null, LINGERING, ""],
  [
    "whatever has another way in is retired at once",
    goal({ order: ONE, release: A }),
    { ...LINGERING, tableOnly: [A] },
    "tidy",
  ],
  ["a next order that is held back ends nothing", goal({ order: TWO, release: B, go: false }), LINGERING, ""],
  [
    "retiring what ran beside leaves the current instances alone",
    goal({ release: A }),
    under({ ...SERVING, reached: reached({ beside: [C] }), running: [A, C] }, goal({ release: A })),
    "beside retire finish",
  ],
  [
    "taking back a change of what runs beside touches nothing itself",
    goal({ release: A }),
    failing(under({ ...SERVING, reached: reached({ beside: [C] }) }, goal({ release: A }))),
    "finish",
  ],
  [
    "a jump goes in FTL's order of hooks",
    goal(),
    under(SERVING, goal()),
    "install post-sync judge pre-jump un-jump flip attach post-jump beside retire finish",
  ],
  [
    "without hooks the jump is the same without them",
    goal({ hooks: false }),
    under(SERVING, goal({ hooks: false })),
    "install judge flip attach beside retire finish",
  ],
  [
    "a new generation replaces the instances and runs no jump hooks",
    goal({ release: A, generation: 1 }),
    under(SERVING, goal({ release: A, generation: 1 })),
    "install judge attach beside retire finish",
  ],
  ["a stop stops", goal({ state: "stopped" }), under(SERVING, goal({ state: "stopped" })), "halt finish"],
  [
    "an attempt whose order is taken back turns round before anything else",
    goal({ release: A, back: true }),
    under(SERVING, goal(), PASSED),
    "turn",
  ],
  ["what goes on here goes on without any word", null, under(SERVING, goal(), PASSED), JUMP_FROM_FLIP],
  [
    "a failure before un-jump drops the new release and leaves the old one",
    goal(),
    failing(under(SERVING, goal(), ["install", "post-sync", "judge"])),
    "back-drop back-attach finish",
  ],
  [
    "a failure past un-jump goes back with the hooks of both",
    goal(),
    failing(under(SERVING, goal(), [...PASSED, "flip", "attach"])),
    "back-un-jump back-pre-jump back-flip back-attach back-post-jump back-drop finish",
  ],
  [
    "a first deployment that fails past un-jump leaves nothing",
    goal(),
    failing(under(EMPTY, goal(), [...PASSED, "flip", "attach"])),
    "back-un-jump back-flip back-drop finish",
  ],
  [
    "taking back a finished order",
    goal({ order: ONE, release: C, back: true }),
    under(SERVING, goal({ order: ONE, release: C, back: true })),
    "install judge un-jump pre-jump flip attach post-jump beside retire finish",
  ],
  [
    "taking back what changed no release replaces the instances alone",
    goal({ order: ONE, release: A, back: true, generation: 1 }),
    under(SERVING, goal({ order: ONE, release: A, back: true, generation: 1 })),
    "install judge attach retire finish",
  ],
  [
    "taking back a finished first deployment",
    goal({ order: ONE, release: null, back: true }),
    under(SERVING, goal({ order: ONE, release: null, back: true })),
    "un-jump flip halt finish",
  ],
  [
    "after a node undid an order itself, the order it went back to asks for nothing",
    goal({ order: ONE, release: A, back: true }),
    { ...SERVING, reached: reached({ generation: 4 }) },
    "",
  ],
  [
    "an order for what ran before that is taken back changes nothing, and is answered",
    goal({ order: ONE, release: A, back: true, isAnswered: false }),
    { ...SERVING, reached: reached({ generation: 4 }) },
    "adopt",
  ],
  ["the next generation of what runs begins", goal({ release: A, generation: 1 }), SERVING, "begin"],
  ["another release beside what runs begins", goal({ release: A, beside: [C] }), SERVING, "begin"],
  ["a stop of what runs begins", goal({ release: A, state: "stopped" }), SERVING, "begin"],
  [
    "a first deployment that was taken back asks for nothing more",
    goal({ order: ONE, release: null, back: true }),
    { ...EMPTY, reached: reached({ release: null, state: "stopped" }) },
    "",
  ],
  [
    "instances that are there by chance are started anew",
    goal({ release: A }),
    under({ ...SERVING, reached: reached({ release: C }) }, goal({ release: A })),
    "install judge attach beside retire finish",
  ],
  [
    "an old release that does not come up past the switch gives way to the new one again",
    goal({ order: ONE, release: C, back: true }),
    failing(
      under(SERVING, goal({ order: ONE, release: C, back: true }), ["install", "judge", "un-jump", "flip"]),
    ),
    "back-un-jump back-pre-jump back-flip back-attach back-post-jump back-drop finish",
  ],
];

for (const [what, to, actual, steps] of TABLE) {
  test(`plan: ${what}`, () => {
    assert.equal(plan(to, actual).join(" "), steps);
  });
}

test("an attempt turns round when the hub takes its order back", () => {
  const { attempt } = under(SERVING, goal(), [...PASSED, "flip", "attach", "post-jump", "retire"]);
  assert.equal(turned(goal({ release: A, back: true }), attempt as Attempt)?.why, "undone");
});

test("another order breaks an attempt off only before anything was switched", () => {
  const early = under(SERVING, goal(), ["install"]).attempt as Attempt;
  const late = under(SERVING, goal(), PASSED).attempt as Attempt;
  assert.equal(turned(goal({ order: THREE }), early)?.why, "superseded");
  assert.equal(turned(goal({ order: THREE }), late), null);
  const stop = under(SERVING, goal({ state: "stopped" })).attempt as Attempt;
  assert.equal(turned(goal({ order: THREE }), stop), null, "a stop ends first");
  const way = goal({ order: ONE, release: C, back: true });
  assert.equal(turned(way, under(SERVING, way).attempt as Attempt), null, "the way back is not taken back");
});

test("only what serves already by the very wish is left alone", () => {
  const mode = (of: Partial<Actual>, to: Partial<Goal> = {}): Attempt["mode"] =>
    attemptFor(goal({ release: A, ...to }), { ...SERVING, fits: false, ...of }).mode;
  assert.equal(mode({}), "start");
  assert.equal(mode({ running: [] }), "start");
  assert.equal(mode({}, { generation: 1 }), "restart");
  assert.equal(mode({ reached: reached({ state: "stopped" }) }), "restart");
  assert.equal(mode({ reached: reached({ release: C }) }), "restart");
  assert.equal(mode({ fits: true }), "beside");
  assert.equal(mode({ current: C }), "jump");
});

test("an attempt keeps what its goal says of how it was asked for", () => {
  assert.equal(attemptFor(goal({ local: true }), SERVING).local, true);
  assert.equal("local" in attemptFor(goal(), SERVING), false);
});

test("which failing step holds a node back", () => {
  const attempt = under(SERVING, goal()).attempt as Attempt;
  const rows = (["post-sync", "judge", "pre-jump", "un-jump", "attach", "post-jump", "retire"] as const).map(
    (step) => `${step} ${afterFailure(attempt, step)}`,
  );
  assert.deepEqual(rows, [
    "post-sync turn",
    "judge turn",
    "pre-jump turn",
    "un-jump pass",
    "attach turn",
    "post-jump turn",
    "retire pass",
  ]);
});

test("retiring spares what others look up, unless fewer releases are asked for or the order is taken back", () => {
  const spares = (to: Goal, actual: Actual): boolean => sparesTableOnly(attemptFor(to, actual));
  assert.equal(spares(goal(), SERVING), true, "a jump");
  assert.equal(spares(goal({ release: A, generation: 1 }), SERVING), true, "a restart");
  assert.equal(spares(goal({ release: A }), { ...SERVING, running: [] }), true, "a start");
  assert.equal(spares(goal({ release: A }), SERVING), false, "what ran beside");
  assert.equal(spares(goal({ state: "stopped" }), SERVING), false, "a stop");
  assert.equal(spares(goal({ release: C, back: true }), SERVING), false, "the hub's undo");
});

test("a failing hook never stops a node from going back", () => {
  const attempt = under(SERVING, goal({ order: ONE, release: C, back: true })).attempt as Attempt;
  assert.equal(attempt.mode, "return");
  for (const step of ["un-jump", "pre-jump", "post-jump"] as const) {
    assert.equal(afterFailure(attempt, step), "pass");
  }
});

test("going back turns round where the old release does not come up, and nothing is turned round twice", () => {
  const returning = under(SERVING, goal({ order: ONE, release: C, back: true })).attempt as Attempt;
  const turns = (attempt: Attempt): StepName[] =>
    (["install", "judge", "attach", "flip", "post-jump"] as const).filter(
      (step) => afterFailure(attempt, step) === "turn",
    );
  assert.deepEqual(turns(returning), ["install", "judge", "attach"]);
  const back = { why: "undone", code: "UNDONE_BY_HUB", message: "" } as const;
  assert.deepEqual(turns({ ...returning, back }), []);
  const forward = under(SERVING, goal()).attempt as Attempt;
  assert.deepEqual(turns({ ...forward, back }), []);
  assert.deepEqual(turns({ ...forward, mode: "stop" }), []);
  assert.deepEqual(turns({ ...forward, local: true }), ["install", "judge", "attach", "flip"], "a bare jump");
});

test("what stands after an attempt that was taken back is what stood before, under its order", () => {
  const attempt = under(SERVING, goal()).attempt as Attempt;
  assert.deepEqual(outcomeOf(attempt), reached({ order: TWO, release: B }));
  const back = { why: "failed", code: "APP_EXITED", message: "" } as const;
  assert.deepEqual(outcomeOf({ ...attempt, back }), reached({ order: TWO, release: A }));
  assert.equal(oldServes(attempt), true);
  assert.equal(oldServes({ ...attempt, before: reached({ state: "stopped" }) }), false);
  assert.equal(oldServes({ ...attempt, previous: null, before: null }), false);
  const lost = { ...attempt, before: null, back };
  assert.equal(outcomeOf(lost).release, A, "where the record was lost, `current` tells");
  assert.equal(outcomeOf({ ...lost, previous: B }).release, null, "it led to what failed");
});

test("only what changes nothing yet may be broken off", () => {
  const steps = [
    "install",
    "post-sync",
    "judge",
    "pre-jump",
    "un-jump",
    "flip",
    "attach",
    "post-jump",
  ] as const;
  assert.deepEqual(steps.filter(isPatient), ["install", "judge"]);
});

/** A world in which the steps do what they say; `dies` and `fails` are drawn for every step. */
interface World {
  actual: Actual;
  judged: ReleaseId | null;
  /** At any time after the first release served, something must. */
  gaps: number;
  served: boolean;
  /** Whose instances have no other way in than the port table. */
  readonly inTable: ReadonlySet<ReleaseId>;
}

function withTable({ actual, inTable }: World, of: Partial<Actual>): Actual {
  const next = { ...actual, ...of };
  return { ...next, tableOnly: next.running.filter((id) => inTable.has(id)) };
}

function act(world: World, step: StepName, to: Goal | null, fails: boolean): void {
  const { actual } = world;
  const set = (of: Partial<Actual>): void => {
    world.actual = withTable(world, of);
  };
  if (step === "begin" && to !== null) return set({ attempt: attemptFor(to, actual) });
  if (step === "adopt" && to !== null && actual.reached !== null) {
    return set({ reached: { ...actual.reached, order: to.order } });
  }
  const want = actual.reached?.state === "run" ? actual.reached.release : null;
  if (step === "mend") return set({ current: actual.reached?.release ?? null });
  if (step === "revive") return set({ running: [...new Set([...actual.running, ...(want ? [want] : [])])] });
  if (step === "tidy") {
    const spared = (id: ReleaseId): boolean => to?.everywhere !== true && world.inTable.has(id);
    return set({ running: actual.running.filter((id) => id === want || spared(id)) });
  }
  const attempt = actual.attempt as Attempt;
  if (step === "turn") return set({ attempt: { ...attempt, back: turned(to, attempt), done: attempt.done } });
  const hook = /jump$|sync$/.test(step);
  if (fails && (hook || step === "judge" || step === "attach" || step === "install")) {
    if (afterFailure(attempt, step) === "turn") {
      return set({ attempt: { ...attempt, back: { why: "failed", code: "HOOK_FAILED", message: "" } } });
    }
  } else apply(world, step, attempt);
  if (world.actual.attempt !== null) {
    set({ attempt: { ...attempt, done: [...attempt.done, step] } });
  }
}

function apply(world: World, step: StepName, attempt: Attempt): void {
  const set = (of: Partial<Actual>): void => {
    world.actual = withTable(world, of);
  };
  const { running } = world.actual;
  const { release: next, previous } = attempt;
  if (step === "judge") world.judged = next;
  if (step === "flip") set({ current: next });
  if (step === "attach" && next !== null) {
    assert.equal(world.judged, next, "attached without having been judged");
    set({ running: [...new Set([...running, next])] });
  }
  if (step === "retire") {
    const spared = (id: ReleaseId): boolean => sparesTableOnly(attempt) && world.inTable.has(id);
    set({ running: running.filter((id) => id === next || spared(id)) });
  }
  if (step === "halt") set({ running: [] });
  if (step === "back-flip") set({ current: previous });
  if (step === "back-attach" && oldServes(attempt) && previous !== null) {
    set({ running: [...new Set([...running, previous])] });
  }
  if (step === "back-drop") {
    world.judged = null;
    if (next !== previous) set({ running: running.filter((id) => id !== next) });
  }
  if (step === "finish") {
    world.judged = null;
    set({ attempt: null, reached: outcomeOf(attempt) });
  }
}

/** Nothing that callers on other nodes look up ends before its order stands, but with an attempt's own new release. */
function checkSpared(before: Actual, { actual, inTable }: World, step: StepName, to: Goal | null): void {
  const gone = before.running.filter((id) => inTable.has(id) && !actual.running.includes(id));
  const isOwn = (id: ReleaseId): boolean => step === "back-drop" && id === before.attempt?.release;
  const isLess = step === "retire" && before.attempt?.mode === "beside";
  if (to?.everywhere === true || isLess) return;
  assert.deepEqual(
    gone.filter((id) => !isOwn(id)),
    [],
    `${step} ended what is looked up`,
  );
}

test("whatever fails, dies or is ordered meanwhile, a node settles, and once served always serves", () => {
  const anyGoal = fc.record({
    order: fc.constantFrom(ONE, TWO, THREE),
    release: fc.constantFrom(A, B, C),
    generation: fc.nat(2),
    hooks: fc.boolean(),
    everywhere: fc.boolean(),
  });
  const run = fc.record({
    inTable: fc.subarray([A, B, C]),
    goals: fc.array(fc.tuple(anyGoal, fc.nat(12)), { minLength: 1, maxLength: 6 }),
    fails: fc.array(fc.boolean(), { maxLength: 40 }),
  });
  fc.assert(
    fc.property(run, ({ goals, fails, inTable }) => {
      const world: World = { actual: EMPTY, judged: null, gaps: 0, served: false, inTable: new Set(inTable) };
      let draws = 0;
      let to: Goal | null = null;
      for (const [next, budget] of goals) {
        to = goal(next);
        for (let n = 0; n < budget; n++) {
          const step: StepName | undefined = plan(to, world.actual)[0];
          if (step === undefined) break;
          const before = world.actual;
          act(world, step, to, fails[draws++] ?? false);
          checkSpared(before, world, step, to);
          world.served ||= world.actual.running.length > 0;
          if (world.served && world.actual.reached !== null) {
            const nothingWanted = world.actual.reached.release === null;
            assert.ok(world.actual.running.length > 0 || nothingWanted, `nothing serves after ${step}`);
          }
        }
      }
      for (let n = 0; n < 60; n++) {
        const [step] = plan(to, world.actual);
        if (step === undefined) break;
        act(world, step, to, false);
      }
      assert.deepEqual(plan(to, world.actual), []);
      assert.equal(world.actual.current, to?.release);
      const others = world.actual.running.filter((id) => id !== to?.release);
      assert.ok(world.actual.running.includes(to?.release ?? A));
      assert.ok(others.every((id) => world.inTable.has(id)));
      if (to?.everywhere === true) assert.deepEqual(others, []);
    }),
    { numRuns: 500 },
  );
});
