import assert from "node:assert/strict";
import test from "node:test";
import type { Digest } from "../../lib/text/ids.ts";
import { at } from "../../trust/cluster.fixture.ts";
import type { Verdict } from "../../trust/document/documents.ts";
import { keys } from "../records/keys.ts";
import { dyingAt, RolloutWorld, type Published } from "./rollouts.fixture.ts";

const PLAIN = { batch: 1, maxUnavailable: 1, bakeMs: 0 } as const;

async function published(world: RolloutWorld, { digest }: Published): Promise<boolean> {
  const entry = await world.store.get(keys.settle(digest));
  return entry !== undefined && (JSON.parse(entry.value) as { published: boolean }).published;
}

test("nodes go one after the other, the rollout bakes, and then the settle counts", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  await world.startHub();
  const order = await world.publish(1, { ...PLAIN, bakeMs: 5000 }, 3);
  assert.deepEqual(world.gates(order), ["go", "hold", "hold"]);
  assert.equal(world.hub.rollouts.underWay(order.digest), true);
  await world.round();
  assert.deepEqual(world.gates(order), ["go", "go", "hold"]);
  await world.pass(2);
  assert.equal(await world.phase(order), "baking");
  assert.equal(await published(world, order), false);
  await world.pass(5);
  assert.equal(await world.phase(order), "ok");
  assert.equal(await published(world, order), true);
  assert.equal(world.hub.rollouts.underWay(order.digest), false);
  const view = await world.hub.rollouts.view(order.digest);
  assert.deepEqual(view?.verdict, { ok: true, code: null, message: null });
  assert.deepEqual(
    view?.nodes.map(({ name, batch, state, verdict }) => [name, batch, state, verdict]),
    [
      ["web1", 0, "done", "ok"],
      ["web2", 1, "done", "ok"],
      ["web3", 2, "done", "ok"],
    ],
  );
});

test("the first failure takes the others back, and the settle never counts", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  await world.startHub();
  const [, second] = world.agents;
  if (second !== undefined)
    second.answer = () => ({ verdict: "failed", code: "HEALTH_TIMEOUT", message: "no answer" });
  const order = await world.publish(1, PLAIN, 3);
  await world.pass(6);
  assert.equal(await world.phase(order), "undone");
  assert.deepEqual(world.gates(order), ["undo", "undo", "undo"]);
  assert.equal(await published(world, order), false);
  const view = await world.hub.rollouts.view(order.digest);
  assert.deepEqual(view?.verdict, {
    ok: false,
    code: "DEPLOY_FAILED",
    message: "web2: HEALTH_TIMEOUT: no answer",
  });
  assert.deepEqual(
    view?.nodes.map(({ verdict, code }) => [verdict, code]),
    [
      ["undone", null],
      ["failed", "HEALTH_TIMEOUT"],
      ["undone", null],
    ],
  );
});

test("what crashes while it bakes is taken back, and what crashed before the order is not asked for", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const crashed = async (ms: number, more: { order?: Digest } = {}): Promise<void> => {
    const at = new Date(world.clock.now() + ms).toISOString();
    await world.report({ unwell: { at, message: "web.1 ended by itself (exit status 1)", ...more } });
    await world.quiet();
  };
  const order = await world.publish(1, { ...PLAIN, bakeMs: 5000 }, 2);
  await world.pass(3);
  await crashed(-60_000);
  await crashed(-60_000, { order: "ab".repeat(32) as Digest });
  assert.equal(await world.phase(order), "baking");
  await crashed(1000);
  assert.equal(await world.phase(order), "undoing");
  await world.pass(3);
  assert.equal(await world.phase(order), "undone");
  assert.equal(await published(world, order), false);
  const view = await world.hub.rollouts.view(order.digest);
  assert.equal(view?.verdict?.message, "web1: web.1 ended by itself (exit status 1)");
});

test("what crashed between its switch and its receipt is taken back: the node says under which order that was", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const order = await world.publish(1, { ...PLAIN, bakeMs: 5000 }, 2);
  await world.pass(3);
  const at = new Date(world.clock.now() - 60_000).toISOString();
  await world.report({ unwell: { at, message: "web.1 was replaced: no answer", order: order.digest } });
  await world.pass(3);
  assert.equal(await world.phase(order), "undone");
});

test("an operator's abort takes all back, but not what stands", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const order = await world.publish(1, PLAIN, 2);
  await world.round();
  await world.hub.rollouts.steer(order.digest, "abort");
  await world.hub.rollouts.steer(order.digest, "abort");
  await world.pass(3);
  assert.equal(await world.phase(order), "undone");
  const next = await world.publish(2, PLAIN, 2);
  await world.pass(3);
  assert.equal(await world.phase(next), "ok");
  await assert.rejects(world.hub.rollouts.steer(next.digest, "abort"), { code: "UNDO_TOO_LATE" });
  await assert.rejects(world.hub.rollouts.steer("0".repeat(64) as never, "abort"), { code: "NOT_FOUND" });
});

test("a settle that is handed in after the end counts then", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const order = await world.publish(1, PLAIN, null);
  await world.pass(3);
  assert.equal(await world.phase(order), "ok");
  await world.hub.orders.postSettle(await world.settle(order, 2));
  await world.quiet();
  assert.equal(await published(world, order), true);
});

test("an order for nobody present stands at once; its nodes are paced as they come", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  for (const agent of world.agents) agent.present = false;
  await world.startHub();
  world.clock.advance(60_000);
  const order = await world.publish(1, PLAIN, 0);
  assert.equal(await world.phase(order), "ok");
  assert.equal(await published(world, order), true);
  // A partition heals: all come back at once and serve an older release.
  for (const agent of world.agents) agent.present = true;
  world.rounds = 2;
  for (let n = 0; n < 10; n++) assert.ok((await world.round()) <= 1, "one at a time");
  assert.deepEqual([...new Set(world.agents.map(({ serves }) => serves))], [1]);
});

test("a node that was absent is not waited for, and gets what stands when it comes", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  const [first] = world.agents;
  if (first === undefined) return;
  first.present = false;
  await world.startHub();
  world.clock.advance(60_000);
  await world.report();
  const order = await world.publish(1, PLAIN, 2);
  await world.pass(3);
  assert.equal(await world.phase(order), "ok");
  assert.equal(world.gate(0, order), "hold");
  first.present = true;
  await world.pass(2);
  assert.equal(first.serves, 1);
});

test("a node that refuses an order for its own clock has not failed, and takes it once that is set", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  await world.startHub();
  const [, , last] = world.agents;
  assert.ok(last);
  last.answer = () => ({ verdict: "refused", code: "DOC_FROM_FUTURE", message: "a day ahead" });
  const order = await world.publish(1, PLAIN, 2);
  await world.pass(6);
  assert.equal(await world.phase(order), "running");
  assert.equal((await world.hub.rollouts.view(order.digest))?.nodes[2]?.verdict, null);
  last.answer = () => ({});
  last.done.delete(order.digest);
  await world.pass(3);
  assert.equal(await world.phase(order), "ok");
});

test("a hub whose clock was set back waits no longer than else for who is away", async (t) => {
  const world = await RolloutWorld.open(t, 3);
  const [, , last] = world.agents;
  assert.ok(last);
  last.present = false;
  await world.startHub();
  world.clock.advance(-3_600_000);
  world.unlivedMs -= 3_600_000;
  const order = await world.publish(1, PLAIN, 2);
  await world.pass(14);
  assert.equal(await world.phase(order), "ok");
});

test("a hub that was stopped for eleven minutes, or whose clock was set ahead, gives nobody up who is at it", async (t) => {
  for (const isStopped of [true, false]) {
    const world = await RolloutWorld.open(t, 2);
    world.rounds = Infinity;
    await world.startHub();
    const order = await world.publish(1, PLAIN, 2);
    await world.round();
    for (let n = 0; n < 3; n++) {
      if (isStopped) world.unlivedMs += 220_000;
      await world.round(220_000);
    }
    assert.equal(await world.phase(order), isStopped ? "running" : "undone");
  }
});

test("whoever waits for a view is answered in time where the clock is set meanwhile", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  world.rounds = Infinity;
  await world.startHub();
  const { digest } = await world.publish(1, PLAIN, 2);
  const after = (await world.hub.rollouts.view(digest))?.revision ?? 0;
  let isAnswered = false;
  const news = { after, waitMs: 1000 };
  void world.hub.rollouts.nextView(digest, news, t.signal).then(() => (isAnswered = true));
  world.clock.advance(-3_600_000);
  world.unlivedMs -= 3_600_000;
  for (let looks = 0; looks < 6; looks++) {
    world.clock.advance(250);
    await world.quiet();
  }
  assert.ok(isAnswered);
});

test("a newer order does not take nodes back to one that was undone", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const stands = await world.publish(1, PLAIN, 2);
  await world.pass(3);
  const [first] = world.agents;
  if (first === undefined) return;
  first.answer = () => ({ verdict: "failed", code: "VERIFY_FAILED" });
  const bad = await world.publish(2, PLAIN, 2);
  await world.pass(2);
  assert.equal(await world.phase(bad), "undone");
  assert.equal(await world.phase(stands), "ok");
  assert.deepEqual(world.gates(stands), ["go", "go"]);
});

test("an order whose strategy this version does not do ends with its code, and others go on", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  await world.startHub();
  const canary = await world.publish(1, { type: "canary" }, 2);
  const view = await world.hub.rollouts.view(canary.digest);
  assert.equal(view?.phase, "failed");
  assert.equal(view?.verdict?.code, "MANIFEST_LATER");
  assert.deepEqual(world.gates(canary), ["hold", "hold"]);
  const next = await world.publish(2, PLAIN, 2);
  await world.pass(3);
  assert.equal(await world.phase(next), "ok");
});

test("nodes whose processes others look up come first", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  const last = world.agents[1]?.node.identity.node;
  world.layoutOf = async () => ({
    after: { web: ["say"] },
    processesOn: (node) => (node === last ? ["say"] : ["web"]),
  });
  await world.startHub();
  const order = await world.publish(1, PLAIN, 2);
  assert.deepEqual(world.gates(order), ["hold", "go"]);
});

test("a receipt that the store does not give at once is read in the next pass", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  const living = dyingAt(Infinity, "before");
  let failures = 1;
  await world.startHub({
    ...living,
    wrap: (store) => ({
      ...living.wrap(store),
      get: async (key) => {
        if (key.startsWith("/receipts/") && failures-- > 0) throw new Error("the disk did not answer");
        return await store.get(key);
      },
    }),
  });
  const order = await world.publish(1, PLAIN, 2);
  await world.receipt(0, order, {});
  assert.ok(failures < 1);
  assert.deepEqual(world.gates(order), ["go", "hold"]);
  world.clock.advance(1000);
  await world.quiet();
  assert.deepEqual(world.gates(order), ["go", "go"]);
});

test("a node whose receipt is dated too late for the settle is named where the order is taken back for it", async (t) => {
  const world = await RolloutWorld.open(t, 2);
  const [, ahead] = world.agents;
  assert.ok(ahead);
  ahead.answer = () => ({ verdict: "ok", at: at(61) });
  await world.startHub();
  const order = await world.publish(1, PLAIN, 2);
  for (let n = 0; n < 15; n++) await world.round(60_000);
  const { verdict } = (await world.hub.rollouts.view(order.digest)) ?? {};
  assert.equal(verdict?.ok, false);
  assert.match(
    verdict.message ?? "",
    /^1 of the 2 receipts .*; dated too late for it, set the clock there: web2$/,
  );
});

test("progress is shown, and changes the view's revision", async (t) => {
  const world = await RolloutWorld.open(t, 1);
  await world.startHub();
  const order = await world.publish(1, PLAIN, 1);
  const before = await world.hub.rollouts.view(order.digest);
  const node = world.agents[0]?.node.identity.node;
  assert.ok(node !== undefined && before !== undefined);
  world.hub.rollouts.progress(node, [
    { order: order.digest, stage: "fetching", bytesDone: 5, bytesTotal: 10, note: null },
  ]);
  const after = await world.hub.rollouts.view(order.digest);
  assert.ok((after?.revision ?? 0) > before.revision);
  assert.equal(after?.nodes[0]?.state, "fetching");
  assert.equal(after?.nodes[0]?.bytesDone, 5);
  assert.equal(after?.nodes[0]?.sources, undefined);
});

test("where a node's bytes came from is shown with the order that they came for", async (t) => {
  const world = await RolloutWorld.open(t, 1);
  await world.startHub();
  const order = await world.publish(1, PLAIN, 1);
  const sources = { hub: 100, disk: 20_000 };
  await world.report({ head: order.digest, sources });
  const view = await world.hub.rollouts.view(order.digest);
  assert.deepEqual(view?.nodes[0]?.sources, sources);
  await world.report({ head: null, sources });
  assert.equal((await world.hub.rollouts.view(order.digest))?.nodes[0]?.sources, undefined);
});

test("old orders are forgotten with all that belongs to them, those that stand are not", async (t) => {
  const world = await RolloutWorld.open(t, 1);
  await world.startHub();
  const other = await world.publish(1, PLAIN, 1, { app: "blog" });
  await world.pass(2);
  const stands = await world.publish(1, PLAIN, 1, { prev: null });
  await world.pass(2);
  const [agent] = world.agents;
  if (agent !== undefined) agent.answer = () => ({ verdict: "failed", code: "VERIFY_FAILED" });
  for (let seq = 2; seq <= 7; seq++) {
    await world.publish(seq, PLAIN, 1);
    await world.pass(2);
  }
  const kept = world.published.slice(-3).map(({ digest }) => digest);
  const wanted = [other.digest, stands.digest, ...kept].sort();
  for (const prefix of ["/rollouts/", "/plans/", "/settles/", "/receipts/"]) {
    const { entries } = await world.store.range(prefix);
    const digests = new Set(entries.map(({ key }) => key.split("/")[2] ?? ""));
    assert.deepEqual([...digests].sort(), wanted, prefix);
  }
  assert.equal((await world.store.range("/orders/shop/default/log/")).entries.length, 4);
  // All orders were to the same node.
  assert.equal((await world.store.range("/rosters/")).entries.length, 1);
});

/** Runs one story with a controller that is killed at each of its writes in turn; returns how many there were. */
async function killedAnywhere(
  t: Parameters<typeof RolloutWorld.open>[0],
  verdicts: readonly Verdict[],
  wanted: { phase: string; serves: (number | null)[]; published: boolean },
): Promise<number> {
  for (let nth = 1; ; nth++) {
    let died = false;
    for (const when of ["before", "after"] as const) {
      const world = await RolloutWorld.open(t, verdicts.length);
      world.rounds = 2;
      for (const [n, verdict] of verdicts.entries()) {
        const agent = world.agents[n];
        if (agent !== undefined) agent.answer = () => ({ verdict });
      }
      const fate = dyingAt(nth, when);
      await world.startHub(fate);
      const order = await world.publish(1, { ...PLAIN, bakeMs: 2000 }, 2);
      let restarted = false;
      for (let round = 0; round < 25; round++) {
        assert.ok((await world.round()) <= 1, `${nth} ${when}: one node at a time`);
        if (!fate.died() || restarted) continue;
        restarted = true;
        await world.startHub();
      }
      died ||= fate.died();
      const story = `killed ${when} write ${nth}`;
      assert.equal(await world.phase(order), wanted.phase, story);
      assert.deepEqual(
        world.agents.map(({ serves }) => serves),
        wanted.serves,
        story,
      );
      assert.equal(await published(world, order), wanted.published, story);
      await world.stopHub();
    }
    if (!died) return nth - 1;
  }
}

test("killed between any two writes, a rollout ends as ordered (long)", async (t) => {
  const writes = await killedAnywhere(t, ["ok", "ok", "ok"], {
    phase: "ok",
    serves: [1, 1, 1],
    published: true,
  });
  assert.ok(writes >= 6, `${writes} writes`);
});

test("killed between any two writes, a failed rollout is undone (long)", async (t) => {
  const writes = await killedAnywhere(t, ["ok", "ok", "failed"], {
    phase: "undone",
    serves: [0, 0, 0],
    published: false,
  });
  assert.ok(writes >= 6, `${writes} writes`);
});
