import assert from "node:assert/strict";
import test from "node:test";
import type { Steering } from "../api/schemas.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import { CONTRADICTED_MS, GRACE_MS, STALL_MS, UNREACHED_MS } from "./facts.ts";
import { isUnderWay, verdictOf, type Phase } from "./rollout.ts";
import { abort, pause, refuseSteering, resume, steer } from "./steer.ts";
import { overtaken, wakeAt } from "./step.ts";
import { kid, World } from "./world.fixture.ts";

test("one node after the other goes, bakes, and the rollout ends well", () => {
  const world = new World(3);
  assert.equal(world.phase, "running");
  assert.deepEqual(world.gates(), ["go", "hold", "hold"]);
  world.report(0, "ok");
  assert.deepEqual(world.gates(), ["go", "go", "hold"]);
  world.report(1, "ok");
  world.report(2, "ok");
  assert.equal(world.phase, "baking");
  assert.equal(verdictOf(world.rollout), null);
  world.pass(29_999);
  assert.equal(world.phase, "baking");
  world.pass(1);
  assert.equal(world.phase, "ok");
  assert.deepEqual(verdictOf(world.rollout), { ok: true, code: null, message: null });
});

test("a node that is not well after it was done has failed, until the bake is over", () => {
  const crash = "web.1 ended by itself (exit status 1)";
  const early = new World(3);
  early.report(0, "ok");
  early.change(0, { unwell: crash });
  early.run();
  assert.equal(early.phase, "undoing");
  assert.deepEqual(early.gates(), ["go", "undo", "undo"]);
  assert.equal(verdictOf({ ...early.rollout, ended: "undone" })?.message, `n0: ${crash}`);
  const baking = new World(2);
  baking.report(0, "ok");
  baking.report(1, "ok");
  baking.pass(29_999);
  baking.change(1, { unwell: crash });
  baking.run();
  assert.equal(baking.phase, "undoing");
  const late = new World(2);
  late.report(0, "ok");
  late.report(1, "ok");
  late.pass(30_000);
  late.change(1, { unwell: crash });
  late.run();
  assert.equal(late.phase, "ok");
  const borne = new World(2, { strategy: { maxFailed: 1 } });
  borne.report(0, "ok");
  borne.change(0, { unwell: crash });
  borne.report(1, "ok");
  borne.pass(30_000);
  assert.equal(borne.phase, "ok");
});

test("a batch is judged as a whole before the next one starts", () => {
  const world = new World(6, { strategy: { batch: 3, maxUnavailable: 2 } });
  assert.deepEqual(world.gates(), ["go", "go", "hold", "hold", "hold", "hold"]);
  world.report(1, "ok");
  assert.deepEqual(world.gates(), ["go", "go", "go", "hold", "hold", "hold"]);
  world.report(0, "ok");
  assert.deepEqual(world.gates(), ["go", "go", "go", "hold", "hold", "hold"]);
  world.report(2, "ok");
  assert.deepEqual(world.gates(), ["go", "go", "go", "go", "go", "hold"]);
});

test("all at once is all at once, and no bake is none", () => {
  const world = new World(4, { strategy: { type: "all_at_once", bakeMs: 0 } });
  assert.deepEqual(world.gates(), ["go", "go", "go", "go"]);
  for (let n = 0; n < 4; n++) world.report(n, "ok");
  assert.equal(world.phase, "ok");
});

test("where nothing serves yet, only the batch bounds how many start", () => {
  const world = new World(4, { strategy: { batch: 3 }, empty: [0, 1, 2, 3] });
  assert.deepEqual(world.gates(), ["go", "go", "go", "hold"]);
});

test("the first failure stops it and takes back what was done, last first, then it is undone", () => {
  const world = new World(4);
  world.report(0, "ok");
  world.report(1, "ok");
  world.report(2, "failed", "HEALTH_TIMEOUT");
  assert.equal(world.phase, "undoing");
  assert.deepEqual(world.gates(), ["go", "undo", "undo", "undo"]);
  world.report(1, "undone");
  assert.deepEqual(world.gates(), ["undo", "undo", "undo", "undo"]);
  world.report(0, "undone");
  assert.equal(world.phase, "undone");
  assert.deepEqual(verdictOf(world.rollout), {
    ok: false,
    code: "DEPLOY_FAILED",
    message: "n2: HEALTH_TIMEOUT",
  });
});

test("a failed first node has undone itself: there is nothing more to undo", () => {
  const world = new World(3, { empty: [0, 1, 2] });
  world.report(0, "failed", "APP_EXITED");
  assert.equal(world.phase, "undone");
  assert.deepEqual(world.gates().slice(1), ["undo", "undo"]);
});

test("whoever is in the middle is taken back at once, beside the bound", () => {
  const world = new World(5, { strategy: { batch: 5, maxUnavailable: 4 } });
  world.report(0, "ok");
  world.report(1, "failed");
  assert.deepEqual(world.gates(), ["undo", "undo", "undo", "undo", "undo"]);
});

test("nodes that are done and serve are taken back within the bound", () => {
  const world = new World(5, { strategy: { batch: 5, maxUnavailable: 2 } });
  for (let n = 0; n < 4; n++) world.report(n, "ok");
  world.report(4, "failed");
  assert.deepEqual(world.gates(), ["undo", "undo", "go", "go", "undo"]);
  world.report(1, "undone");
  assert.deepEqual(world.gates(), ["undo", "undo", "undo", "go", "undo"]);
});

test("as many failures as allowed do not end it, one more does", () => {
  const world = new World(4, { strategy: { maxFailed: 1, bakeMs: 0 } });
  world.report(0, "failed");
  assert.equal(world.gate(1), "go");
  world.report(1, "refused", "ORDER_NOT_FOR_NODE");
  assert.equal(world.phase, "undone");
});

test("a node that fails while it bakes takes everything back", () => {
  const world = new World(2);
  world.report(0, "ok");
  world.report(1, "ok");
  world.report(0, "failed", "RESTART_LIMIT");
  assert.equal(world.phase, "undoing");
  assert.equal(world.gate(1), "undo");
});

test("on_failure pause waits for a person, who resumes or aborts", () => {
  const world = new World(3, { strategy: { onFailure: "pause" } });
  world.report(0, "failed", "VERIFY_FAILED");
  assert.equal(world.phase, "stuck");
  assert.equal(world.gate(1), "hold");
  const waiting = world.rollout;
  world.rollout = resume(waiting, world.scene());
  world.run();
  assert.equal(world.gate(1), "go");
  world.rollout = abort(waiting, world.facts());
  world.run();
  assert.equal(world.phase, "undone");
});

test("paused, nobody new starts; resumed, it goes on", () => {
  const world = new World(3);
  world.rollout = pause(world.rollout, world.facts());
  world.report(0, "ok");
  assert.deepEqual(world.gates(), ["go", "hold", "hold"]);
  assert.equal(isUnderWay(world.rollout), true);
  world.rollout = resume(world.rollout, world.scene());
  world.run();
  assert.deepEqual(world.gates(), ["go", "go", "hold"]);
});

test("an abort takes all back; after the settle or undoBefore there is none", () => {
  const world = new World(2);
  world.report(0, "ok");
  const aborted = abort(world.rollout, world.facts());
  assert.equal(aborted.direction, "back");
  world.settle = { needs: 1, have: 1, late: [], published: true };
  assert.equal(abort(world.rollout, world.facts()), world.rollout);
  world.settle = null;
  world.now = world.undoBefore;
  assert.equal(abort(world.rollout, world.facts()), world.rollout);
});

test("what a person says is heard once, and refused where nothing is ahead", () => {
  const world = new World(3);
  const say = (word: "abort" | "pause" | "resume"): void => {
    world.rollout = steer(world.rollout, word, world.scene());
    world.run();
  };
  const running = world.rollout;
  say("resume");
  assert.equal(world.rollout, running);
  say("pause");
  const paused = world.rollout;
  say("pause");
  assert.equal(world.rollout, paused);
  assert.equal(world.phase, "paused");
  say("resume");
  assert.equal(world.phase, "running");
  say("abort");
  const aborted = world.rollout;
  say("abort");
  assert.equal(world.rollout, aborted);
  assert.throws(() => say("pause"), { code: "ROLLOUT_ENDED", message: /it is being taken back$/ });
  world.report(0, "undone");
  assert.equal(world.phase, "undone");
  say("abort");
  assert.throws(() => say("resume"), { code: "ROLLOUT_ENDED", message: /it ended: undone$/ });
  const done = new World(1, { strategy: { bakeMs: 0 } });
  done.report(0, "ok");
  assert.throws(() => steer(done.rollout, "abort", done.scene()), { code: "UNDO_TOO_LATE" });
  assert.throws(() => steer(done.rollout, "pause", done.scene()), { code: "ROLLOUT_ENDED" });
});

test("a word that comes again is not done again, whatever happened meanwhile", () => {
  const world = new World(3, { strategy: { onFailure: "pause", bakeMs: 0 } });
  const say = (said: string): void => {
    world.rollout = steer(world.rollout, "resume", world.scene(), said);
    world.run();
  };
  world.report(0, "failed");
  assert.equal(world.phase, "stuck");
  say("once");
  assert.equal(world.phase, "running");
  world.report(1, "failed");
  assert.equal(world.phase, "stuck");
  say("once");
  assert.equal(world.phase, "stuck", "nobody has seen this failure");
  say("twice");
  world.report(2, "ok");
  assert.equal(world.phase, "ok");
  say("twice");
  assert.throws(() => say("anew"), { code: "ROLLOUT_ENDED" });
});

test("whoever knows the phase alone refuses the same words", () => {
  const refused = (phase: Phase, word: Steering): string | null => {
    try {
      refuseSteering(phase, word);
      return null;
    } catch (err) {
      return err instanceof SkeinError ? err.code : String(err);
    }
  };
  for (const word of ["pause", "resume"] as const) {
    for (const phase of ["ok", "failed", "undone", "undoing"] as const)
      assert.equal(refused(phase, word), "ROLLOUT_ENDED", `${word} of what is ${phase}`);
    for (const phase of ["pending", "running", "paused", "baking", "stuck"] as const)
      assert.equal(refused(phase, word), null, `${word} of what is ${phase}`);
  }
  for (const phase of ["ok", "failed"] as const) assert.equal(refused(phase, "abort"), "UNDO_TOO_LATE");
  for (const phase of ["running", "undoing", "undone", "stuck"] as const)
    assert.equal(refused(phase, "abort"), null, `abort of what is ${phase}`);
  assert.throws(() => refuseSteering("undoing", "pause"), { message: /it is being taken back$/ });
  assert.throws(() => refuseSteering("failed", "pause"), { message: /it ended: failed$/ });
});

test("what time alone decides next is known: the end of the times that an order has among it", () => {
  const world = new World(2);
  const late = world.applyBefore - 1;
  world.now = late;
  const long = { ...world.scene(), facts: { ...world.facts(), heardAt: 0 } };
  assert.equal(wakeAt({ ...world.rollout, movedAt: 0 }, long), world.applyBefore);
  const aborted = { ...abort(world.rollout, world.facts()), movedAt: 0 };
  assert.equal(wakeAt(aborted, long), world.undoBefore);
  const over = { ...long, facts: { ...long.facts, now: world.undoBefore } };
  assert.equal(wakeAt(aborted, over), undefined, "what is due now is no time ahead");
});

test("a failure is told also where a person had paused", () => {
  const world = new World(3, { strategy: { onFailure: "pause" } });
  world.rollout = pause(world.rollout, world.facts());
  world.report(0, "failed", "VERIFY_FAILED");
  assert.equal(world.phase, "stuck");
  assert.match(world.rollout.cause?.message ?? "", /VERIFY_FAILED/);
});

test("who has begun in time may end after it", () => {
  const world = new World(1);
  world.now = world.heardAt = world.applyBefore;
  world.run();
  assert.equal(world.phase, "running");
});

test("at its last moment an order that is taken back needs a person", () => {
  const world = new World(2);
  world.report(0, "ok");
  world.rollout = abort(world.rollout, world.facts());
  world.run();
  world.now = world.heardAt = world.undoBefore - 1;
  world.run();
  assert.equal(world.phase, "undoing");
  world.now = world.undoBefore;
  world.run();
  assert.equal(world.phase, "stuck");
});

test("what stands is left alone, however long nothing is heard", () => {
  const world = new World(1, { strategy: { bakeMs: 0 } });
  world.report(0, "ok");
  const { rollout } = world;
  world.pass(2 * STALL_MS);
  assert.equal(world.rollout, rollout);
});

test("of many who are away five are named", () => {
  const told = (count: number): string => {
    const away = Array.from({ length: count }, (_, n) => n);
    return new World(count, { away, strategy: { maxAbsent: 0 } }).rollout.cause?.message ?? "";
  };
  assert.match(told(5), /n0, n1, n2, n3, n4$/);
  assert.match(told(6), /n4 and 1 more$/);
});

test("nodes that went away while all is taken back hold up nobody for long, and are taken back when they come", () => {
  const world = new World(3);
  world.report(0, "ok");
  world.change(1, { present: false });
  world.run();
  assert.equal(isUnderWay(world.rollout), true);
  world.rollout = abort(world.rollout, world.facts());
  world.run();
  world.report(0, "undone");
  world.report(2, "undone");
  assert.equal(world.phase, "undoing");
  assert.equal(wakeAt(world.rollout, world.scene()), world.now + UNREACHED_MS);
  world.pass(UNREACHED_MS);
  assert.equal(world.phase, "stuck");
  assert.equal(isUnderWay(world.rollout), false);
  assert.equal(verdictOf(world.rollout)?.code, "UNDO_INCOMPLETE");
  world.change(1, { present: true });
  world.report(1, "undone");
  assert.equal(world.phase, "undone");
});

test("the way back goes by batches too, each when those of the one after it that are there are done", () => {
  const undone = (): World => {
    const world = new World(4, { strategy: { batch: 2, maxUnavailable: 2 } });
    for (let n = 0; n < 4; n++) world.report(n, "ok");
    world.rollout = abort(world.rollout, world.facts());
    world.run();
    assert.deepEqual(world.gates(), ["go", "go", "undo", "undo"]);
    world.report(2, "undone");
    assert.deepEqual(world.gates(), ["go", "go", "undo", "undo"]);
    return world;
  };
  const done = undone();
  done.report(3, "undone");
  assert.deepEqual(done.gates(), ["undo", "undo", "undo", "undo"]);
  const away = undone();
  away.change(3, { present: false });
  away.run();
  assert.deepEqual(away.gates(), ["undo", "undo", "undo", "undo"]);
});

test("one that is there and still goes back is given more time than those that went away", () => {
  const world = new World(3);
  world.report(0, "ok");
  world.report(1, "ok");
  world.rollout = abort(world.rollout, world.facts());
  world.run();
  world.report(2, "undone");
  world.change(1, { present: false });
  world.run();
  assert.equal(world.gate(0), "undo", "who is away does not hold up who is there");
  world.pass(STALL_MS - 1);
  assert.equal(world.phase, "undoing");
  world.pass(1);
  assert.equal(world.phase, "stuck");
});

test("a failure after undoBefore undoes nothing and needs a person", () => {
  const world = new World(2);
  world.report(0, "ok");
  world.now = world.undoBefore;
  world.report(1, "failed");
  assert.equal(world.phase, "failed");
  assert.deepEqual(world.gates(), ["go", "go"]);
  assert.equal(verdictOf(world.rollout)?.code, "UNDO_INCOMPLETE");
});

test("one absent node of three does not hold up the others", () => {
  const world = new World(3, { away: [1], strategy: { bakeMs: 0 } });
  world.report(0, "ok");
  world.report(2, "ok");
  assert.equal(world.phase, "ok");
  assert.equal(world.gate(1), "hold");
});

test("more absent nodes than allowed: nothing starts, and it goes on when they come", () => {
  const world = new World(3, { away: [0, 1], strategy: { bakeMs: 0 } });
  assert.equal(world.phase, "stuck");
  assert.equal(verdictOf(world.rollout)?.code, "NODES_ABSENT");
  assert.deepEqual(world.gates(), ["hold", "hold", "hold"]);
  world.change(0, { present: true });
  world.run();
  assert.equal(world.phase, "running");
  assert.equal(world.gate(2), "go");
});

test("a clock that was set back makes nothing last longer", () => {
  const day = 86_400_000;
  const world = new World(2);
  world.report(0, "ok");
  world.report(1, "ok");
  assert.equal(world.phase, "baking");
  world.since = world.now - day;
  world.pass(-day);
  world.pass(30_000);
  assert.equal(world.phase, "ok");
  const early = new World(2);
  early.report(0, "ok");
  early.pass(-day);
  assert.deepEqual([early.phase, early.rollout.bakingSince], ["running", null]);
  const silent = new World(2);
  silent.since = silent.heardAt = silent.now - day;
  silent.pass(-day);
  silent.pass(STALL_MS);
  assert.equal(silent.phase, "undoing");
});

test("time in which nobody looked proves nothing: nodes can say afterwards how they were", () => {
  const baking = (): World => {
    const world = new World(2);
    world.report(0, "ok");
    world.report(1, "ok");
    world.since = world.now + 60_000;
    world.pass(60_000);
    assert.equal(world.phase, "baking");
    return world;
  };
  const well = baking();
  well.pass(10_000);
  assert.equal(well.phase, "ok");
  const ill = baking();
  ill.change(0, { unwell: "web.1 ended by itself" });
  ill.run();
  assert.equal(ill.phase, "undoing");
});

test("who is not meant any more is waited for by nobody, forward and back", () => {
  const world = new World(4, { strategy: { batch: 4, maxAbsent: 0, bakeMs: 0 } });
  assert.deepEqual(world.gates(), ["go", "hold", "hold", "hold"]);
  world.report(0, "ok");
  world.change(0, { meant: false, present: false });
  world.change(1, { meant: false });
  world.change(2, { meant: false });
  world.run();
  assert.deepEqual(world.gates(), ["go", "go", "hold", "go"]);
  world.report(3, "ok");
  assert.equal(world.phase, "ok");
  const failing = new World(3, { strategy: { bakeMs: 0 } });
  failing.report(0, "ok");
  failing.change(0, { meant: false });
  failing.report(1, "failed");
  assert.equal(failing.phase, "undone");
  assert.deepEqual(failing.gates(), ["undo", "undo", "undo"]);
});

test("a hub that was just started calls nobody absent", () => {
  const world = new World(3, { away: [0, 1, 2] });
  world.rollout = { ...world.rollout, stuck: false, cause: null };
  world.since = world.now;
  world.pass(GRACE_MS - 1);
  assert.equal(world.phase, "pending");
  world.pass(1);
  assert.equal(world.phase, "stuck");
});

test("an order that was signed for nobody stands at once, and its nodes start as they come", () => {
  const world = new World(3, { away: [0, 1, 2], settle: { needs: 0, have: 0, late: [], published: false } });
  assert.equal(world.phase, "ok");
  world.change(1, { present: true });
  world.run();
  assert.equal(world.gate(1), "go");
});

test("nodes that vanish hold up the next ones; if they stay away it is undone", () => {
  const world = new World(4, { strategy: { maxAbsent: 0 } });
  world.report(0, "ok");
  world.change(0, { present: false });
  world.report(1, "ok");
  assert.equal(world.gate(2), "hold");
  world.change(0, { present: true });
  world.run();
  assert.equal(world.gate(2), "go");
  world.change(0, { present: false });
  world.pass(STALL_MS);
  assert.equal(world.phase, "undoing");
  assert.equal(world.rollout.cause?.code, "TIMEOUT");
});

test("nodes that are away hold up what has begun on one, and do not call for a person", () => {
  const world = new World(3, { strategy: { maxAbsent: 0 } });
  world.change(1, { present: false });
  world.run();
  assert.equal(world.phase, "running");
  world.report(0, "ok");
  world.pass(STALL_MS - 1);
  assert.equal(world.phase, "running");
  world.pass(1);
  assert.equal(world.phase, "undoing");
});

test("a settle that gets out while all is taken back ends that, for nodes keep what stands", () => {
  const world = new World(2, { settle: { needs: 1, have: 0, late: [], published: false } });
  world.report(0, "ok");
  world.report(1, "failed");
  assert.equal(world.phase, "undoing");
  world.settle = { needs: 1, have: 1, late: [], published: true };
  world.run();
  assert.equal(world.phase, "failed");
  assert.deepEqual(verdictOf(world.rollout), {
    ok: false,
    code: "UNDO_INCOMPLETE",
    message: "it was settled while it was taken back",
  });
  assert.throws(() => steer(world.rollout, "abort", world.scene()), { code: "UNDO_TOO_LATE" });
  assert.throws(() => steer(world.rollout, "pause", world.scene()), { message: /it ended: failed$/ });
});

test("a short absence takes nothing back in a long bake, nor while it is paused; a long one does", () => {
  const bake = new World(2, { strategy: { maxAbsent: 0, bakeMs: 3 * STALL_MS } });
  const paused = new World(3, { strategy: { maxAbsent: 0 } });
  for (const world of [bake, paused]) {
    world.report(0, "ok");
    if (world === paused) world.rollout = pause(world.rollout, world.facts());
    world.report(1, "ok");
    world.pass(STALL_MS + 1);
    const { phase } = world;
    assert.equal(phase, world === bake ? "baking" : "paused");
    for (const present of [false, true, false]) {
      world.change(0, { present });
      world.pass(60_000);
      assert.equal(world.phase, phase);
    }
    world.pass(STALL_MS - 1);
    assert.equal(world.phase, phase);
    world.pass(1);
    assert.equal(world.phase, "undoing");
    assert.equal(world.rollout.cause?.code, "NODES_ABSENT");
  }
});

test("a node that comes back into a bake is waited for, and all bake with it from the start", () => {
  const world = new World(3, { strategy: { type: "all_at_once", maxAbsent: 1 } });
  world.report(0, "ok");
  world.report(1, "ok");
  world.change(2, { present: false });
  world.run();
  assert.equal(world.phase, "baking");
  world.pass(20_000);
  world.change(2, { present: true });
  world.run();
  assert.equal(world.phase, "running");
  world.pass(20_000);
  assert.equal(world.phase, "running");
  world.report(2, "ok");
  world.pass(29_999);
  assert.equal(world.phase, "baking");
  world.pass(1);
  assert.equal(world.phase, "ok");
});

test("a settle that a restored hub hears of ends the rollout, whoever has not reported to it", () => {
  const world = new World(3);
  world.settle = { needs: 2, have: 0, late: [], published: false };
  world.run();
  assert.equal(world.phase, "running");
  world.settle = { ...world.settle, published: true };
  world.run();
  assert.equal(world.phase, "ok");
});

test("a node that is there and silent is given up as failed", () => {
  const world = new World(2);
  world.pass(STALL_MS - 1);
  assert.equal(world.phase, "running");
  world.heardAt = world.now;
  world.pass(STALL_MS - 1);
  assert.equal(world.phase, "running");
  world.pass(1);
  assert.equal(world.phase, "undoing");
  assert.equal(world.gate(0), "undo");
  world.pass(STALL_MS);
  assert.equal(world.phase, "stuck");
  assert.deepEqual(verdictOf(world.rollout), {
    ok: false,
    code: "UNDO_INCOMPLETE",
    message: "n0: nothing was heard for too long; not taken back: n0",
  });
  world.report(0, "undone");
  assert.equal(world.phase, "undone");
  assert.equal(verdictOf(world.rollout)?.code, "DEPLOY_FAILED");
});

test("a hub that was away itself gives nobody up for that", () => {
  const world = new World(2);
  world.now += 2 * STALL_MS;
  world.since = world.now;
  world.run();
  assert.equal(world.phase, "running");
  world.pass(STALL_MS);
  assert.equal(world.phase, "undoing");
});

test("an undo that cannot reach a node, or fails there, needs a person", () => {
  const world = new World(3);
  world.report(0, "ok");
  world.change(0, { present: false });
  world.report(1, "failed");
  assert.equal(world.gate(0), "undo");
  world.pass(STALL_MS);
  assert.equal(world.phase, "stuck");
  assert.match(world.rollout.cause?.message ?? "", /not taken back: n0/);
  const broken = new World(3);
  broken.report(0, "ok");
  broken.report(1, "failed");
  broken.report(0, "failed", "UNDO_INCOMPLETE");
  assert.equal(broken.phase, "stuck");
});

test("what a node started out of the hub's sight counts as started, and is taken back too", () => {
  const world = new World(4);
  world.report(3, "ok");
  assert.equal(world.gate(3), "go");
  world.report(0, "failed");
  assert.equal(world.gate(3), "undo");
  assert.equal(world.phase, "undoing");
});

test("nobody starts after applyBefore: what is left undone ends the rollout", () => {
  const world = new World(3);
  world.now = world.applyBefore;
  world.report(0, "ok");
  assert.equal(world.phase, "undoing");
  assert.equal(world.rollout.cause?.code, "ORDER_EXPIRED");
});

test("a clock that was set ahead ends nothing before nodes had the time to contradict it", () => {
  const set = (): World => {
    const world = new World(3);
    world.report(0, "ok");
    world.now = world.since = world.undoBefore;
    world.run();
    world.pass(CONTRADICTED_MS - 1);
    return world;
  };
  const right = set();
  const gates = right.gates();
  assert.equal(right.phase, "running");
  right.pass(1);
  assert.equal(right.phase, "failed", "it was right");
  const wrong = set();
  assert.deepEqual(wrong.gates(), gates, "meanwhile nobody begins");
  for (const n of [0, 1, 2]) wrong.change(n, { present: false });
  wrong.run();
  wrong.pass(STALL_MS - 1);
  assert.equal(wrong.phase, "running");
  wrong.now = wrong.since = wrong.applyBefore - 1;
  for (const n of [0, 1, 2]) wrong.change(n, { present: true });
  wrong.run();
  for (const n of [1, 2]) wrong.report(n, "ok");
  wrong.pass(wrong.limits.bakeMs);
  assert.equal(wrong.phase, "ok");
});

test("neither does it give up what is taken back, or leave what failed where it is", () => {
  const world = new World(2);
  world.report(0, "ok");
  world.now = world.since = world.undoBefore;
  world.report(1, "failed");
  assert.equal(world.phase, "running");
  const before = world.now - CONTRADICTED_MS;
  world.now = world.since = before;
  world.run();
  assert.equal(world.phase, "undoing");
  world.now = world.since = world.undoBefore;
  world.run();
  assert.equal(world.phase, "undoing");
  world.pass(CONTRADICTED_MS);
  assert.equal(world.phase, "stuck");
});

test("the end waits for the receipts that the settle needs, and without them it is undone", () => {
  const settle = { needs: 2, have: 1, late: [kid(1)], published: false };
  const world = new World(2, { strategy: { bakeMs: 0 }, settle });
  world.report(0, "ok");
  world.report(1, "ok");
  assert.equal(world.phase, "baking");
  world.pass(STALL_MS);
  assert.equal(world.phase, "undoing");
  assert.deepEqual(world.rollout.cause, {
    code: "SETTLE_UNPROVEN",
    message: "1 of the 2 receipts that the settle needs; dated too late for it, set the clock there: n1",
  });
  const silent = new World(2, { strategy: { bakeMs: 0 }, settle: { ...settle, late: [] } });
  silent.report(0, "ok");
  silent.report(1, "ok");
  silent.pass(STALL_MS);
  assert.equal(silent.rollout.cause?.message, "1 of the 2 receipts that the settle needs");
});

test("once it stands, late nodes start: at once where nothing serves, else as many as may be unavailable", () => {
  const world = new World(4, { away: [2, 3], strategy: { maxAbsent: 2, bakeMs: 0 } });
  world.report(0, "ok");
  world.report(1, "ok");
  assert.equal(world.phase, "ok");
  world.change(2, { present: true });
  world.change(3, { present: true });
  world.change(7, { present: true, serving: false });
  world.change(8, { present: true, serving: true });
  world.run();
  assert.deepEqual(
    [2, 3, 7, 8].map((n) => world.gate(n)),
    ["go", "hold", "go", "hold"],
  );
  world.report(2, "ok");
  assert.equal(world.gate(3), "hold", "the node where nothing serves is still busy");
  world.report(7, "failed");
  assert.equal(world.gate(3), "go");
  world.pass(STALL_MS);
  assert.equal(world.gate(8), "go");
  assert.equal(world.phase, "ok");
});

test("a node that was away at first takes one place among those that come late", () => {
  const world = new World(3, { strategy: { bakeMs: 0, maxUnavailable: 2, batch: 2 }, away: [2] });
  world.report(0, "ok");
  world.report(1, "ok");
  assert.equal(world.phase, "ok");
  world.change(2, { present: true });
  world.run();
  for (const n of [3, 4]) world.change(n, { serving: true });
  world.run();
  assert.deepEqual(world.gates().slice(2), ["go", "go", "hold"]);
});

test("an overtaken rollout ends", () => {
  const world = new World(2);
  const ended = overtaken(world.rollout, world.facts());
  assert.equal(verdictOf(ended)?.code, "HEAD_MOVED");
  assert.equal(overtaken(ended, world.facts()), ended);
});

test("the next moment of interest is the bake's end, the stall or a deadline", () => {
  const world = new World(1);
  assert.equal(wakeAt(world.rollout, world.scene()), world.now + STALL_MS);
  world.report(0, "ok");
  assert.equal(wakeAt(world.rollout, world.scene()), world.now + 30_000);
  world.now = world.undoBefore + STALL_MS;
  assert.equal(wakeAt(world.rollout, world.scene()), undefined);
  assert.equal(world.rollout.go.has(kid(0)), true);
});
