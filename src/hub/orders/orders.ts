/**
 * Orders and settles. The hub checks them like a node does before it stores them, so that what it serves is worth
 * fetching; nodes check again. Publishing is a compare-and-set on the app's head, and sending the same bytes again
 * after a cut is answered as the first time.
 */
import { inProgress } from "../../api/in-progress.ts";
import type { OrderPost } from "../../api/schemas.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import type { Op } from "../../store/store.ts";
import {
  rosterDigest,
  rosterText,
  type Charter,
  type Order,
  type Roster,
} from "../../trust/document/documents.ts";
import {
  digestOfEnvelope,
  readUnverified,
  type Envelope,
  type Opened,
} from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import {
  compareSerials,
  openOrder,
  openSettle,
  refuseUnproven,
  serialText,
} from "../../trust/orders/orders.ts";
import type { Charters } from "../cluster/charters.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import type { Rollouts } from "./gates.ts";
import { storedEnvelope } from "../records/envelopes.ts";
import { keys, type Key, type OrderRecord, type SettleRecord, type StandingRecord } from "../records/keys.ts";
import type { Releases } from "./releases.ts";

const ROSTERS_KEPT = 64;

export class Orders {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #releases: Releases;
  readonly #bodies = new WeakMap<OrderRecord, Order>();
  readonly #rosters = new Map<string, Roster>();
  /** Asked for each node at each change: listed once until an app comes or goes. */
  #appEnvs: readonly AppEnv[] | undefined;
  readonly #logs = new Map<string, readonly OrderRecord[]>();
  /** Digest → its place, for all that is in logs: made when it is first asked for, and kept from then on. */
  #places: Map<string, Key<OrderRecord>> | undefined;

  constructor(core: Core, charters: Charters, releases: Releases) {
    this.#core = core;
    this.#charters = charters;
    this.#releases = releases;
    core.mirror.onChange((changed) => this.#forget(changed));
  }

  /** Every app and environment that ever had an order. */
  appEnvs(): readonly AppEnv[] {
    if (this.#appEnvs !== undefined) return this.#appEnvs;
    const heads = this.#core.mirror.list(keys.orders).filter(({ key }) => key.endsWith("/head"));
    return (this.#appEnvs = heads.map(({ key }) => placeOf(key)));
  }

  head({ app, env }: AppEnv): OrderRecord | undefined {
    return this.#core.mirror.get(keys.head(app, env));
  }

  standing({ app, env }: AppEnv): OrderRecord | undefined {
    const standing = this.#core.mirror.get(keys.standing(app, env));
    return standing === undefined ? undefined : this.#core.mirror.get(keys.logged(app, env, standing));
  }

  /** Newest first. */
  log({ app, env }: AppEnv): readonly OrderRecord[] {
    const prefix = keys.log(app, env);
    const known = this.#logs.get(prefix);
    if (known !== undefined) return known;
    const log = this.#core.mirror.list(prefix).map(({ value }) => value);
    this.#logs.set(prefix, log.reverse());
    return log;
  }

  body(record: OrderRecord): Order {
    const known = this.#bodies.get(record) ?? readUnverified(record.order, "order.1");
    this.#bodies.set(record, known);
    return known;
  }

  /** The order of this digest, if it is in a log. */
  find(digest: string): OrderRecord | undefined {
    const place = this.#placed().get(digest);
    return place === undefined ? undefined : this.#core.mirror.get(place);
  }

  settle(order: string): SettleRecord | undefined {
    return this.#core.mirror.get(keys.settle(order));
  }

  async roster(digest: string): Promise<Roster | undefined> {
    const known = this.#rosters.get(digest);
    if (known !== undefined) return known;
    const entry = await this.#core.store.get(keys.roster(digest));
    if (entry === undefined) return undefined;
    const roster = JSON.parse(entry.value) as Roster;
    keepNewest(this.#rosters, ROSTERS_KEPT, digest, roster);
    return roster;
  }

  /**
   * @throws SkeinError HEAD_MOVED, DEPLOY_IN_PROGRESS, ORDER_FORK, ORDER_EXPIRED, ORDER_UNKNOWN_RELEASE, NODES…, DOC_*
   */
  async post(
    { order: source, roster, settle, goesBack, part }: OrderPost,
    rollouts: Rollouts,
  ): Promise<Digest> {
    const digest = digestOfEnvelope(source);
    // What was accepted before is answered before anything that may have changed since is asked.
    if (this.find(digest) !== undefined) return digest;
    const { charter } = this.#charters.need();
    const order = openOrder(charter, source, this.#core.clock.now());
    const place = { app: order.body.app, env: order.body.env };
    this.#refuseUseless(order, roster);
    if (settle !== null) this.#refuseForeignSettle(charter, settle, order);
    return await this.#core.lanes.run(`orders ${place.app}/${place.env}`, async () => {
      if (this.find(digest) !== undefined) return digest;
      const head = this.#core.mirror.entry(keys.head(place.app, place.env));
      refuseMoved(order.body, head.value);
      if (head.value !== undefined && rollouts.underWay(head.value.digest))
        throw inProgress(place, head.value.digest, await rollouts.view(head.value.digest));
      const said = { ...(goesBack ? { goesBack } : {}), ...(part ? { part } : {}) };
      const record = { ...recordOf(order, source), ...said };
      faultPoint("hub.order");
      const written = commit(
        this.#core,
        [unchanged(keys.head(place.app, place.env), head.modRevision)],
        [
          put(keys.head(place.app, place.env), record),
          ...logOps(record, place, roster),
          ...settleOps(digest, settle),
        ],
      );
      await written.catch((err: unknown) => {
        if (!isSkeinError(err, "CONFLICT")) throw err;
        throw new SkeinError("HEAD_MOVED", `another order of ${place.app}/${place.env} came first`, {
          cause: err,
        });
      });
      faultPoint("hub.ordered");
      return digest;
    });
  }

  /** Keeps the settle of an order that is here. @throws SkeinError NOT_FOUND, SETTLE_UNPROVEN, CONFLICT, DOC_* */
  async postSettle(settle: Envelope): Promise<void> {
    const { charter } = this.#charters.need();
    const claimed = readUnverified(settle, "settle.1");
    const record = this.find(claimed.order);
    if (record === undefined) throw new SkeinError("NOT_FOUND", "the hub has no order that this settles");
    this.#refuseForeignSettle(charter, settle, { body: this.body(record), digest: record.digest });
    await this.#core.lanes.run(`settle ${record.digest}`, async () => {
      const stored = this.#core.mirror.entry(keys.settle(record.digest));
      if (stored.value !== undefined) {
        if (digestOfEnvelope(stored.value.settle) === digestOfEnvelope(settle)) return;
        if (stored.value.published) throw new SkeinError("CONFLICT", "the order is settled already");
      }
      const next: SettleRecord = { settle, published: false, receipts: [] };
      const key = keys.settle(record.digest);
      await commit(this.#core, [unchanged(key, stored.modRevision)], [put(key, next)]);
      faultPoint("hub.settle-kept");
    });
  }

  /**
   * Makes an order the standing one: from now on its settle is served, with the receipts that make it count.
   * For the rollout controller, once the whole rollout ended well. Idempotent.
   * @returns false when there is no settle yet, or too few receipts
   */
  async publishSettle(digest: Digest, more: readonly Envelope[] = []): Promise<boolean> {
    const record = this.find(digest);
    if (record === undefined) return false;
    return await this.#core.lanes.run(`settle ${digest}`, async () => {
      const stored = this.#core.mirror.entry(keys.settle(digest));
      if (stored.value === undefined) return false;
      if (stored.value.published) return true;
      const proof = await this.#proof(record, stored.value.settle, more);
      if (proof === undefined) return false;
      const next: SettleRecord = { settle: stored.value.settle, published: true, receipts: proof };
      faultPoint("hub.settle");
      await commit(
        this.#core,
        [unchanged(keys.settle(digest), stored.modRevision)],
        [put(keys.settle(digest), next), ...this.#standingOps(record)],
      );
      return true;
    });
  }

  /** Takes an order that a node holds and this store lost: signed by operators, so it is as good as from them. */
  async restore(held: {
    readonly order: Envelope;
    readonly roster: Roster;
    readonly settle?: Envelope | null | undefined;
    readonly receipts?: readonly Envelope[] | undefined;
    readonly releases?: readonly Envelope[] | undefined;
  }): Promise<void> {
    for (const release of held.releases ?? []) await this.#restoreRelease(release);
    const digest = digestOfEnvelope(held.order);
    if (this.find(digest) === undefined) await this.#restoreOrder(held.order, held.roster);
    if (held.settle === null || held.settle === undefined) return;
    if (this.settle(digest)?.published !== true) {
      await this.postSettle(held.settle);
      await this.publishSettle(digest, held.receipts ?? []);
    }
  }

  /** Most that are asked for are not here: a new one, or one that a node remembers and this store does not. */
  #placed(): ReadonlyMap<string, Key<OrderRecord>> {
    if (this.#places !== undefined) return this.#places;
    const logged = this.#core.mirror.list(keys.orders as Key<OrderRecord>).filter(({ key }) => isLogged(key));
    return (this.#places = new Map(logged.map(({ key, value }) => [value.digest, key])));
  }

  #isListed({ app, env }: AppEnv): boolean {
    const isKnown = this.#appEnvs?.some((place) => place.app === app && place.env === env) ?? false;
    return isKnown && this.head({ app, env }) !== undefined;
  }

  #forget(changed: readonly string[]): void {
    const mine = changed.filter((key) => key.startsWith(keys.orders));
    for (const key of mine) {
      const { app, env } = placeOf(key);
      this.#logs.delete(keys.log(app, env));
      if (key.endsWith("/head") && !this.#isListed({ app, env })) this.#appEnvs = undefined;
    }
    if (this.#places !== undefined) this.#place(mine.filter(isLogged), this.#places);
  }

  #place(logged: readonly Key<OrderRecord>[], places: Map<string, Key<OrderRecord>>): void {
    const pruned = new Set<string>();
    for (const key of logged) {
      const record = this.#core.mirror.get(key);
      if (record === undefined) pruned.add(key);
      else places.set(record.digest, key);
    }
    if (pruned.size === 0) return;
    for (const [digest, place] of places) if (pruned.has(place)) places.delete(digest);
  }

  /** One that no builder of this charter signed is nobody's loss. */
  async #restoreRelease(release: Envelope): Promise<void> {
    await this.#releases.post(release).catch((err: unknown) => {
      if (!isSkeinError(err)) throw err;
    });
  }

  async #restoreOrder(source: Envelope, roster: Roster): Promise<void> {
    const order = openOrder(this.#charters.need().charter, source, this.#core.clock.now());
    if (rosterDigest(roster) !== order.body.roster) throw wrongRoster();
    const { app, env } = order.body;
    await this.#core.lanes.run(`orders ${app}/${env}`, async () => {
      const record = recordOf(order, source);
      const head = this.#core.mirror.entry(keys.head(app, env));
      const logged = this.#core.mirror.entry(keys.logged(app, env, record));
      if (logged.value !== undefined) return;
      const newer = head.value === undefined || compareSerials(record, head.value) > 0;
      await commit(
        this.#core,
        [unchanged(keys.head(app, env), head.modRevision), unchanged(keys.logged(app, env, record), 0)],
        [...(newer ? [put(keys.head(app, env), record)] : []), ...logOps(record, { app, env }, roster)],
      );
    });
  }

  async #proof(
    record: OrderRecord,
    settle: Envelope,
    more: readonly Envelope[],
  ): Promise<readonly Envelope[] | undefined> {
    const { entries } = await this.#core.store.range(keys.receipts(record.digest));
    const stored = entries.map(({ value }) => storedEnvelope(value));
    const order = this.body(record);
    try {
      return refuseUnproven({
        settle: readUnverified(settle, "settle.1"),
        order,
        orderDigest: record.digest,
        roster: (await this.roster(order.roster)) ?? null,
        receipts: [...stored, ...more],
      }) as readonly Envelope[];
    } catch {
      return undefined;
    }
  }

  #standingOps(record: OrderRecord): Op[] {
    const { app, env } = this.body(record);
    const standing = this.#core.mirror.get(keys.standing(app, env));
    if (standing !== undefined && compareSerials(standing, record) >= 0) return [];
    const { digest, epoch, seq } = record;
    return [put(keys.standing(app, env), { digest, epoch, seq } satisfies StandingRecord)];
  }

  #refuseUseless({ body }: Opened<"order.1">, roster: Roster): void {
    if (rosterDigest(roster) !== body.roster) throw wrongRoster();
    if (msOf(body.applyBefore) <= this.#core.clock.now()) {
      throw new SkeinError("ORDER_EXPIRED", `the order could be applied until ${body.applyBefore}`);
    }
    const named = [body.release, ...body.beside, ...(body.fallback === null ? [] : [body.fallback])];
    const missing = named.find((id: ReleaseId) => this.#releases.get(body.app, id) === undefined);
    if (missing === undefined) return;
    throw new SkeinError(
      "ORDER_UNKNOWN_RELEASE",
      `the hub has no release ${body.app}@${missing.slice(0, 8)}`,
      {
        data: { app: body.app, release: missing },
      },
    );
  }

  #refuseForeignSettle(charter: Charter, settle: Envelope, order: { body: Order; digest: Digest }): void {
    const { body } = openSettle(charter, settle, this.#core.clock.now());
    const { app, env } = order.body;
    if (
      body.order === order.digest &&
      body.app === app &&
      body.env === env &&
      compareSerials(body, order.body) === 0
    )
      return;
    throw new SkeinError("SETTLE_UNPROVEN", "the settle is for another order", {
      data: { order: body.order },
    });
  }
}

const isLogged = (key: string): boolean => key.includes("/log/");

function placeOf(key: string): AppEnv {
  const [, , app = "", env = ""] = key.split("/");
  return { app, env };
}

function recordOf(order: Opened<"order.1">, source: Envelope): OrderRecord {
  return { digest: order.digest, epoch: order.body.epoch, seq: order.body.seq, order: source };
}

function logOps(record: OrderRecord, { app, env }: AppEnv, roster: Roster): Op[] {
  return [
    put(keys.logged(app, env, record), record),
    { op: "put", key: keys.roster(rosterDigest(roster)), value: rosterText(roster) },
  ];
}

function settleOps(order: Digest, settle: Envelope | null): Op[] {
  if (settle === null) return [];
  return [put(keys.settle(order), { settle, published: false, receipts: [] } satisfies SettleRecord)];
}

/** The signer must have seen the head that it replaces. */
function refuseMoved(order: Order, head: OrderRecord | undefined): void {
  const moved = (why: string): SkeinError =>
    new SkeinError("HEAD_MOVED", `${order.app}/${order.env}: ${why}`, {
      data: { head: head?.digest ?? null, epoch: head?.epoch ?? 0, seq: head?.seq ?? 0 },
    });
  if (order.prev !== (head?.digest ?? null)) throw moved("the order does not follow the newest one");
  if (head === undefined) return;
  if (compareSerials(order, head) <= 0) throw moved(`${serialText(order)} is not after ${serialText(head)}`);
  if (order.epoch === head.epoch && order.seq !== head.seq + 1)
    throw moved(`after ${serialText(head)} comes ${head.seq + 1}`);
}

function wrongRoster(): SkeinError {
  return new SkeinError("DOC_MALFORMED", "the roster is not the one that the order signed");
}
