/** Forgets what years would fill the store with and nobody asks for any more. Orders go when others come (orders/prune.ts). */
import { messageOf } from "../lib/errors/errors.ts";
import type { Compare, Op } from "../store/store.ts";
import { subjectOf } from "../trust/members/changes.ts";
import { readUnverified, type Envelope } from "../trust/document/envelope.ts";
import { msOf } from "../trust/document/fields.ts";
import { keyIdOf } from "../trust/keys/keys.ts";
import type { CatchUp } from "./cluster/catch-up.ts";
import type { Changes } from "./cluster/changes.ts";
import type { Nodes } from "./cluster/nodes.ts";
import type { Commands } from "./commands/commands.ts";
import type { Orders } from "./orders/orders.ts";
import type { Releases } from "./orders/releases.ts";
import { unchanged, type Core } from "./records/core.ts";
import { keys, type TicketRecord } from "./records/keys.ts";

export interface OldParts {
  readonly core: Core;
  readonly nodes: Pick<Nodes, "all" | "revoked">;
  readonly changes: Pick<Changes, "after">;
  readonly orders: Pick<Orders, "appEnvs" | "log" | "body">;
  readonly releases: Pick<Releases, "list">;
  readonly commands: Pick<Commands, "releases">;
  readonly catchUp: Pick<CatchUp, "on">;
}

/** Of an app, the newest ones; beside what its orders name, however old. */
const RELEASES_KEPT = 200;
/** After a ticket has expired, or a node was removed: somebody may still ask what became of it. */
const KEPT_MS = 30 * 86_400_000;

/** Of an app's environments; a transaction takes no more. */
const MOST_COMPARED = 100;

interface Old {
  readonly compare: readonly Compare[];
  readonly then: readonly Op[];
}

/** What fails, or changes meanwhile, is met again the next time. */
export async function forgetOld(parts: OldParts): Promise<void> {
  const { core, catchUp } = parts;
  // What it does not know yet may name what it would take for old.
  if (catchUp.on) return;
  let forgotten = 0;
  try {
    for (const { compare, then } of [...oldTickets(parts), ...oldNodes(parts), ...oldReleases(parts)]) {
      if (core.signal.aborted) return;
      const { succeeded, revision } = await core.store.txn({ compare, then });
      await core.mirror.reached(revision);
      forgotten += Number(succeeded);
    }
  } catch (err) {
    if (!core.signal.aborted) core.log.warn("old records stay", { err: messageOf(err) });
  }
  if (forgotten > 0) core.log.info("old records forgotten", { forgotten });
}

/** Used or not: nobody is let in by one that has expired. */
function* oldTickets({ core: { mirror, clock } }: OldParts): Generator<Old> {
  const until = clock.now() - KEPT_MS;
  for (const { key, value, modRevision } of mirror.list<TicketRecord>(keys.tickets)) {
    const { expires, key: pub } = readUnverified(value.ticket, "ticket.1");
    if (msOf(expires) > until) continue;
    const join = keys.join(keyIdOf({ alg: "raw", pub }));
    yield {
      compare: [unchanged(key, modRevision)],
      then: [
        { op: "delete", key },
        { op: "delete", key: join },
      ],
    };
  }
}

/**
 * Of a node that was removed its end stays, so that it never comes back; and all of it, as long as nodes are told of that
 * for a hub that is set back.
 */
function* oldNodes({ core: { mirror, clock }, nodes, changes }: OldParts): Generator<Old> {
  const until = clock.now() - KEPT_MS;
  const told = new Set(changes.after(0).map(subjectOf));
  for (const node of nodes.all()) {
    if (!nodes.revoked(node) || told.has(node)) continue;
    const revoke = mirror.entry(keys.node(node, "revoke"));
    if (revoke.value === undefined || endedMs(revoke.value) > until) continue;
    yield {
      compare: [unchanged(keys.node(node, "revoke"), revoke.modRevision)],
      then: [
        ...(["ticket", "enrol", "label"] as const).map((part) => deleted(keys.node(node, part))),
        deleted(keys.view(node)),
        { op: "deletePrefix", prefix: keys.lastReceipts(node) },
      ],
    };
  }
}

const deleted = (key: string): Op => ({ op: "delete", key });

/** A ticket that replaced it ends a node as well. */
const endedMs = (proof: Envelope): number =>
  msOf(readUnverified(proof, proof.t === "revoke.1" ? "revoke.1" : "ticket.1").issued);

function* oldReleases({ core: { mirror }, orders, releases, commands }: OldParts): Generator<Old> {
  const named = new Set(commands.releases().map(({ app, release }) => `${app} ${release}`));
  const heads = new Map<string, Compare[]>();
  for (const place of orders.appEnvs()) {
    const head = keys.head(place.app, place.env);
    // Whoever orders one meanwhile comes first.
    heads.getOrInsert(place.app, []).push(unchanged(head, mirror.entry(head).modRevision));
    for (const record of orders.log(place)) {
      const { release, fallback, beside } = orders.body(record);
      for (const id of [release, ...beside, ...(fallback === null ? [] : [fallback])])
        named.add(`${place.app} ${id}`);
    }
  }
  const seen = new Map<string, number>();
  for (const { app, id } of releases.list(undefined, Infinity)) {
    const n = (seen.get(app) ?? 0) + 1;
    seen.set(app, n);
    if (n <= RELEASES_KEPT || named.has(`${app} ${id}`)) continue;
    const key = keys.release(app, id);
    const compare = [
      unchanged(key, mirror.entry(key).modRevision),
      ...(heads.get(app) ?? []).slice(0, MOST_COMPARED),
    ];
    yield { compare, then: [deleted(key)] };
  }
}
