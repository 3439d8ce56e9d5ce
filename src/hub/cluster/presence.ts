/**
 * Which nodes are there. A node is present while the hub hears of it, nobody else uses its key, and its clock is about
 * right. What matters of it is in the store, so that watchers learn of it and a restarted hub remembers.
 */
import type { Duplex } from "node:stream";
import type { AppOnNode, Report, NodeView } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { isSkewed, leastAheadMs } from "../../trust/charter/charter.ts";
import { timeOf } from "../../trust/document/fields.ts";
import type { Op } from "../../store/store.ts";
import { nodeLane, put, write, type Core } from "../records/core.ts";
import { keys, type ViewRecord } from "../records/keys.ts";
import { Unseen } from "../records/unseen.ts";
import type { Nodes } from "./nodes.ts";

/** Silence after which a node counts as absent. Longer forgives slower agents, and failures are seen later. */
const SILENCE_MS = 30_000;
/** The same after a poll whose connection broke, or without any connection left: the agent has likely ended. */
const CUT_MS = 5000;
/** A node that calls again this soon after its connection broke was never gone: its agent was restarted, or a router. */
const CALLS_AGAIN_MS = 1000;
/** A second boot nonce that alternates with the first is remembered so long. */
const DUPLICATE_MS = 60_000;
const SWEEP_MS = 1000;
/** What is read so soon after the hub was stopped may have lain there since then. */
const LAIN_MS = 10_000;

/** Times are of `lived`: neither a clock that is set nor a hub that was stopped makes a node silent. */
interface Live {
  deadline: number;
  /** By the hub's clock: to be shown. */
  lastSeen: number;
  /** Polls that wait for news. */
  polls: number;
  /** When its last poll broke or its last connection closed, unless it was heard of since. */
  cutAt: number | null;
  /** Those that are open; null before the first. */
  connections: Set<Duplex> | null;
  boot: string | null;
  /** Boots that were superseded → when they spoke last. */
  readonly earlier: Map<string, number>;
  /** When two agents were last seen to use this key. */
  duplicateAt: number;
}

const NOTHING_KNOWN: ViewRecord = {
  address: null,
  present: false,
  lastSeen: null,
  version: null,
  boot: null,
  skewMs: null,
  duplicate: false,
  knows: [],
  apps: [],
  roomBytes: null,
};

export class Presence {
  readonly #core: Core;
  readonly #nodes: Nodes;
  readonly #live = new Map<KeyId, Live>();
  readonly #unseen: Unseen;
  /** The last time that nobody looked, and until when it counts. */
  #stopped = { ms: 0, until: -Infinity };
  /** What nodes said last, as the mirror has it: asked for with each look at a node. */
  readonly #views = new Map<string, ViewRecord>();

  constructor(core: Core, nodes: Nodes) {
    this.#core = core;
    this.#nodes = nodes;
    this.#unseen = new Unseen(core);
    core.mirror.onChange((changed) => {
      for (const key of changed) if (key.endsWith("/view")) this.#views.delete(key.split("/")[2] ?? "");
    });
    // Those who were there when the hub stopped have the usual time to call again.
    for (const node of nodes.all()) {
      const view = this.#view(node);
      if (view.present) this.#live.set(node, { ...this.#fresh(), boot: view.boot });
    }
  }

  /** Marks who fell silent, until the hub ends. What the store refuses once is tried again at the next look. */
  async run(): Promise<void> {
    const { clock, log, signal } = this.#core;
    while (!signal.aborted) {
      await clock.sleep(SWEEP_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.#sweep();
      } catch (err) {
        if (!signal.aborted) log.error("who is present could not be written", { err: String(err) });
      }
    }
  }

  /** A node speaks through this connection: between its polls, too, its end is seen. */
  connected(node: KeyId, connection: Duplex): void {
    const live = this.#liveOf(node);
    const connections = live.connections ?? new Set();
    if (connections.has(connection) || connection.destroyed) return;
    live.connections = connections.add(connection);
    connection.once("close", () => {
      connections.delete(connection);
      if (connections.size === 0 && live.polls === 0) this.#cut(live);
    });
  }

  /** Is any of its connections open? */
  isConnected(node: KeyId): boolean {
    return (this.#live.get(node)?.connections?.size ?? 0) > 0;
  }

  /** A node was heard of. `forMs` is how long its silence means nothing. */
  heard(node: KeyId, forMs = 0): void {
    const live = this.#liveOf(node);
    live.lastSeen = this.#core.clock.now();
    // Its last words, read when it had hung up.
    if (live.connections?.size === 0) return this.#cut(live);
    live.cutAt = null;
    live.deadline = this.#now() + forMs + SILENCE_MS;
  }

  /**
   * A node asks what is wanted. @param boot its agent's nonce; undefined from older ones
   * @returns whether it is news that another agent had spoken last with this key: restarted since, or a second one
   */
  polled(node: KeyId, waitMs: number, boot: string | undefined): boolean {
    this.heard(node, waitMs);
    const live = this.#live.get(node);
    const before = live?.boot ?? null;
    if (live !== undefined) live.polls++;
    if (live === undefined || boot === undefined || boot === before) return false;
    const isKnown = this.duplicate(node);
    noteBoot(live, boot, this.#now());
    return before !== null && !isKnown;
  }

  /** A node's poll ended: answered, or because its connection broke. */
  pollEnded(node: KeyId, cut: boolean): void {
    const live = this.#live.get(node);
    if (live === undefined || --live.polls > 0) return;
    if (cut) return this.#cut(live);
    live.cutAt = null;
    live.deadline = this.#now() + SILENCE_MS;
  }

  /**
   * A node said what it does.
   * @returns whether two live agents use this key, and what of it is to be written: asked for in the node's lane
   */
  reported(node: KeyId, report: Report): { readonly duplicate: boolean; readonly changes: () => Op[] } {
    this.heard(node);
    const live = this.#live.get(node);
    if (live !== undefined) noteBoot(live, report.boot, this.#now());
    const now = this.#core.clock.now();
    const skewMs = 0 - leastAheadMs(Date.parse(report.at), now - this.#mayHaveLainMs(), now);
    const { address, version, boot, knows, apps, roomBytes = null } = report;
    const said = { address, version, boot, knows, apps, roomBytes };
    const changes = (): Op[] => {
      const before = this.#view(node);
      // A changing millisecond is no news.
      const skew = Math.abs(skewMs - (before.skewMs ?? Infinity)) > 1000 ? skewMs : before.skewMs;
      return this.#changes(node, { ...before, ...said, skewMs: skew, duplicate: this.duplicate(node) });
    };
    return { duplicate: this.duplicate(node), changes };
  }

  duplicate(node: KeyId): boolean {
    const at = this.#live.get(node)?.duplicateAt ?? -Infinity;
    return this.#now() - at < DUPLICATE_MS;
  }

  /** Nothing was heard of it for longer than it may be silent. */
  silent(node: KeyId): boolean {
    return (this.#live.get(node)?.deadline ?? -Infinity) <= this.#now();
  }

  /** Nobody would hear what is said to it: it is silent, or its connection broke and it did not call again. */
  gone(node: KeyId): boolean {
    const cutAt = this.#live.get(node)?.cutAt ?? Infinity;
    return this.silent(node) || cutAt + CALLS_AGAIN_MS <= this.#now();
  }

  present(node: KeyId): boolean {
    const { skewMs } = this.#view(node);
    return !this.silent(node) && !isSkewed(skewMs) && !this.duplicate(node) && !this.#nodes.revoked(node);
  }

  /** @returns undefined for those whose documents do not verify */
  view(node: KeyId): NodeView | undefined {
    const identity = this.#nodes.identity(node);
    if (identity === undefined) return undefined;
    const lastSeen = this.#live.get(node)?.lastSeen;
    const view = this.#view(node);
    return {
      node,
      name: identity.name,
      labels: { ...identity.labels },
      labelSerial: identity.serial,
      ...view,
      lastSeen: lastSeen === undefined ? view.lastSeen : timeOf(lastSeen),
      present: this.present(node),
      duplicate: this.duplicate(node),
      revoked: false,
    };
  }

  views(): NodeView[] {
    return this.#nodes.members().flatMap(({ node }) => this.view(node) ?? []);
  }

  /** Did it ever say what it runs? Not asked of those whose documents do not verify. */
  hasReported(node: KeyId): boolean {
    return this.#view(node).boot !== null && this.#nodes.identity(node) !== undefined;
  }

  /** What a node says it runs of an app. */
  app(node: KeyId, app: string, env: string): AppOnNode | undefined {
    return this.#view(node).apps.find((one) => one.app === app && one.env === env);
  }

  /** How long a report that is read now may have waited for it. */
  #mayHaveLainMs(): number {
    const ms = this.#unseen.look();
    if (ms > 0) this.#stopped = { ms, until: this.#now() + LAIN_MS };
    return this.#now() < this.#stopped.until ? this.#stopped.ms : 0;
  }

  #now(): number {
    return this.#core.lived.now();
  }

  #fresh(): Live {
    return {
      deadline: this.#now() + SILENCE_MS,
      lastSeen: this.#core.clock.now(),
      polls: 0,
      cutAt: null,
      connections: null,
      boot: null,
      earlier: new Map(),
      duplicateAt: -Infinity,
    };
  }

  #liveOf(node: KeyId): Live {
    const known = this.#live.get(node);
    if (known !== undefined) return known;
    const live = this.#fresh();
    this.#live.set(node, live);
    return live;
  }

  #cut(live: Live): void {
    live.cutAt = this.#now();
    live.deadline = live.cutAt + CUT_MS;
  }

  async #sweep(): Promise<void> {
    this.#mayHaveLainMs();
    for (const node of this.#live.keys()) {
      const view = this.#view(node);
      const duplicate = this.duplicate(node);
      if (view.present !== this.present(node) || view.duplicate !== duplicate) {
        await this.#core.lanes.run(nodeLane(node), async () => {
          await write(this.#core, this.#changes(node, { ...this.#view(node), duplicate }));
        });
      }
    }
  }

  #view(node: KeyId): ViewRecord {
    const known = this.#views.get(node);
    if (known !== undefined) return known;
    const view = this.#core.mirror.get(keys.view(node));
    if (view === undefined) return NOTHING_KNOWN;
    this.#views.set(node, view);
    return view;
  }

  #changes(node: KeyId, view: ViewRecord): Op[] {
    const key = keys.view(node);
    const stored = this.#core.mirror.get(key);
    const next = { ...view, present: viewPresent(this.present(node), view), lastSeen: view.lastSeen };
    if (stored !== undefined && JSON.stringify(stored) === JSON.stringify(next)) return [];
    const lastSeen = this.#live.get(node)?.lastSeen;
    return [put(key, { ...next, lastSeen: lastSeen === undefined ? next.lastSeen : timeOf(lastSeen) })];
  }
}

/** The skew in `view` may be newer than the stored one that `present` looked at. */
function viewPresent(present: boolean, view: ViewRecord): boolean {
  return present && !isSkewed(view.skewMs) && !view.duplicate;
}

/** A restarted agent has a new boot nonce and the old one is never heard again; with a clone they alternate. */
function noteBoot(live: Live, boot: string, now: number): void {
  if (live.boot === boot) return;
  for (const [earlier, at] of live.earlier) if (now - at >= DUPLICATE_MS) live.earlier.delete(earlier);
  if (live.earlier.has(boot)) live.duplicateAt = now;
  if (live.boot !== null) live.earlier.set(live.boot, now);
  live.boot = boot;
}
