/**
 * Several nodes and a hub that drops, delays, reorders, replays, goes back to an old state and lies. The hub
 * holds everything that was ever signed, and makes up what was not; machines crash, are set back to snapshots,
 * and their clocks jump. After every step what docs/formats/node-state.md says must hold.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ROLLING } from "./strategy.fixture.ts";
import type { Digest } from "../lib/text/ids.ts";
import {
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
  at,
} from "./cluster.fixture.ts";
import { rosterDigest, type Order, type Settle } from "./document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "./document/envelope.ts";
import { generateSigner } from "./keys/keys.ts";
import { acceptOrder, acceptSettle, acceptUndo, failed, finished, started } from "./node/node-orders.ts";
import {
  acceptBirth,
  acceptCharter,
  acceptLabel,
  acceptOwnReceipt,
  appStateOf,
  newNodeState,
  type Context,
  type NodeState,
  type Step,
} from "./node/node-state.ts";
import { nodeStateText, readNodeState } from "./node/node-state-file.ts";
import { compareSerials, serialText, type Serial } from "./orders/orders.ts";
import { matches, parseSelector } from "./document/selector.ts";
import { wanted, type WantedState } from "./node/wanted.ts";

const cluster = await testCluster();
const testNodes = [
  await testNode(cluster, "web1"),
  await testNode(cluster, "web2"),
  await testNode(cluster, "db1", { role: "db" }),
];
const roster = rosterOf(...testNodes);
const KEY = { app: "shop", env: "default" } as const;

/** An order that was really signed, with its settle and the receipts that its nodes would sign. */
interface Signed {
  readonly body: Order;
  readonly envelope: Envelope;
  readonly digest: Digest;
  readonly settle: Settle;
  readonly settleEnvelope: Envelope;
  /** By node and verdict; exists for the hub only after that node really did so. */
  readonly receipts: readonly { readonly ok: Envelope; readonly late: Envelope; readonly undone: Envelope }[];
}

async function signed(change: Partial<Order> & { readonly seq: number }, needs: number): Promise<Signed> {
  const body = orderBody(change.seq, {
    roster: rosterDigest(roster),
    selector: "all",
    strategy: ROLLING,
    ...change,
  });
  const envelope = await sealOrder(body, cluster.alice);
  const settle = settleBody(body, envelope, { needs, before: body.applyBefore, issued: body.issued });
  const receipts = await Promise.all(
    testNodes.map(async (node) => ({
      ok: await receiptBy(node, body, envelope, { at: body.issued }),
      late: await receiptBy(node, body, envelope, { at: body.applyBefore }),
      undone: await receiptBy(node, body, envelope, { verdict: "undone", at: body.issued }),
    })),
  );
  const settleEnvelope = await seal("settle.1", settle, [cluster.bob]);
  return { body, envelope, digest: digestOfEnvelope(envelope), settle, settleEnvelope, receipts };
}

/**
 * Six serials in one chain, a minute apart, so that a hub can hand over any of them at any time; their ends lie
 * further apart. Serials 2 and 4 were signed twice (once with the same release), 3 is for web servers only.
 */
async function history(): Promise<readonly Signed[]> {
  const chain: Signed[] = [];
  const twins: Signed[] = [];
  for (let seq = 1; seq <= 6; seq++) {
    const times = { issued: at(seq), applyBefore: at(seq * 8 + 20), undoBefore: at(seq * 8 + 35) };
    const selector = seq === 3 ? "role=web" : "all";
    const prev = chain.at(-1)?.digest ?? null;
    chain.push(await signed({ seq, prev, selector, ...times }, seq % 3));
    if (seq === 2) twins.push(await signed({ seq, prev, generation: 1, ...times }, 1));
    if (seq === 4) twins.push(await signed({ seq, prev, release: release(104), ...times }, 0));
  }
  return [...chain, ...twins];
}

/** What says who may sign and who a node is, each version a minute after the one before. */
const charters = await Promise.all(
  [2, 3].map(
    async (version) =>
      await seal("charter.1", { ...cluster.charter, version, issued: at(version - 1) }, [cluster.recovery]),
  ),
);
const labels = await Promise.all(
  testNodes.map(
    async ({ signer: { kid }, identity: { name } }) =>
      await Promise.all(
        ["db", "web", "none"].map(
          async (role, n) =>
            await labelFor(cluster.alice, kid, { serial: n + 1, name, labels: { role }, issued: at(n + 1) }),
        ),
      ),
  ),
);

const orders = await history();
const genuine = new Map(orders.map((one) => [one.digest, one]));
const lies = await makeLies();
const otherLies = await makeOtherLies();

/** What a hub can make of what it holds without anybody's key. */
async function makeLies(): Promise<readonly Envelope[]> {
  const [first, second] = orders;
  assert.ok(first && second);
  const stranger = generateSigner();
  const edit = (envelope: Envelope, from: string, to: string): Envelope => {
    const text = Buffer.from(envelope.p, "base64url").toString();
    assert.ok(text.includes(from));
    return { ...envelope, p: Buffer.from(text.replace(from, to)).toString("base64url") };
  };
  return [
    await sealOrder(orderBody(50), stranger),
    await sealOrder(orderBody(50, { cluster: "d".repeat(32) }), cluster.alice),
    await sealOrder(orderBody(50, { issued: at(10_000), applyBefore: at(20_000) }), cluster.alice),
    await sealOrder(orderBody(50, { selector: "name=nobody" }), cluster.alice),
    edit(first.envelope, '"seq":1', '"seq":9'),
    edit(first.envelope, '"state":"run"', '"state":"stopped"'),
    { ...first.envelope, s: second.envelope.s },
    { ...first.envelope, s: [] },
    { ...first.settleEnvelope, t: "order.1" },
  ];
}

/** The same of a charter, and of a label for a node; each is told to every node. */
async function makeOtherLies(): Promise<readonly ((state: NodeState, context: Context) => Step)[]> {
  const [[first] = []] = labels;
  const [second] = charters;
  assert.ok(first && second);
  const stranger = generateSigner();
  const label = readUnverified(first, "label.1");
  const charter = readUnverified(second, "charter.1");
  const nobody = { ...label, node: stranger.kid };
  return [
    ...[
      await labelFor(stranger, label.node, { ...label, serial: 9 }),
      await labelFor(cluster.alice, stranger.kid, { ...nobody, serial: 9 }),
      { ...first, s: [] },
    ].map((lie) => (state: NodeState, context: Context) => acceptLabel(state, lie, context)),
    ...[
      await seal("charter.1", { ...charter, version: 4, issued: at(0) }, [stranger]),
      await seal("charter.1", { ...charter, cluster: "d".repeat(32) }, [cluster.recovery]),
      { ...second, s: [] },
    ].map((lie) => (state: NodeState, context: Context) => acceptCharter(state, lie, context)),
  ];
}

/** One machine: its disk, what it signed, and the highest serial it ever acted on. */
class Machine {
  readonly index: number;
  state: NodeState;
  readonly snapshots: string[] = [];
  /** Verdicts that this node signed, by order. */
  readonly signed = new Map<Digest, Set<"ok" | "late" | "undone">>();
  actedOn: Serial | null = null;

  constructor(index: number) {
    this.index = index;
    const node = testNodes[index];
    assert.ok(node);
    const born = acceptBirth(newNodeState(cluster.envelope, cluster.pin, T0), node, {
      now: T0,
      self: node.signer.kid,
    });
    assert.equal(born.outcome.kind, "accepted");
    this.state = born.state;
    this.snapshots.push(nodeStateText(this.state));
  }

  get self(): (typeof testNodes)[number] {
    const node = testNodes[this.index];
    assert.ok(node);
    return node;
  }

  sign(order: Digest, verdict: "ok" | "late" | "undone"): void {
    this.signed.set(order, (this.signed.get(order) ?? new Set()).add(verdict));
  }

  receipts(): Envelope[] {
    return [...this.signed].flatMap(([digest, verdicts]) =>
      [...verdicts]
        .map((verdict) => genuine.get(digest)?.receipts[this.index]?.[verdict])
        .filter((one) => one !== undefined),
    );
  }
}

class World {
  readonly machines = testNodes.map((_, index) => new Machine(index));
  minutes = 5;

  context(machine: Machine): Context {
    return { now: T0 + this.minutes * MINUTE, self: machine.self.signer.kid };
  }
  wants(machine: Machine): WantedState {
    return wanted(machine.state, KEY.app, KEY.env, this.context(machine));
  }
  /** Receipts of an order that exist by now. */
  existing(order: Signed): Envelope[] {
    return this.machines.flatMap((machine) =>
      [...(machine.signed.get(order.digest) ?? [])]
        .map((verdict) => order.receipts[machine.index]?.[verdict])
        .filter((one) => one !== undefined),
    );
  }

  /** Applies a step as the agent does: through the disk; then asks every invariant. */
  take(machine: Machine, step: Step): string {
    const before = machine.state;
    machine.state = readNodeState(nodeStateText(step.state));
    assert.deepEqual(machine.state, step.state, "the state is what its text says");
    this.check(machine, before);
    return step.outcome.kind === "refused" ? step.outcome.error.code : step.outcome.kind;
  }

  check(machine: Machine, before: NodeState): void {
    const old = appStateOf(before, KEY.app, KEY.env);
    const app = appStateOf(machine.state, KEY.app, KEY.env);
    for (const slot of ["head", "standing"] as const) {
      const [was, is] = [old[slot], app[slot]];
      assert.ok(was === null || (is !== null && compareSerials(is, was) >= 0), `${slot} never decreases`);
      if (was !== null && is !== null && compareSerials(is, was) === 0) assert.equal(is.digest, was.digest);
    }
    assert.ok(machine.state.clock >= before.clock, "time never goes back");
    const { charters, identity } = machine.state;
    assert.deepEqual(charters.slice(0, before.charters.length), before.charters, "charters only follow");
    assert.ok(identity && before.identity);
    this.checkLabels(machine, before);
    const known = new Set([old.head, old.standing, old.prior].map((held) => held?.digest));
    for (const held of [app.head, app.standing, app.prior]) {
      if (held === null) continue;
      const order = genuine.get(held.digest);
      assert.ok(order, "nothing is held that no operator signed");
      const isNew = !known.has(held.digest);
      if (isNew) assert.ok(matches(parseSelector(order.body.selector), identity), "it names this node");
      if (held.settle !== null) this.checkProof(order);
    }
    if (app.standing !== null) assert.ok(app.standing.settle, "only what was settled stands");
    const inSlots = [app.head, app.standing, app.prior].filter((held) => held !== null);
    const serials = new Set(inSlots.map((held) => serialText(held)));
    assert.equal(new Set(inSlots.map(({ digest }) => digest)).size, serials.size, "one order per serial");
    this.checkWanted(machine, app);
  }

  /** Who a node is says its newest label, and before any its ticket. */
  checkLabels({ state, self }: Machine, before: NodeState): void {
    const said = ({ documents: { label } }: NodeState) =>
      label === null ? undefined : readUnverified(label, "label.1");
    const [was, is] = [said(before), said(state)];
    assert.ok((is?.serial ?? 0) >= (was?.serial ?? 0), "labels never go back");
    assert.deepEqual({ ...state.identity?.labels }, { ...(is ?? self.identity).labels });
  }

  /** A settle that somebody believes must have had its receipts, signed in time, by nodes of its roster. */
  checkProof(order: Signed): void {
    const inTime = this.machines.filter((machine) => machine.signed.get(order.digest)?.has("ok"));
    assert.ok(inTime.length >= order.settle.needs, "settled without its receipts");
  }

  checkWanted(machine: Machine, app: ReturnType<typeof appStateOf>): void {
    const want = this.wants(machine);
    if (want.kind !== "order") return;
    const order = genuine.get(want.digest);
    assert.ok(order);
    const release = want.why === "undone" ? order.body.fallback : order.body.release;
    assert.equal(want.release, release, "an undo leads to the fallback and nowhere else");
    const wentBack = machine.signed.get(want.digest)?.has("undone") ?? false;
    assert.ok(want.why === "undone" || !wentBack, "what it went back from it never runs again");
    const now = Math.max(T0 + this.minutes * MINUTE, machine.state.clock);
    const settledOrTouched =
      want.held.settle !== null || !["waiting", "withdrawn"].includes(want.held.progress);
    assert.ok(
      settledOrTouched || now < Date.parse(order.body.applyBefore),
      "what nobody settled has expired",
    );
    if (app.floor !== null) assert.ok(compareSerials(want.held, app.floor) >= 0 || want.why !== "head");
  }

  act(machine: Machine): void {
    const want = this.wants(machine);
    if (want.kind !== "order") return;
    const touched = ["started", "done", "undone"].includes(want.held.progress);
    const outcome = this.take(
      machine,
      started(machine.state, { ...KEY, order: want.digest }, this.context(machine)),
    );
    assert.equal(outcome, touched ? "known" : "accepted", "what is wanted can be started");
    const { actedOn } = machine;
    assert.ok(
      actedOn === null || compareSerials(want.held, actedOn) >= 0,
      `an order older than ${actedOn === null ? "" : serialText(actedOn)} was acted on`,
    );
    machine.actedOn = { epoch: want.held.epoch, seq: want.held.seq };
  }

  /** The running order ends: well, or badly by the node's own checks. */
  end(machine: Machine, well: boolean): void {
    const want = this.wants(machine);
    if (want.kind !== "order" || want.held.progress !== "started") return;
    const name = { ...KEY, order: want.digest };
    const order = genuine.get(want.digest);
    assert.ok(order);
    const outcome = this.take(machine, well ? finished(machine.state, name) : failed(machine.state, name));
    assert.equal(outcome, "accepted");
    const inTime = T0 + this.minutes * MINUTE < Date.parse(order.settle.before);
    machine.sign(want.digest, well ? (inTime ? "ok" : "late") : "undone");
  }

  undo(machine: Machine, order: Signed): void {
    const head = appStateOf(machine.state, KEY.app, KEY.env).head;
    const step = acceptUndo(machine.state, { ...KEY, order: order.digest }, this.context(machine));
    const outcome = this.take(machine, step);
    const isHead = head?.digest === order.digest;
    const open =
      head?.settle === null &&
      Math.max(T0 + this.minutes * MINUTE, machine.state.clock) < Date.parse(order.body.undoBefore);
    if (outcome === "accepted") assert.ok(isHead && open, "the hub's right to undo had ended");
    if (!isHead) assert.equal(outcome, "NOT_FOUND");
    const after = appStateOf(machine.state, KEY.app, KEY.env).head;
    if (outcome === "accepted" && after?.progress === "undone") machine.sign(order.digest, "undone");
  }

  /** The disk goes back to a snapshot; the node fetches its own receipts, as far as the hub shows them all. */
  rewind(machine: Machine, which: number): void {
    const text = machine.snapshots[which % Math.max(1, machine.snapshots.length)];
    if (text === undefined) return;
    machine.state = readNodeState(text);
    for (const receipt of machine.receipts()) {
      const step = acceptOwnReceipt(machine.state, receipt, this.context(machine));
      assert.notEqual(step.outcome.kind, "refused");
      machine.state = readNodeState(nodeStateText(step.state));
    }
    this.check(machine, machine.state);
    // What was started and never reported is lost with the disk; only receipts protect beyond it.
    const reported = [...machine.signed.keys()]
      .map((digest) => genuine.get(digest)?.body)
      .filter((one) => one !== undefined);
    machine.actedOn = reported.reduce<Serial | null>(
      (top, one) => (top === null || compareSerials(one, top) > 0 ? { epoch: one.epoch, seq: one.seq } : top),
      null,
    );
  }
}

/** An action that a counterexample shows by name. */
type Action = ((world: World) => void) & { readonly [fc.toStringMethod]: () => string };
const action = (name: string, run: (world: World) => void): Action =>
  Object.assign(run, { [fc.toStringMethod]: () => name });
const pick = <T>(list: readonly T[], index: number): T => {
  const found = list[index];
  assert.ok(found !== undefined);
  return found;
};
const machines = fc.nat(testNodes.length - 1);
/** An order by its place in history, or the one that the machine holds in a slot: most histories need those. */
const targets = fc.oneof(fc.nat(orders.length - 1), fc.constantFrom("head", "standing", "prior"));
type Target = number | "head" | "standing" | "prior";

function orderAt(machine: Machine, target: Target): Signed | undefined {
  if (typeof target === "number") return pick(orders, target);
  const held = appStateOf(machine.state, KEY.app, KEY.env)[target];
  return held === null ? undefined : genuine.get(held.digest);
}

const deliver = fc.tuple(machines, fc.nat(orders.length - 1)).map(([m, o]): Action =>
  action(`deliver ${o} to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    world.take(machine, acceptOrder(machine.state, pick(orders, o).envelope, world.context(machine)));
  }),
);
/** The next serial that the machine does not have: what an honest hub would deliver. */
const deliverNext = machines.map((m): Action =>
  action(`deliver the next to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    const head = appStateOf(machine.state, KEY.app, KEY.env).head;
    const next = orders.find(({ body }) => head === null || compareSerials(body, head) > 0);
    if (next !== undefined)
      world.take(machine, acceptOrder(machine.state, next.envelope, world.context(machine)));
  }),
);
/** A settle with receipts of its order or of another one, all or some, and with its order or another. */
const settle = fc
  .tuple(machines, targets, fc.nat(orders.length - 1), fc.constantFrom(7, 7, 7, 3, 5, 6, 1, 0), fc.nat(3))
  .map(([m, target, other, mask, how]): Action =>
    action(`settle ${target} of ${m} (${other}, ${mask}, ${how})`, (world) => {
      const machine = pick(world.machines, m);
      const order = orderAt(machine, target);
      if (order === undefined) return;
      const source = how === 0 ? pick(orders, other) : order;
      const input = {
        settle: order.settleEnvelope,
        receipts: world.existing(source).filter((_, index) => ((mask >> (index % 3)) & 1) === 1),
        roster,
        ...(how === 1 ? {} : { order: source.envelope }),
      };
      world.take(machine, acceptSettle(machine.state, input, world.context(machine)));
    }),
  );
const lie = fc.tuple(machines, fc.nat(lies.length - 1)).map(([m, l]): Action =>
  action(`lie ${l} to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    const before = machine.state;
    const step = acceptOrder(before, pick(lies, l), world.context(machine));
    assert.equal(step.outcome.kind, "refused");
    assert.deepEqual(step.state, before, "a lie changes nothing");
  }),
);
const relabel = fc.tuple(machines, fc.nat(2), machines).map(([m, n, of]): Action =>
  action(`label ${n} of ${of} to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    world.take(machine, acceptLabel(machine.state, pick(pick(labels, of), n), world.context(machine)));
  }),
);
const recharter = fc.tuple(machines, fc.nat(1)).map(([m, n]): Action =>
  action(`charter ${n} to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    world.take(machine, acceptCharter(machine.state, pick(charters, n), world.context(machine)));
  }),
);
const otherLie = fc.tuple(machines, fc.nat(otherLies.length - 1)).map(([m, l]): Action =>
  action(`lie ${l} of who is who to ${m}`, (world) => {
    const machine = pick(world.machines, m);
    const before = machine.state;
    const step = pick(otherLies, l)(before, world.context(machine));
    // What it has already it knows again, whoever took the signatures off.
    assert.notEqual(step.outcome.kind, "accepted");
    assert.deepEqual(step.state, before, "a lie changes nothing");
  }),
);
const act = machines.map((m): Action => action(`act ${m}`, (world) => world.act(pick(world.machines, m))));
const end = fc
  .tuple(machines, fc.constantFrom(true, true, false))
  .map(([m, well]): Action =>
    action(`end ${m} ${well ? "well" : "badly"}`, (world) => world.end(pick(world.machines, m), well)),
  );
const converge = machines.map((m): Action =>
  action(`converge ${m}`, (world) => {
    world.act(pick(world.machines, m));
    world.end(pick(world.machines, m), true);
  }),
);
const undo = fc.tuple(machines, targets).map(([m, target]): Action =>
  action(`undo ${target} of ${m}`, (world) => {
    const machine = pick(world.machines, m);
    const order = orderAt(machine, target);
    if (order !== undefined) world.undo(machine, order);
  }),
);
const snapshot = machines.map((m): Action =>
  action(`snapshot ${m}`, (world) => {
    const machine = pick(world.machines, m);
    machine.snapshots.push(nodeStateText(machine.state));
  }),
);
const rewind = fc.tuple(machines, fc.nat(5), fc.boolean()).map(([m, w, honest]): Action =>
  action(`rewind ${m} to ${w}${honest ? ", honestly" : ""}`, (world) => {
    const machine = pick(world.machines, m);
    world.rewind(machine, w);
    const reached = appStateOf(machine.state, KEY.app, KEY.env).floor?.order;
    const order = reached === undefined ? undefined : genuine.get(reached);
    if (!honest || order === undefined || world.wants(machine).kind !== "wait") return;
    // Its label may have changed since: then the order is no longer for it.
    const { identity } = machine.state;
    if (identity === null || !matches(parseSelector(order.body.selector), identity)) return;
    const { head } = appStateOf(machine.state, KEY.app, KEY.env);
    const outcome = world.take(machine, acceptOrder(machine.state, order.envelope, world.context(machine)));
    // The snapshot may hold the other one of two that were signed with this serial: then it waits for a higher one.
    const isContested = head?.digest !== reached && head !== null && compareSerials(head, order.body) === 0;
    const taken = isContested ? ["ORDER_EQUIVOCATION"] : ["accepted", "known"];
    assert.ok(taken.includes(outcome), `what it had reached is taken again: ${outcome}`);
  }),
);
/** Mostly forward; machines' clocks are also set back. */
const clock = fc.integer({ min: -10, max: 35 }).map((minutes): Action =>
  action(`clock ${minutes}`, (world) => {
    world.minutes = Math.max(5, world.minutes + minutes);
  }),
);

const actions = fc.array(
  fc.oneof(
    { arbitrary: deliver, weight: 3 },
    { arbitrary: deliverNext, weight: 5 },
    { arbitrary: settle, weight: 6 },
    { arbitrary: act, weight: 3 },
    { arbitrary: converge, weight: 5 },
    { arbitrary: end, weight: 2 },
    { arbitrary: undo, weight: 2 },
    { arbitrary: clock, weight: 2 },
    { arbitrary: lie, weight: 1 },
    { arbitrary: otherLie, weight: 1 },
    { arbitrary: relabel, weight: 2 },
    { arbitrary: recharter, weight: 1 },
    { arbitrary: snapshot, weight: 1 },
    { arbitrary: rewind, weight: 2 },
  ),
  { minLength: 20, maxLength: 60, size: "max" },
);

/** An honest hub at last: one more order, settled, beyond all others. Its serial leaves a gap, as after a fork. */
const last = await signed({ seq: 9, prev: "0".repeat(64) as Digest, issued: at(5) }, 0);
genuine.set(last.digest, last);

test("whatever a hub does, nodes run only what was signed for them and never go back behind it", () => {
  fc.assert(
    fc.property(actions, (steps) => {
      const world = new World();
      for (const step of steps) step(world);
    }),
    { numRuns: 250 },
  );
});

test("whatever a hub did, the next settled order reaches every node from one read", () => {
  fc.assert(
    fc.property(actions, (steps) => {
      const world = new World();
      for (const step of steps) step(world);
      for (const machine of world.machines) {
        const input = { settle: last.settleEnvelope, order: last.envelope, receipts: [], roster: null };
        const outcome = world.take(machine, acceptSettle(machine.state, input, world.context(machine)));
        assert.equal(outcome, "accepted");
        const want = world.wants(machine);
        assert.equal(want.kind === "order" && want.digest, last.digest);
        world.act(machine);
        world.end(machine, true);
      }
    }),
    { numRuns: 100 },
  );
});

/** A hub that delivers everything in one order or another, to nodes whose time stands still. */
test("nodes that heard the same settles agree on what stands, in whatever order they came", () => {
  const chain = orders
    .slice(0, 6)
    .filter(({ settle, body }) => settle.needs === 0 && body.selector === "all");
  fc.assert(
    fc.property(
      fc.shuffledSubarray(chain, { minLength: chain.length }),
      fc.shuffledSubarray(chain, { minLength: chain.length }),
      (one, two) => {
        const world = new World();
        const [a, b] = world.machines;
        assert.ok(a && b);
        for (const [machine, list] of [
          [a, one],
          [b, two],
        ] as const) {
          for (const order of list) {
            const input = { settle: order.settleEnvelope, order: order.envelope, receipts: [], roster };
            world.minutes = 70;
            world.take(machine, acceptSettle(machine.state, input, world.context(machine)));
          }
        }
        const standing = (machine: Machine): string | undefined =>
          appStateOf(machine.state, KEY.app, KEY.env).standing?.digest;
        assert.equal(standing(a), standing(b));
        assert.equal(standing(a), chain.at(-1)?.digest);
      },
    ),
    { numRuns: 30 },
  );
});
