import assert from "node:assert/strict";
import test from "node:test";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { MINUTE, orderBody, release, sealOrder, T0, testCluster } from "../../trust/cluster.fixture.ts";
import type { Order } from "../../trust/document/documents.ts";
import { digestOfEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import type { AppState, HeldOrder, NodeState } from "../../trust/node/node-state.ts";
import { goalAmong, goalOf, unpacedStartMs, type Pace } from "./goal.ts";
import { newRecord, type AppRecord } from "./records.ts";

const { alice } = await testCluster();
const SELF = "5".repeat(32) as KeyId;
const context = { now: T0 + MINUTE, self: SELF };
const NOTHING = { head: null, standing: null, prior: null, least: null, floor: null };

async function held(change: Partial<Order>, of: Partial<HeldOrder> = {}): Promise<HeldOrder> {
  const order: Envelope = await sealOrder(orderBody(2, change), alice);
  const digest = digestOfEnvelope(order);
  return {
    epoch: 0,
    seq: 2,
    digest,
    order,
    progress: "waiting",
    settle: null,
    contested: false,
    mayRoot: false,
    ...of,
  };
}

/** Of its settle only whether there is one matters here. */
const settled = { document: await sealOrder(orderBody(1), alice), receipts: [] };

function stateOf(...apps: readonly (Partial<AppState> & Pick<AppState, "env">)[]): NodeState {
  const all = apps.map((app) => [`shop/${app.env}`, { app: "shop", ...NOTHING, ...app }]);
  return { clock: T0, apps: Object.fromEntries(all) } as unknown as NodeState;
}

const heard = (gates: [Digest, "go" | "hold" | "undo"][] = []): Pace => ({
  gates: new Map(gates),
  reachable: true,
  duplicate: false,
});
const UNHEARD: Pace = { gates: new Map(), reachable: false, duplicate: false };

test("an order is begun when the hub says so; without a hub, once it stands and its own moment has come", async () => {
  const go = async (pace: (order: Digest) => Pace, of: Partial<HeldOrder> = {}, now = context.now) => {
    const head = await held({}, of);
    return goalOf(stateOf({ env: "default", head }), newRecord("shop", "default"), pace(head.digest), {
      ...context,
      now,
    })?.go;
  };
  assert.equal(await go(() => heard()), false, "the hub does not name it");
  assert.equal(await go((order) => heard([[order, "hold"]])), false);
  assert.equal(await go((order) => heard([[order, "go"]])), true);
  assert.equal(await go((order) => ({ ...heard([[order, "go"]]), duplicate: true })), false);
  assert.equal(
    await go(() => ({ ...heard(), duplicate: true }), { progress: "started" }),
    true,
    "it goes on",
  );
  assert.equal(await go(() => UNHEARD), false, "nobody settled it");
  assert.equal(await go((order) => ({ ...UNHEARD, gates: new Map([[order, "go"]]) })), true, "said before");
  const { digest } = await held({});
  const moment = unpacedStartMs(SELF, digest, T0, 600_000);
  assert.equal(await go(() => UNHEARD, { settle: settled }, moment - 1), false);
  assert.equal(await go(() => UNHEARD, { settle: settled }, moment), true);
});

test("a goal is what its order says, and whether its version is everywhere by now", async () => {
  const goal = async (change: Partial<Order>, of: Partial<HeldOrder> = {}) =>
    goalOf(
      stateOf({ env: "default", head: await held(change, of) }),
      newRecord("shop", "default"),
      heard(),
      context,
    );
  const plain = await goal({ beside: [release(1)], generation: 3 });
  assert.deepEqual(
    [plain?.release, plain?.state, plain?.generation, plain?.beside, plain?.hooks, plain?.everywhere],
    [release(2), "run", 3, [release(1)], true, false],
  );
  assert.deepEqual(plain?.answers, { epoch: 0, seq: 2, release: release(2) });
  assert.equal((await goal({ hooks: "skip" }))?.hooks, false);
  assert.equal((await goal({ state: "stopped" }))?.state, "stopped");
  assert.equal((await goal({}, { settle: settled }))?.everywhere, true);
  assert.equal(goalOf(stateOf(), newRecord("shop", "default"), heard(), context), null);
});

test("an order that was taken back leads to its fallback, and a node that failed stays at what it ran", async () => {
  const back = async (record: Partial<AppRecord>, change: Partial<Order> = {}) => {
    const head = await held(change, { progress: "undone" });
    const verdicts = Object.fromEntries(
      Object.values(record.verdicts ?? {}).map((said) => [head.digest, said]),
    );
    const own = { ...newRecord("shop", "default"), ...record, verdicts };
    return goalOf(stateOf({ env: "default", head }), own, heard(), context);
  };
  const ran = { order: "e".repeat(64) as Digest, state: "run", generation: 7, beside: [] } as const;
  const said = (verdict: "undone" | "failed" | "ok") => ({ ["f".repeat(64)]: verdict });
  const plain = await back({});
  assert.deepEqual([plain?.release, plain?.back, plain?.isAnswered], [release(1), true, false]);
  assert.equal((await back({ verdicts: said("ok") }))?.isAnswered, false);
  assert.equal((await back({ verdicts: said("undone") }))?.isAnswered, true);
  const failed = await back({ verdicts: said("failed"), reached: { ...ran, release: release(9) } });
  assert.deepEqual([failed?.release, failed?.generation, failed?.isAnswered], [release(9), 7, true]);
  assert.equal((await back({ reached: { ...ran, release: release(9) } }))?.release, release(1));
  const none = { fallback: null };
  assert.equal((await back({}, none))?.release, null);
  assert.equal((await back({ reached: { ...ran, release: release(2) } }, none))?.release, null, "itself");
  assert.equal((await back({ reached: { ...ran, release: release(9) } }, none))?.release, release(9));
});

test("of several environments the held one is left first, and answered, before another one's order is taken", async () => {
  const runs = async (env: string, of: Partial<HeldOrder> = {}) => ({ env, head: await held({ env }, of) });
  const stops = async (env: string, of: Partial<HeldOrder> = {}) => ({
    env,
    head: await held({ env, state: "stopped" }, of),
  });
  type App = Awaited<ReturnType<typeof runs>>;
  const among = (apps: readonly App[], holds: string | null, verdicts: AppRecord["verdicts"] = {}) => {
    const record = holds === null ? undefined : { ...newRecord("shop", holds), verdicts };
    const environments = apps.map(({ env }) => env);
    const goal = goalAmong(stateOf(...apps), { app: "shop", environments, record }, heard(), context);
    return apps.find(({ head }) => head.digest === goal?.order)?.env;
  };
  const answered = ({ head }: App): AppRecord["verdicts"] => ({ [head.digest]: "ok" });
  const [stopped, other] = [await stops("blue"), await runs("green")];
  assert.equal(among([other, stopped], "blue"), "blue", "brought about and answered first");
  assert.equal(among([stopped, other], "blue", answered(stopped)), "green");
  assert.equal(among([stopped, other], null), "green", "what runs comes before what is stopped");
  const over = await stops("blue", { progress: "done" });
  const undone = await stops("blue", { progress: "undone" });
  const open = await stops("green");
  assert.equal(among([over, open], null), "green", "of what was answered nothing is left to do");
  assert.equal(among([undone, open], null), "blue", "its fallback runs");
  assert.equal(among([over, await stops("green", { progress: "done" })], "green", {}), "green");
  assert.equal(among([], null), undefined);
});

test("without a hub the starts of a thousand nodes are spread evenly over the time allowed", () => {
  const order = "a".repeat(64) as Digest;
  const spread = 600_000;
  const quarters = [0, 0, 0, 0];
  for (let n = 0; n < 1000; n++) {
    const node = n.toString(16).padStart(32, "0") as KeyId;
    const start = unpacedStartMs(node, order, 5_000_000, spread);
    assert.equal(start, unpacedStartMs(node, order, 5_000_000, spread));
    assert.ok(start >= 5_000_000 && start < 5_600_000);
    const quarter = Math.floor((start - 5_000_000) / 150_000);
    quarters[quarter] = (quarters[quarter] ?? 0) + 1;
  }
  for (const count of quarters) assert.ok(count > 180, `quarters: ${quarters.join(" ")}`);
});

test("a spread of nothing starts at once, whatever a node's clock says", () => {
  assert.equal(unpacedStartMs("0".repeat(32) as KeyId, "b".repeat(64) as Digest, 7, 0), 0);
});
