import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import {
  at,
  CLUSTER,
  labelFor,
  MINUTE,
  orderBody,
  receiptBy,
  release,
  rosterOf,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
  type TestNode,
} from "../cluster.fixture.ts";
import { rosterDigest, type Order, type Settle } from "../document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../document/envelope.ts";
import {
  acceptBirth,
  acceptCharter,
  acceptLabel,
  acceptOwnReceipt,
  acceptRevoke,
  appStateOf,
  newNodeState,
  type NodeState,
  type Step,
} from "./node-state.ts";
import { nodeStateText, readNodeState } from "./node-state-file.ts";
import {
  acceptOrder,
  acceptSettle,
  acceptUndo,
  failed,
  finished,
  mayRunAsRoot,
  started,
} from "./node-orders.ts";
import { generateSigner } from "../keys/keys.ts";
import { wanted } from "./wanted.ts";

const cluster = await testCluster();
const { alice, bob, charter } = cluster;
const web1 = await testNode(cluster, "web1");
const web2 = await testNode(cluster, "web2");
const self = web1.signer.kid;
const when = (minutes: number): { now: number; self: typeof self } => ({ now: T0 + minutes * MINUTE, self });

/** A node that joined at T0, and what it makes of what it is told; every state passes through its file's text. */
class Node {
  state: NodeState;
  minutes = 0;

  constructor(node: TestNode = web1) {
    this.state = newNodeState(cluster.envelope, cluster.pin, T0);
    this.expect("accepted", acceptBirth(this.state, node, when(0)));
  }

  take(step: Step): string {
    this.state = readNodeState(nodeStateText(step.state));
    return step.outcome.kind === "refused" ? step.outcome.error.code : step.outcome.kind;
  }
  expect(outcome: string, step: Step): void {
    assert.equal(this.take(step), outcome);
  }
  order(envelope: Envelope): string {
    return this.take(acceptOrder(this.state, envelope, when(this.minutes)));
  }
  settle(settle: Envelope, order?: Envelope, receipts: readonly Envelope[] = []): string {
    const input = {
      settle,
      receipts,
      roster: rosterOf(web1, web2),
      ...(order === undefined ? {} : { order }),
    };
    return this.take(acceptSettle(this.state, input, when(this.minutes)));
  }
  undo(order: Envelope): string {
    return this.take(acceptUndo(this.state, nameOf(order), when(this.minutes)));
  }
  start(order: Envelope): string {
    return this.take(started(this.state, nameOf(order), when(this.minutes)));
  }
  finish(order: Envelope): string {
    return this.take(finished(this.state, nameOf(order)));
  }
  fail(order: Envelope): string {
    return this.take(failed(this.state, nameOf(order)));
  }
  /** `head 3`, `undone 2`, `none`, `wait`: why and the release's number, and what is not as usual. */
  get wants(): string {
    const want = wanted(this.state, "shop", "default", when(this.minutes));
    if (want.kind !== "order") return want.kind;
    const number = want.release === null ? "nothing" : Number.parseInt(want.release, 16);
    const unusual = (want.state === "run" ? "" : " stopped") + (want.unsettled ? " UNSETTLED" : "");
    return `${want.why} ${number}${unusual}`;
  }
  get app(): ReturnType<typeof appStateOf> {
    return appStateOf(this.state, "shop", "default");
  }
}

const nameOf = (order: Envelope): { app: string; env: string; order: Digest } => ({
  app: "shop",
  env: "default",
  order: digestOfEnvelope(order),
});
const orderOf = async (seq: number, change: Partial<Order> = {}): Promise<Envelope> =>
  sealOrder(orderBody(seq, { prev: "0".repeat(64) as Digest, ...change }), alice);
const settleOf = async (seq: number, order: Envelope, change: Partial<Settle> = {}): Promise<Envelope> =>
  seal("settle.1", settleBody(orderBody(seq), order, change), [alice]);

const five = await orderOf(5);
const seven = await orderOf(7);
const eight = await orderOf(8, { prev: digestOfEnvelope(seven) });
const settledFive = await settleOf(5, five);
const settledSeven = await settleOf(7, seven);
const settledEight = await settleOf(8, eight);

test("an order is wanted while it may be applied, and by nobody after that", () => {
  const node = new Node();
  assert.equal(node.wants, "none");
  assert.equal(node.order(five), "accepted");
  const { state } = node;
  assert.equal(acceptOrder(state, five, when(0)).state, state, "nothing to write to disk again");
  assert.equal(node.order(five), "known");
  assert.equal(node.wants, "head 5");
  node.minutes = 60;
  assert.equal(node.wants, "none");
  assert.equal(node.start(five), "ORDER_EXPIRED");
  assert.equal(new Node().order(five), "accepted");
});

test("an order that comes after applyBefore without a settle is refused", () => {
  const node = new Node();
  node.minutes = 60;
  assert.equal(node.order(five), "ORDER_EXPIRED");
  assert.equal(node.wants, "none");
});

test("a node that started in time keeps the order, marked unsettled", () => {
  const node = new Node();
  node.order(five);
  node.minutes = 59;
  assert.equal(node.start(five), "accepted");
  assert.equal(node.start(five), "known");
  node.minutes = 500;
  assert.equal(node.wants, "head 5 UNSETTLED");
  assert.equal(node.finish(five), "accepted");
  assert.equal(node.wants, "head 5 UNSETTLED");
});

test("a settled order stands for ever, also for a node that comes late", () => {
  const node = new Node();
  node.minutes = 1_000_000;
  assert.equal(node.order(five), "ORDER_EXPIRED");
  assert.equal(node.settle(settledFive, five), "accepted");
  assert.equal(node.settle(settledFive, five), "known");
  assert.equal(node.wants, "head 5");
  assert.equal(node.start(five), "accepted");
  assert.equal(node.app.standing?.progress, "started", "head and standing are one order");
});

test("an unsettled head that expires gives way to what stands", () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.order(seven);
  assert.equal(node.wants, "head 7");
  node.minutes = 60;
  assert.equal(node.wants, "standing 5");
});

test("an unsettled head that expires gives way to what was started before it came, if that is newer", () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.order(seven);
  node.start(seven);
  node.order(eight);
  assert.equal(node.wants, "head 8");
  node.minutes = 60;
  assert.equal(node.wants, "prior 7 UNSETTLED");
  assert.equal(node.settle(settledSeven), "accepted");
  assert.equal(node.wants, "prior 7");
});

test("a settle for an order that a newer head overtook makes it stand beneath that head", () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.order(eight);
  assert.equal(node.order(seven), "ORDER_ROLLBACK");
  assert.equal(node.settle(settledSeven, seven), "accepted");
  assert.equal(node.wants, "head 8");
  node.minutes = 60;
  assert.equal(node.wants, "standing 7");
  assert.equal(node.settle(settledFive, five), "ORDER_ROLLBACK");
});

test("what stands is wanted before something older that was started", () => {
  const node = new Node();
  node.order(five);
  node.start(five);
  node.order(eight);
  node.settle(settledSeven, seven);
  node.minutes = 60;
  assert.equal(node.wants, "standing 7");
});

test("a late settle of what was started before does not take the place of a newer one that stands", () => {
  const node = new Node();
  node.order(seven);
  node.start(seven);
  node.settle(settledEight, eight);
  assert.equal(node.settle(settledSeven), "accepted");
  assert.equal(node.app.standing?.seq, 8);
  assert.equal(node.wants, "head 8");
});

test("an order that follows at once is as new as one that is far ahead", async () => {
  const node = new Node();
  node.settle(settledSeven, seven);
  assert.equal(node.settle(settledEight, eight), "accepted");
  assert.equal(node.app.standing?.seq, 8);
  const rewound = new Node();
  rewound.order(seven);
  rewound.take(acceptOwnReceipt(rewound.state, await receiptBy(web1, orderBody(8), eight), when(0)));
  assert.equal(rewound.order(eight), "accepted");
  assert.equal(rewound.wants, "head 8");
});

test("older orders are refused, with or without their settle", () => {
  const node = new Node();
  node.settle(settledSeven, seven);
  assert.equal(node.order(five), "ORDER_ROLLBACK");
  assert.equal(node.settle(settledFive, five), "ORDER_ROLLBACK");
  assert.equal(node.wants, "head 7");
});

test("a higher epoch is newer whatever the seq: a thief's huge serial can be left behind", async () => {
  const node = new Node();
  const huge = await orderOf(Number.MAX_SAFE_INTEGER);
  assert.equal(node.order(huge), "accepted");
  const recovered = { ...charter, version: 2, epoch: 1, issued: at(0) };
  const next = await seal("charter.1", recovered, [cluster.recovery]);
  const small = await orderOf(1, { epoch: 1, prev: null });
  assert.equal(node.order(small), "CHARTER_ROLLBACK");
  node.expect("accepted", acceptCharter(node.state, next, when(0)));
  node.expect("known", acceptCharter(node.state, next, when(0)));
  assert.equal(node.order(small), "accepted");
  assert.equal(node.wants, "head 1");
  assert.equal(node.order(eight), "ORDER_ROLLBACK");
  const second = new Node();
  second.order(seven);
  second.expect("accepted", acceptCharter(second.state, next, when(0)));
  const seqOfNext = await orderOf(8, { epoch: 1, prev: null });
  assert.equal(second.order(seqOfNext), "accepted", "its chain begins with the epoch");
});

test("two orders with one serial: the first is kept, an alarm is raised, any higher one is taken", async () => {
  const node = new Node();
  const other = await sealOrder(orderBody(7, { release: release(99) }), bob);
  node.order(seven);
  const step = acceptOrder(node.state, other, when(0));
  assert.equal(step.outcome.kind === "refused" && step.outcome.alarm, true);
  assert.equal(node.take(step), "ORDER_EQUIVOCATION");
  assert.equal(node.wants, "head 7");
  const settledOther = await seal("settle.1", settleBody(orderBody(7), other), [bob]);
  assert.equal(node.settle(settledOther, other), "ORDER_EQUIVOCATION");
  const afterOther = await orderOf(8, { prev: digestOfEnvelope(other) });
  assert.equal(node.order(afterOther), "accepted", "its prev is the one that this node refused");
});

test("an order that does not follow the one held is a fork; with a gap between them nobody can tell", async () => {
  const node = new Node();
  node.order(seven);
  const fork = await orderOf(8, { prev: digestOfEnvelope(five) });
  const step = acceptOrder(node.state, fork, when(0));
  assert.equal(step.outcome.kind === "refused" && step.outcome.alarm, true);
  assert.equal(node.take(step), "ORDER_FORK");
  assert.equal(node.order(await orderOf(9, { prev: digestOfEnvelope(fork) })), "accepted");
});

test("an older order that is settled must be the one the head names", async () => {
  const node = new Node();
  node.order(eight);
  const otherSeven = await orderOf(7, { release: release(99) });
  assert.equal(node.settle(await settleOf(7, otherSeven), otherSeven), "ORDER_FORK");
  assert.equal(node.settle(settledSeven, seven), "accepted");
});

test("orders for another node, cluster or environment are refused", async () => {
  const node = new Node();
  assert.equal(node.order(await orderOf(5, { selector: "role=db" })), "ORDER_NOT_FOR_NODE");
  assert.equal(node.order(await orderOf(5, { selector: "name=web2" })), "ORDER_NOT_FOR_NODE");
  assert.equal(node.order(await orderOf(5, { cluster: "d".repeat(32) })), "WRONG_CLUSTER");
  assert.equal(node.order(await orderOf(5, { issued: at(11) })), "DOC_FROM_FUTURE");
  assert.deepEqual(node.state.apps, {});
  node.order(five);
  const staging = await orderOf(1, { env: "staging", prev: null });
  assert.equal(node.order(staging), "ENV_CONFLICT");
  const settled = await settleOf(1, staging, { env: "staging" });
  assert.equal(node.settle(settled, staging), "ENV_CONFLICT");
  const stop = await orderOf(6, { state: "stopped", prev: digestOfEnvelope(five) });
  assert.equal(node.order(stop), "accepted");
  assert.equal(node.order(staging), "accepted", "a stopped app does not hold the environment");
  const neighbour = await orderOf(1, { app: "api", env: "canary", prev: null });
  assert.equal(node.order(neighbour), "accepted", "nor does another app");
});

test("of two environments that are wanted when a clock was set back, only the first is started", async () => {
  const node = new Node();
  node.order(five);
  node.minutes = 61;
  const staging = await orderOf(1, { env: "staging", prev: null, applyBefore: at(200) });
  assert.equal(node.order(staging), "accepted", "the other one has expired");
  node.minutes = 0;
  assert.equal(node.start(five), "accepted");
  const second = started(node.state, { ...nameOf(staging), env: "staging" }, when(0));
  assert.equal(node.take(second), "ENV_CONFLICT");
});

test("a settle without its receipts changes nothing", async () => {
  const order = orderBody(5, { roster: rosterDigest(rosterOf(web1, web2)) });
  const envelope = await sealOrder(order, alice);
  const settle = await seal("settle.1", settleBody(order, envelope, { needs: 2 }), [alice]);
  const receipts = await Promise.all([web1, web2].map((node) => receiptBy(node, order, envelope)));
  const node = new Node();
  assert.equal(node.settle(settle, envelope), "SETTLE_UNPROVEN");
  assert.equal(node.settle(settle, envelope, receipts.slice(1)), "SETTLE_UNPROVEN");
  assert.deepEqual(node.state.apps, {});
  assert.equal(node.settle(settle, seven, receipts), "SETTLE_UNPROVEN", "with another order");
  assert.equal(node.settle(settle, envelope, receipts), "accepted");
  assert.equal(node.app.standing?.settle?.receipts.length, 2, "kept, to prove it to others");
  assert.equal(new Node().settle(settle), "NOT_FOUND", "a settle of an order that never came");
});

test("undo leads to the fallback, before undoBefore and before the settle, and nowhere else", async () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.start(five);
  node.order(seven);
  node.start(seven);
  assert.equal(node.undo(five), "NOT_FOUND", "only the head");
  assert.equal(node.undo(seven), "accepted");
  assert.equal(node.undo(seven), "known");
  assert.equal(node.wants, "undone 6");
  node.minutes = 10_000;
  assert.equal(node.wants, "undone 6");
  assert.equal(node.start(seven), "known", "there is no way forth again");
  assert.equal(node.settle(settledSeven), "accepted");
  assert.equal(node.wants, "undone 6", "others may have done better");
});

test("undo is refused after undoBefore and after the settle", () => {
  const late = new Node();
  late.order(seven);
  late.start(seven);
  late.finish(seven);
  late.minutes = 120;
  assert.equal(late.undo(seven), "UNDO_TOO_LATE");
  assert.equal(late.wants, "head 7 UNSETTLED");
  const settled = new Node();
  settled.order(seven);
  settled.settle(settledSeven);
  assert.equal(settled.undo(seven), "UNDO_TOO_LATE");
  assert.equal(settled.wants, "head 7");
});

test("what is taken back before it was started leaves the node as it was", () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.order(seven);
  assert.equal(node.undo(seven), "accepted");
  assert.equal(node.undo(seven), "known");
  assert.equal(node.wants, "standing 5");
  assert.equal(node.start(seven), "ORDER_EXPIRED");
  assert.equal(node.settle(settledSeven), "accepted");
  assert.equal(node.wants, "head 7", "a hub that lied about it does not bind the operator");
  assert.equal(node.start(seven), "accepted");
});

test("a node whose own checks fail goes back, settled or not, at any time", () => {
  const node = new Node();
  node.settle(settledSeven, seven);
  assert.equal(node.fail(seven), "ORDER_EXPIRED", "not before it started");
  node.start(seven);
  node.minutes = 10_000;
  assert.equal(node.fail(seven), "accepted");
  assert.equal(node.wants, "undone 6");
  assert.equal(node.finish(seven), "ORDER_EXPIRED");
  const done = new Node();
  done.order(seven);
  done.start(seven);
  done.finish(seven);
  assert.equal(done.fail(seven), "ORDER_EXPIRED", "what was judged good is the hub's to undo");
});

test("a first deployment that fails leaves nothing running", async () => {
  const node = new Node();
  const first = await orderOf(1, { prev: null });
  node.order(first);
  node.start(first);
  node.fail(first);
  assert.equal(node.wants, "undone nothing stopped");
  const want = wanted(node.state, "shop", "default", when(0));
  assert.equal(want.kind === "order" && want.state, "stopped");
});

test("what it went back to survives a newer order that nobody started", () => {
  const node = new Node();
  node.order(seven);
  node.start(seven);
  node.fail(seven);
  node.order(eight);
  assert.equal(node.wants, "head 8");
  node.minutes = 60;
  assert.equal(node.wants, "undone 6");
  assert.equal(node.settle(settledEight), "accepted");
  assert.equal(node.wants, "head 8");
});

test("a clock that is set back does not bring an expired order to life", async () => {
  const node = new Node();
  node.order(five);
  const later = await orderOf(9, { app: "api", issued: at(61), applyBefore: at(121) });
  node.minutes = 60;
  assert.equal(node.order(later), "accepted");
  node.minutes = 0;
  assert.equal(node.wants, "none", "an operator's document said that it is later");
});

test("only operators' accepted documents move a node's notion of time", async () => {
  const node = new Node();
  const before = node.state.clock;
  const order = orderBody(5);
  const ahead = await receiptBy(web1, order, five, { at: at(9) });
  node.take(acceptOwnReceipt(node.state, ahead, when(0)));
  const stranger = await sealOrder(orderBody(5, { issued: at(9) }), generateSigner());
  assert.equal(node.order(stranger), "DOC_UNSIGNED");
  const notMine = await orderOf(5, { issued: at(9), selector: "role=db" });
  assert.equal(node.order(notMine), "ORDER_NOT_FOR_NODE");
  assert.equal(node.state.clock, before);
});

test("a rewound disk waits for the order that the node had reached", async () => {
  const node = new Node();
  node.settle(settledFive, five);
  node.start(five);
  const snapshot = nodeStateText(node.state);
  node.order(seven);
  node.order(eight);
  node.start(eight);
  node.finish(eight);
  const receipt = await receiptBy(web1, orderBody(8), eight);

  node.state = readNodeState(snapshot);
  node.minutes = 300;
  node.expect("accepted", acceptOwnReceipt(node.state, receipt, when(300)));
  assert.equal(node.wants, "wait");
  assert.equal(node.start(five), "ORDER_EXPIRED");
  assert.equal(node.order(seven), "ORDER_ROLLBACK");
  assert.equal(node.order(await orderOf(8, { release: release(99) })), "ORDER_EQUIVOCATION");
  assert.equal(node.order(eight), "accepted", "long after applyBefore: it had been started");
  assert.equal(node.wants, "head 8 UNSETTLED");
});

test("a rewound disk with a newer head waits too, and takes back what it had started below that head", async () => {
  const node = new Node();
  node.settle(settledFive, five);
  const receipt = await receiptBy(web1, orderBody(7), seven);
  node.order(eight);
  node.expect("accepted", acceptOwnReceipt(node.state, receipt, when(0)));
  assert.equal(node.wants, "head 8");
  node.minutes = 60;
  assert.equal(node.wants, "wait", "not what stood before it");
  assert.equal(node.order(seven), "accepted");
  assert.equal(node.wants, "prior 7 UNSETTLED");
});

test("what a receipt names takes the place of what was started before it, and of nothing newer", async () => {
  const later = new Node();
  later.order(five);
  later.start(five);
  later.order(eight);
  later.take(acceptOwnReceipt(later.state, await receiptBy(web1, orderBody(7), seven), when(0)));
  assert.equal(later.order(seven), "accepted");
  later.minutes = 60;
  assert.equal(later.wants, "prior 7 UNSETTLED");
  const node = new Node();
  for (const order of [five, seven]) {
    node.order(order);
    node.start(order);
  }
  node.order(eight);
  node.take(acceptOwnReceipt(node.state, await receiptBy(web1, orderBody(5), five), when(0)));
  assert.equal(node.order(five), "accepted");
  node.minutes = 60;
  assert.equal(node.wants, "prior 7 UNSETTLED");
});

test("only what was started ends, and once", () => {
  const node = new Node();
  assert.equal(node.finish(seven), "NOT_FOUND");
  node.order(seven);
  assert.equal(node.finish(seven), "ORDER_EXPIRED");
  node.start(seven);
  assert.deepEqual(
    [node.finish(seven), node.finish(seven), node.fail(seven)],
    ["accepted", "known", "ORDER_EXPIRED"],
  );
});

test("a rewound disk remembers from its receipts that it went back", async () => {
  const ok = await receiptBy(web1, orderBody(8), eight);
  const undone = await receiptBy(web1, orderBody(8), eight, { verdict: "undone" });
  for (const receipts of [[ok, undone], [undone, ok], [undone]]) {
    const node = new Node();
    for (const receipt of receipts) node.take(acceptOwnReceipt(node.state, receipt, when(0)));
    node.order(eight);
    assert.equal(node.wants, "undone 7");
  }
  const held = new Node();
  held.order(eight);
  held.take(acceptOwnReceipt(held.state, undone, when(0)));
  assert.equal(held.wants, "undone 7", "also when the order is there before its receipt");
});

test("of a node's own receipts the newest counts, and of one order's that it went back", async () => {
  const rival = await orderOf(7, { release: release(99) });
  const ok = await receiptBy(web1, orderBody(7), seven);
  const undone = await receiptBy(web1, orderBody(7), seven, { verdict: "undone" });
  const later = await receiptBy(web1, orderBody(8), eight);
  const other = await receiptBy(web1, orderBody(7, { release: release(99) }), rival, { verdict: "undone" });
  const cases: [string, Envelope, Envelope, "accepted" | "known"][] = [
    ["a newer one", ok, later, "accepted"],
    ["an older one", later, ok, "known"],
    ["an older one that went back", later, undone, "known"],
    ["the same", ok, ok, "known"],
    ["it went back after all", ok, undone, "accepted"],
    ["it had been well before", undone, ok, "known"],
    ["it went back twice", undone, undone, "known"],
    ["another order's of that serial", ok, other, "known"],
  ];
  for (const [why, first, second, outcome] of cases) {
    const node = new Node();
    node.take(acceptOwnReceipt(node.state, first, when(0)));
    assert.equal(node.take(acceptOwnReceipt(node.state, second, when(0))), outcome, why);
  }
  const back = new Node();
  back.order(eight);
  back.start(eight);
  back.fail(eight);
  back.take(acceptOwnReceipt(back.state, later, when(0)));
  assert.equal(back.wants, "undone 7", "what is known here of a way back is newer");
});

test("another node's receipts and refused orders tell a node nothing about itself", async () => {
  const node = new Node();
  const others = await receiptBy(web2, orderBody(8), eight);
  node.expect("ORDER_NOT_FOR_NODE", acceptOwnReceipt(node.state, others, when(0)));
  const refusedOne = await receiptBy(web1, orderBody(8), eight, { verdict: "refused", code: "ORDER_FORK" });
  node.expect("known", acceptOwnReceipt(node.state, refusedOne, when(0)));
  assert.equal(node.order(seven), "accepted");
});

test("a new node takes nothing older than what stood when its ticket was signed", async () => {
  const late = await testNode(
    cluster,
    "web3",
    { role: "web" },
    { floor: { "shop/default": { epoch: 0, seq: 7 } } },
  );
  const context = { now: T0, self: late.signer.kid };
  const { state } = acceptBirth(newNodeState(cluster.envelope, cluster.pin, T0), late, context);
  const code = (step: Step): string =>
    step.outcome.kind === "refused" ? step.outcome.error.code : step.outcome.kind;
  assert.equal(code(acceptOrder(state, five, context)), "ORDER_ROLLBACK");
  const settled = { settle: settledFive, order: five, receipts: [], roster: null };
  assert.equal(code(acceptSettle(state, settled, context)), "ORDER_ROLLBACK");
  assert.equal(code(acceptOrder(state, seven, context)), "accepted");
});

test("a revoked node takes no order, and what runs goes on", async () => {
  const node = new Node();
  node.order(five);
  node.start(five);
  const body = { cluster: CLUSTER, node: self, reason: "stolen", issued: at(0) };
  const revoke = await seal("revoke.1", body, [alice]);
  node.expect("accepted", acceptRevoke(node.state, revoke, when(0)));
  node.expect("known", acceptRevoke(node.state, revoke, when(0)));
  assert.equal(node.order(seven), "REVOKED");
  assert.equal(node.order(await orderOf(7, { selector: "all" })), "REVOKED");
  assert.equal(node.settle(settledSeven, seven), "REVOKED");
  assert.equal(node.wants, "head 5");
});

test("labels decide which orders come next; what was accepted stays", async () => {
  const node = new Node();
  node.order(five);
  const label = await labelFor(alice, self, { labels: { role: "db" } });
  node.expect("accepted", acceptLabel(node.state, label, when(0)));
  node.expect("known", acceptLabel(node.state, label, when(0)));
  assert.equal(node.wants, "head 5");
  assert.equal(node.order(seven), "ORDER_NOT_FOR_NODE");
  const older = await labelFor(bob, self, { serial: 1, labels: { role: "web" } });
  node.expect("DOC_ROLLBACK", acceptLabel(node.state, older, when(0)));
});

test("a node joins once, as itself, with a clock that can be right", async () => {
  const node = new Node();
  node.expect("known", acceptBirth(node.state, web1, when(0)));
  const again = await testNode(cluster, "web1");
  node.expect("TICKET_BAD", acceptBirth(node.state, again, when(0)));
  const fresh = newNodeState(cluster.envelope, cluster.pin, T0);
  node.expect("ORDER_NOT_FOR_NODE", acceptBirth(fresh, web2, when(0)));
  node.expect("DOC_FROM_FUTURE", acceptBirth(fresh, web1, when(-41)));
  node.expect("UNKNOWN_CLIENT", acceptOrder(fresh, five, when(0)));
  assert.throws(() => newNodeState(cluster.envelope, cluster.pin, T0 - 71 * MINUTE), {
    code: "DOC_FROM_FUTURE",
  });
});

test("a node without a name takes what is for all, and nothing else", async () => {
  const fresh = newNodeState(cluster.envelope, cluster.pin, T0);
  const node = new Node();
  for (const selector of ["name!=x", "web1", "!web", "all | web", "all & all"]) {
    const order = await sealOrder(orderBody(5, { selector }), alice);
    node.expect("UNKNOWN_CLIENT", acceptOrder(fresh, order, when(0)));
  }
  const all = await sealOrder(orderBody(5, { selector: "all" }), alice);
  const taken = acceptOrder(fresh, all, when(0));
  assert.equal(taken.outcome.kind, "accepted");
  assert.equal(taken.state.apps["shop/default"]?.head?.seq, 5);
});

test("two charters with one version are an alarm", async () => {
  const node = new Node();
  const other = await seal("charter.1", { ...charter, version: 2, issued: at(0) }, [cluster.recovery]);
  const second = await seal("charter.1", { ...charter, version: 2, issued: at(1) }, [cluster.recovery]);
  node.expect("accepted", acceptCharter(node.state, other, when(0)));
  const step = acceptCharter(node.state, second, when(0));
  assert.equal(step.outcome.kind === "refused" && step.outcome.alarm, true);
  node.expect("CHARTER_ROLLBACK", step);
});

test("a revoked operator's new orders are refused; what was accepted stays and can be settled anew", async () => {
  const node = new Node();
  const byBob = await sealOrder(orderBody(5), bob);
  node.order(byBob);
  const withoutBob = {
    ...charter,
    version: 2,
    issued: at(0),
    operators: Object.fromEntries(Object.entries(charter.operators).filter(([kid]) => kid !== bob.kid)),
  };
  node.expect("accepted", acceptCharter(node.state, await seal("charter.1", withoutBob, [alice]), when(0)));
  assert.equal(node.wants, "head 5");
  assert.equal(
    node.order(await sealOrder(orderBody(6, { prev: digestOfEnvelope(byBob) }), bob)),
    "DOC_UNSIGNED",
  );
  const fresh = await sealOrder(orderBody(5), alice);
  assert.equal(node.order(fresh), "known", "re-signed by alice it is the same order");
  assert.deepEqual(node.app.head?.order, fresh, "and the copy that convinces others");
  assert.equal(node.settle(await settleOf(5, fresh)), "accepted");
});

test("a damaged state file is not guessed at", () => {
  const node = new Node();
  node.order(five);
  const text = nodeStateText(node.state);
  assert.deepEqual(readNodeState(text), node.state);
  assert.deepEqual(
    readNodeState(text.replaceAll(',"mayRoot":false', "")),
    node.state,
    "an earlier version's",
  );
  for (const bad of [
    "",
    "{}",
    text.slice(0, -1),
    text.replace('"format":1', '"format":2'),
    text.replace('"waiting"', '"maybe"'),
  ]) {
    assert.throws(() => readNodeState(bad), { code: "STORE_CORRUPT" });
  }
});

test("an undo names its order by digest, whatever the release", () => {
  const node = new Node();
  assert.equal(
    node.take(
      acceptUndo(node.state, { app: "shop", env: "default", order: "0".repeat(64) as Digest }, when(0)),
    ),
    "NOT_FOUND",
  );
  assert.equal(orderBody(1).fallback, null as ReleaseId | null);
});

test("what was started with the right to run as root keeps it, and what was not asks the charter in force", async () => {
  const { [bob.kid]: _bob, ...operators } = charter.operators;
  const later = await seal("charter.1", { ...charter, version: 2, operators }, [alice]);
  const byBob = await sealOrder(orderBody(5), bob);
  const drop = (node: Node): boolean => {
    node.expect("accepted", acceptCharter(node.state, later, when(node.minutes)));
    const { head } = node.app;
    assert.ok(head !== null);
    return mayRunAsRoot(node.state.charter, head, T0);
  };
  const running = new Node();
  running.order(byBob);
  running.start(byBob);
  assert.equal(drop(running), true);
  assert.equal(running.order(await orderOf(6, { prev: digestOfEnvelope(byBob) })), "accepted");
  assert.equal(running.app.prior?.mayRoot, true, "it may be gone back to");

  const waiting = new Node();
  waiting.order(byBob);
  assert.equal(drop(waiting), false);
  assert.equal(waiting.start(byBob), "accepted");
  assert.equal(waiting.app.head?.mayRoot, false);
});
