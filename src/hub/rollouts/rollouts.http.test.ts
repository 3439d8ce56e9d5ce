import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RolloutView } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Receipt } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  at,
  charterWithOperator,
  joinNode,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  operatorClient,
  reportOf,
  rosterOf,
  startTestHub,
  type MadeOrder,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

type Answer = Partial<Receipt>;

interface Story {
  hub: TestHub;
  readonly nodes: readonly TestNode[];
  readonly order: MadeOrder;
  /** In the order in which they came. */
  readonly said: string[];
}

async function begin(t: TestContext, bakeMs = 0): Promise<Story> {
  const hub = await startTestHub(t);
  const nodes = await Promise.all(["web1", "web2", "web3"].map(async (name) => await joinNode(t, hub, name)));
  for (const node of nodes) {
    const app = {
      app: "shop",
      env: "default",
      release: "0".repeat(32) as never,
      state: "running",
      head: null,
    };
    await node.client.report(reportOf({ boot: `boot-${node.name}`, apps: [app] }));
  }
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf(nodes);
  const strategy = {
    type: "rolling",
    batch: 1,
    maxUnavailable: 1,
    maxAbsent: 0,
    maxFailed: 0,
    steps: [],
  } as const;
  const order = await makeOrder(hub.cluster, release.id, roster, {
    strategy: { ...strategy, steps: [], judge: null, bakeMs, onFailure: "undo", spreadMs: 1000 },
  });
  await hub.client.postOrder(order.envelope, roster, await makeSettle(hub.cluster, order, 3));
  return { hub, nodes, order, said: [] };
}

/** Does what an agent does with its gates, until `signal` aborts; what it has to say it says until it is heard. */
async function beAgent(story: Story, node: TestNode, answer: Answer, signal: AbortSignal): Promise<void> {
  let etag: string | undefined;
  let last: string | undefined;
  let unheard: Envelope[] = [];
  while (!signal.aborted) {
    try {
      if (unheard.length > 0) {
        await node.client.report(reportOf({ boot: `boot-${node.name}`, receipts: unheard }), signal);
        unheard = [];
      }
      const wanted = await node.client.wanted(etag, 2000, signal);
      etag = wanted?.etag ?? etag;
      const next = nextWord(wanted?.apps[0]?.gates[story.order.digest], last, answer);
      if (next === undefined) continue;
      last = next.verdict ?? "ok";
      story.said.push(`${node.name} ${last}`);
      unheard = [await makeReceipt(story.hub.cluster, node, story.order, next)];
    } catch (err) {
      if (signal.aborted) return;
      if (!isSkeinError(err, "HUB_UNREACHABLE", "TIMEOUT")) throw err;
      await sleep(20);
    }
  }
}

function nextWord(gate: string | undefined, last: string | undefined, answer: Answer): Answer | undefined {
  if (gate === "go" && last === undefined) return answer;
  const back = last === "failed" || last === "undone";
  return gate === "undo" && !back ? { verdict: "undone" } : undefined;
}

async function ended(story: Story): Promise<RolloutView> {
  return await eventually("its verdict", async () => {
    const view = await story.hub.client.rollout(story.order.digest);
    return view.verdict !== null && view;
  });
}

async function withAgents(
  story: Story,
  answers: readonly Answer[],
  body: () => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const agents = story.nodes.map((node, n) => beAgent(story, node, answers[n] ?? {}, stop.signal));
  try {
    await body();
  } finally {
    stop.abort();
    await Promise.allSettled(agents);
  }
}

test("three polling nodes are let go one after the other, and then the order stands", async (t) => {
  const story = await begin(t);
  await withAgents(story, [], async () => {
    assert.equal((await ended(story)).phase, "ok");
  });
  assert.deepEqual(story.said, ["web1 ok", "web2 ok", "web3 ok"]);
  const [view] = await story.hub.client.app("shop");
  assert.equal(view?.standing?.digest, story.order.digest);
});

test("when the second node fails the first is taken back, and the third never starts", async (t) => {
  const story = await begin(t);
  await withAgents(story, [{}, { verdict: "failed", code: "HEALTH_TIMEOUT", hint: "Wait." }], async () => {
    const view = await ended(story);
    assert.deepEqual(
      view.nodes.slice(0, 2).map(({ hint }) => hint),
      [null, "Wait."],
    );
    assert.equal(view.phase, "undone");
    assert.equal(view.verdict?.code, "DEPLOY_FAILED");
  });
  assert.deepEqual(story.said.slice(0, 2), ["web1 ok", "web2 failed"]);
  assert.ok(story.said.includes("web1 undone"));
  assert.ok(!story.said.includes("web3 ok"));
  const [view] = await story.hub.client.app("shop");
  assert.equal(view?.standing, null);
});

test("a rollout is steered by who may deploy its app in its environment, and by nobody else", async (t) => {
  const { hub, order } = await begin(t);
  const other = generateSigner();
  const elsewhere = ["deploy:shop/staging", "deploy:blog/*", "root:*/*", "enrol:*"];
  await hub.client.postCharter(await charterWithOperator(hub.cluster, other, elsewhere));
  using stranger = await operatorClient(hub.cluster, hub.address, other);
  for (const word of ["pause", "resume", "abort"] as const) {
    await assert.rejects(stranger.steerRollout(order.digest, word, undefined), {
      code: "NOT_AUTHORISED",
      message: "this needs the right deploy:shop/default",
    });
  }
  assert.equal((await stranger.rollout(order.digest)).phase, "running");
  await hub.client.steerRollout(order.digest, "pause", "the word's own id");
  assert.equal((await stranger.rollout(order.digest)).phase, "paused");
  await hub.client.steerRollout(order.digest, "resume", "the word's own id");
  assert.equal((await stranger.rollout(order.digest)).phase, "paused", "a word with this id was heard");
  await hub.client.steerRollout(order.digest, "resume", "another word's id");
  assert.equal((await stranger.rollout(order.digest)).phase, "running");
});

test("a hub that is ended in the middle and started again goes on where it was", async (t) => {
  const story = await begin(t, 200);
  const { home, cluster, port } = story.hub;
  await withAgents(story, [], async () => {
    await eventually("the first word", () => story.said.length > 0);
    await story.hub.close();
    story.hub = await startTestHub(t, { home, cluster, listen: { host: "127.0.0.1", port } });
    assert.equal((await ended(story)).phase, "ok");
  });
  assert.deepEqual(story.said, ["web1 ok", "web2 ok", "web3 ok"]);
});

test("who follows an order is answered when there is news of it, at its end, or after the time that it waits", async (t) => {
  const { hub, nodes, order } = await begin(t);
  const { client } = hub;
  const known = await eventually("the first gate", async () => {
    const view = await client.rollout(order.digest);
    return view.nodes[0]?.gate === "go" && view;
  });
  const same = await client.rollout(order.digest, t.signal, { after: known.revision, waitMs: 300 });
  assert.deepEqual(same, known);
  const held = client.rollout(order.digest, t.signal, { after: known.revision, waitMs: 60_000 });
  const [first] = nodes;
  assert.ok(first);
  await first.client.report(reportOf({ receipts: [await makeReceipt(hub.cluster, first, order)] }));
  const news = await held;
  assert.ok(news.revision > known.revision);
  assert.equal(news.nodes.find(({ name }) => name === first.name)?.verdict, "ok");
  await client.steerRollout(order.digest, "abort", undefined);
  for (const node of nodes) {
    const undone = await makeReceipt(hub.cluster, node, order, { verdict: "undone", at: at(1000) });
    await node.client.report(reportOf({ receipts: [undone] }));
  }
  for (let view = news; view.verdict === null;)
    view = await client.rollout(order.digest, t.signal, { after: view.revision, waitMs: 60_000 });
});

test("how an order is told on one connection, each time it changed, until it ended", async (t) => {
  const { hub, nodes, order } = await begin(t);
  const { client } = hub;
  await assert.rejects(Array.fromAsync(client.rolloutViews("f".repeat(64), t.signal)), { code: "NOT_FOUND" });
  const sent = t.mock.method(client, "raw");
  const views: RolloutView[] = [];
  const told = (async () => {
    for await (const view of client.rolloutViews(order.digest, t.signal)) views.push(view);
  })();
  for (const node of nodes) {
    await eventually(`the turn of ${node.name}`, () =>
      views.at(-1)?.nodes.some(({ name, gate }) => name === node.name && gate === "go"),
    );
    await node.client.report(reportOf({ receipts: [await makeReceipt(hub.cluster, node, order)] }));
  }
  await told;
  assert.equal(views.at(-1)?.phase, "ok");
  assert.ok(views.every(({ revision }, n) => n === 0 || revision > (views[n - 1]?.revision ?? 0)));
  assert.equal(sent.mock.callCount(), 1);
});
