/** Hubs without their network, over one store and a clock that stands still, and nodes that do as they are told. */
import { ROLLING } from "../../trust/strategy.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { AppOnNode } from "../../api/schemas.ts";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import type { TestContext } from "node:test";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import type { Layout } from "../../rollout/plan.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import type { Store } from "../../store/store.ts";
import {
  orderBody,
  receiptBy,
  rosterOf,
  sealOrder,
  settleBody,
  T0,
  testCluster,
  testNode,
  type TestCluster,
  type TestNode,
} from "../../trust/cluster.fixture.ts";
import {
  rosterDigest,
  rosterText,
  type Order,
  type Receipt,
  type Strategy,
} from "../../trust/document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { Charters } from "../cluster/charters.ts";
import { put, write, type Core } from "../records/core.ts";
import type { Rollouts } from "../orders/gates.ts";
import { keys } from "../records/keys.ts";
import { Lanes } from "../records/lanes.ts";
import { Mirror } from "../records/mirror.ts";
import { Nodes } from "../cluster/nodes.ts";
import { Orders } from "../orders/orders.ts";
import { Presence } from "../cluster/presence.ts";
import { startRollouts } from "./rollouts.ts";

export interface Published {
  readonly digest: Digest;
  readonly order: Order;
  readonly envelope: Envelope;
}

/** A node as the hub sees it from afar. */
export interface Agent {
  readonly node: TestNode;
  present: boolean;
  /** Seq of the release that serves; null: nothing does. */
  serves: number | null;
  /** What it says about an order that it was let start; default ok. */
  answer: (published: Published) => Partial<Receipt>;
  /** Order → rounds that are left until it answers. */
  readonly busy: Map<Digest, number>;
  readonly done: Map<Digest, Receipt["verdict"]>;
}

interface LiveHub {
  readonly core: Core;
  readonly orders: Orders;
  readonly presence: Presence;
  readonly rollouts: Rollouts;
  stop(): Promise<void>;
}

interface Shared {
  readonly cluster: TestCluster;
  readonly nodes: readonly TestNode[];
}
let shared: Promise<Shared> | undefined;
const NODES = 6;

/** Keys are made once for the file's tests. */
async function sharedNodes(): Promise<Shared> {
  shared ??= (async () => {
    const cluster = await testCluster();
    const names = Array.from({ length: NODES }, (_, n) => `web${n + 1}`);
    return { cluster, nodes: await Promise.all(names.map((name) => testNode(cluster, name))) };
  })();
  return await shared;
}

export class RolloutWorld {
  readonly clock = fakeClock(T0);
  /** Of what passed on the clock: for how long the hub was stopped, or that was set. */
  unlivedMs = 0;
  readonly lived: Clock = { ...this.clock, now: () => this.clock.now() - this.unlivedMs };
  /** How often the controller waits for the time to pass: while it does, it has nothing to decide. */
  #sleeping = 0;
  #died = (): boolean => false;
  readonly store: Store;
  readonly agents: Agent[];
  readonly published: Published[] = [];
  readonly #cluster: TestCluster;
  #hub: LiveHub | undefined;
  /** Rounds that a node is busy with an order. */
  rounds = 1;
  layoutOf: ((order: Order) => Promise<Layout>) | undefined;

  private constructor(store: Store, { cluster, nodes }: Shared, count: number) {
    this.store = store;
    this.#cluster = cluster;
    this.agents = nodes.slice(0, count).map((node) => ({
      node,
      present: true,
      serves: 0,
      answer: () => ({}),
      busy: new Map(),
      done: new Map(),
    }));
  }

  static async open(t: TestContext, count: number): Promise<RolloutWorld> {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-rollouts-"));
    const world = new RolloutWorld(
      await openSqliteStore(path.join(dir, "store.db")),
      await sharedNodes(),
      count,
    );
    atEnd(t, async () => {
      await world.stopHub();
      await world.store[Symbol.asyncDispose]();
      await fs.rm(dir, { recursive: true });
    });
    const then = [put(keys.charter(1), world.#cluster.envelope)];
    for (const { node } of world.agents) {
      then.push(put(keys.node(node.identity.node, "ticket"), node.ticket));
      then.push(put(keys.node(node.identity.node, "enrol"), node.enrol));
    }
    await world.store.txn({ compare: [], then });
    return world;
  }

  get hub(): LiveHub {
    if (this.#hub === undefined) throw new Error("no hub runs");
    return this.#hub;
  }

  /** @param fate lets the controller end at one of its writes */
  async startHub(fate?: Fate): Promise<void> {
    await this.stopHub();
    this.#died = fate?.died ?? ((): boolean => false);
    const stop = new AbortController();
    const fail = (err: unknown): void => {
      if (!stop.signal.aborted) throw err;
    };
    const common = {
      clock: this.clock,
      lived: this.lived,
      log: silentLog,
      signal: stop.signal,
      version: "0",
    };
    const coreOf = async (store: Store): Promise<Core> => {
      const mirror = await Mirror.follow(store, stop.signal, fail);
      return { ...common, store, mirror, lanes: new Lanes() } as unknown as Core;
    };
    const core = await coreOf(this.store);
    const charters = new Charters(core);
    await charters.begin([]);
    const nodes = new Nodes(core, charters);
    const presence = new Presence(core, nodes);
    const mortal = { ...core, store: fate?.wrap(this.store) ?? this.store, clock: this.#watched() };
    const orders = new Orders(mortal, charters, undefined as never);
    const { layoutOf } = this;
    const parts = { core: mortal, orders, nodes, presence, ordersKept: 3 };
    const rollouts = startRollouts(layoutOf === undefined ? parts : { ...parts, layoutOf });
    this.#hub = {
      core,
      orders,
      presence,
      rollouts,
      stop: async () => {
        stop.abort();
        await rollouts[Symbol.asyncDispose]();
      },
    };
    await this.report();
  }

  async stopHub(): Promise<void> {
    await this.#hub?.stop();
    this.#hub = undefined;
  }

  /** An order to all agents' nodes, written as the hub's API writes one. `needs` null: no settle is handed in. */
  async publish(
    seq: number,
    strategy: Partial<Strategy>,
    needs: number | null,
    more: Partial<Order> = {},
  ): Promise<Published> {
    const roster = rosterOf(...this.agents.map(({ node }) => node));
    const order = orderBody(seq, {
      roster: rosterDigest(roster),
      strategy: { ...ROLLING, ...strategy },
      prev: this.published.at(-1)?.digest ?? null,
      ...more,
    });
    const envelope = await sealOrder(order, this.#cluster.alice);
    const digest = digestOfEnvelope(envelope);
    const record = { digest, epoch: order.epoch, seq, order: envelope };
    const settle = needs === null ? null : await this.settle({ digest, order, envelope }, needs);
    await this.store.txn({
      compare: [],
      then: [
        put(keys.head(order.app, order.env), record),
        put(keys.logged(order.app, order.env, record), record),
        { op: "put", key: keys.roster(order.roster), value: rosterText(roster) },
        ...(settle === null ? [] : [put(keys.settle(digest), { settle, published: false, receipts: [] })]),
      ],
    });
    const published = { digest, order, envelope };
    this.published.push(published);
    await this.quiet();
    return published;
  }

  async settle({ order, envelope }: Published, needs: number): Promise<Envelope> {
    return await seal("settle.1", settleBody(order, envelope, { needs }), [this.#cluster.alice]);
  }

  /** All present nodes say that they are there and what serves. */
  async report(more: Partial<AppOnNode> = {}): Promise<void> {
    for (const { node, present, serves } of this.agents) {
      if (!present) continue;
      const release = serves === null ? null : orderBody(serves).release;
      const { changes } = this.hub.presence.reported(node.identity.node, {
        boot: `boot-${node.identity.name}`,
        at: timeOf(this.clock.now()),
        address: null,
        version: "0",
        knows: [],
        receipts: [],
        instances: [],
        progress: [],
        apps: [{ app: "shop", env: "default", release, state: "running", head: null, ...more }],
      });
      await write(this.hub.core, changes());
    }
  }

  gate(n: number, { digest }: Published): string {
    return this.hub.rollouts.gateFor(digest, this.#agent(n).node.identity.node);
  }

  gates(published: Published): string[] {
    return this.agents.map((_, n) => this.gate(n, published));
  }

  async phase({ digest }: Published): Promise<string> {
    return (await this.hub.rollouts.view(digest))?.phase ?? "unknown";
  }

  /** A second passes, and nodes act on their gates. @returns how many are in the middle of it */
  async round(ms = 1000): Promise<number> {
    this.clock.advance(ms);
    await this.report();
    await this.quiet();
    // All look at the same moment, as nodes do that do not know of each other.
    const gates = this.published.map((published) => this.gates(published));
    let busy = 0;
    for (const [n, agent] of this.agents.entries()) {
      const seen = gates.map((all) => all[n] ?? "hold");
      if (agent.present) busy += await this.#act(agent, seen);
    }
    await this.quiet();
    return busy;
  }

  async pass(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.round();
  }

  async receipt(n: number, published: Published, change: Partial<Receipt>): Promise<void> {
    const { node } = this.#agent(n);
    const at = timeOf(this.clock.now());
    const receipt = await receiptBy(node, published.order, published.envelope, { at, ...change });
    const key = keys.receipt(published.digest, node.identity.node);
    await this.store.txn({ compare: [], then: [put(key, receipt)] });
    await this.quiet();
  }

  /**
   * Until the controller sleeps and nothing was written for a while. Signatures are checked on other threads, so on a
   * busy machine many turns of the event loop say nothing by themselves.
   */
  async quiet(): Promise<void> {
    let revision = -1;
    for (let still = 0; still < 25; still++) {
      await setImmediate();
      const now = (await this.store.range("", { limit: 1 })).revision;
      const busy = this.#hub !== undefined && this.#sleeping === 0 && !this.#died();
      if (now !== revision || busy) still = 0;
      revision = now;
    }
  }

  #watched(): Clock {
    return {
      now: () => this.clock.now(),
      sleep: async (ms, signal) => {
        this.#sleeping += 1;
        await this.clock.sleep(ms, signal).finally(() => (this.#sleeping -= 1));
      },
    };
  }

  async #act(agent: Agent, gates: readonly string[]): Promise<number> {
    let busy = 0;
    for (const [place, published] of this.published.entries()) {
      const { digest } = published;
      const gate = gates[place];
      const done = agent.done.get(digest);
      if (gate === "undo" && (done === undefined || done === "ok")) {
        agent.busy.delete(digest);
        await this.#answer(agent, published, { verdict: "undone" });
      } else if (gate === "go" && done === undefined) {
        const left = agent.busy.get(digest) ?? this.rounds;
        agent.busy.set(digest, left - 1);
        busy += 1;
        if (left > 1) continue;
        agent.busy.delete(digest);
        await this.#answer(agent, published, agent.answer(published));
      }
    }
    return busy;
  }

  async #answer(agent: Agent, published: Published, change: Partial<Receipt>): Promise<void> {
    const verdict = change.verdict ?? "ok";
    if (verdict === "ok") agent.serves = published.order.seq;
    else if (agent.done.get(published.digest) === "ok") agent.serves = published.order.seq - 1;
    agent.done.set(published.digest, verdict);
    await this.receipt(this.agents.indexOf(agent), published, change);
  }

  #agent(n: number): Agent {
    const agent = this.agents[n];
    if (agent === undefined) throw new Error(`no agent ${n}`);
    return agent;
  }
}

interface Fate {
  readonly wrap: (store: Store) => Store;
  readonly died: () => boolean;
}

/** The store as a process sees it that is killed at its `nth` write, just before or just after it. */
export function dyingAt(nth: number, when: "before" | "after"): Fate {
  let writes = 0;
  const dead = (): never => {
    throw new SkeinError("STORE_CLOSED", "killed");
  };
  return {
    died: () => writes >= nth,
    wrap: (store) => ({
      incarnation: store.incarnation,
      get: async (key) => await store.get(key),
      range: async (prefix, options) => await store.range(prefix, options),
      txn: async (txn) => {
        writes += 1;
        if (writes > nth || (writes === nth && when === "before")) return dead();
        const result = await store.txn(txn);
        return writes === nth ? dead() : result;
      },
      watch: (prefix, from, signal) => store.watch(prefix, from, signal),
      grant: async (ttlMs) => await store.grant(ttlMs),
      keepAlive: async (lease) => await store.keepAlive(lease),
      revoke: async (lease) => await store.revoke(lease),
      compact: async (revision) => await store.compact(revision),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}
