import { SkeinError, isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId, ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import { refuseForeign, refuseFuture } from "../charter/charter.ts";
import {
  releaseIdOf,
  rosterDigest,
  rosterSchema,
  type Charter,
  type Order,
  type Receipt,
  type Roster,
  type Settle,
} from "../document/documents.ts";
import { openEnvelope, readUnverified, type Opened } from "../document/envelope.ts";
import { msOf } from "../document/fields.ts";
import { keyIdOf } from "../keys/keys.ts";
import { allows, keysWith, quorumOf, releaseKeys } from "../charter/rights.ts";

/** Where a document stands in the row of one app's orders; compared by epoch, then seq. */
export interface Serial {
  readonly epoch: number;
  readonly seq: number;
}

/** Negative when `a` is older, 0 when it is the same serial. */
export function compareSerials(a: Serial, b: Serial): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}

export const serialText = ({ epoch, seq }: Serial): string => `${epoch}.${seq}`;

/**
 * An order that enough operators of its app and environment signed, under this charter. Says nothing about
 * whether it is for a node or newer than what it has: that is node-orders.ts. `now` is the system's clock.
 * @throws SkeinError DOC_*, WRONG_CLUSTER, CHARTER_EXPIRED, CHARTER_ROLLBACK (an epoch that the charter does not know)
 */
export function openOrder(charter: Charter, source: unknown, now: number): Opened<"order.1"> {
  const opened = openOfDeployers(charter, source, "order.1", now);
  const order = opened.body;
  if (msOf(order.issued) >= msOf(charter.expires)) {
    throw new SkeinError(
      "CHARTER_EXPIRED",
      `the charter expired at ${charter.expires}, before the order was issued`,
      {
        data: { expires: charter.expires, issued: order.issued },
      },
    );
  }
  return opened;
}

/** May this order run hooks and processes as root? One of its signers must have the right. */
export function orderMayRoot(charter: Charter, opened: Opened<"order.1">): boolean {
  const { app, env } = opened.body;
  return [...opened.signers].some((kid) => allows(charter, kid, { kind: "root", app, env }));
}

/**
 * A settle by the operators who could have signed its order. Its receipts are counted by `refuseUnproven`.
 * @throws SkeinError DOC_*, WRONG_CLUSTER, CHARTER_ROLLBACK
 */
export function openSettle(charter: Charter, source: unknown, now: number): Opened<"settle.1"> {
  return openOfDeployers(charter, source, "settle.1", now);
}

/**
 * What a node says it did. The key is in it: whether the node is one we know is for the caller to ask.
 * @throws SkeinError DOC_*, WRONG_CLUSTER
 */
export function openReceipt(cluster: string, source: unknown): Opened<"receipt.1"> {
  const claimed = readUnverified(source, "receipt.1");
  const key = { alg: "raw", pub: claimed.key } as const;
  if (claimed.cluster !== cluster) {
    throw new SkeinError("WRONG_CLUSTER", "a receipt of another cluster", {
      data: { cluster: claimed.cluster },
    });
  }
  if (keyIdOf(key) !== claimed.node) {
    throw new SkeinError("DOC_UNSIGNED", "a receipt whose key is not its node's", {
      data: { node: claimed.node },
    });
  }
  return openEnvelope(source, "receipt.1", new Map([[claimed.node, key]]), 1);
}

/** A settle with what makes it count. */
export interface SettleProof {
  readonly settle: Settle;
  readonly order: Order;
  readonly orderDigest: Digest;
  /** The one whose digest the order signed; unread when the settle needs no receipts. */
  readonly roster: Roster | null;
  readonly receipts: readonly unknown[];
}

/**
 * A settle counts only with `needs` ok-receipts of this very order, by different nodes of the order's roster,
 * signed before `before`.
 * @returns the receipts that count, at most `needs`
 * @throws SkeinError SETTLE_UNPROVEN
 */
export function refuseUnproven(proof: SettleProof): readonly unknown[] {
  const { settle, order, orderDigest } = proof;
  if (settle.order !== orderDigest || !sameSerial(settle, order)) {
    throw unproven(settle, "it is for another order");
  }
  if (settle.needs === 0) return [];
  const members = membersOf(proof);
  const counted = new Map<KeyId, unknown>();
  for (const source of proof.receipts) {
    if (counted.size >= settle.needs) break;
    const receipt = readReceipt(order.cluster, source);
    if (receipt !== undefined && members.has(receipt.node) && proves(receipt, proof))
      counted.set(receipt.node, source);
  }
  if (counted.size >= settle.needs) return [...counted.values()];
  throw unproven(settle, `${counted.size} of ${settle.needs} receipts`);
}

/**
 * A release by someone who may make releases of its app, with its id.
 * @throws SkeinError DOC_*, WRONG_CLUSTER
 */
export function openRelease(
  charter: Charter,
  source: unknown,
  now: number,
): Opened<"release.1"> & { readonly id: ReleaseId } {
  const claimed = readUnverified(source, "release.1");
  refuseForeign("release", claimed.cluster, charter);
  const opened = openEnvelope(source, "release.1", releaseKeys(charter, claimed.app), 1);
  if (!opened.signers.has(opened.body.builder)) {
    throw new SkeinError("DOC_UNSIGNED", "a release that its builder did not sign", {
      data: { builder: opened.body.builder },
    });
  }
  refuseFuture("release", opened.body.created, now);
  return { ...opened, id: releaseIdOf(opened.body) };
}

/**
 * The release that `id` names, out of those offered.
 * @throws SkeinError ORDER_UNKNOWN_RELEASE
 */
export function releaseOf(
  charter: Charter,
  wanted: { readonly app: string; readonly id: ReleaseId },
  offered: readonly unknown[],
  now: number,
): Opened<"release.1"> {
  let cause: unknown;
  for (const source of offered) {
    try {
      const opened = openRelease(charter, source, now);
      if (opened.id === wanted.id && opened.body.app === wanted.app) return opened;
    } catch (err) {
      cause = err;
    }
  }
  throw new SkeinError(
    "ORDER_UNKNOWN_RELEASE",
    `no valid document of release ${wanted.app}@${wanted.id.slice(0, 8)}`,
    {
      data: { app: wanted.app, release: wanted.id },
      cause,
    },
  );
}

/** What as many sign as it takes to deploy the app. */
function openOfDeployers<T extends "order.1" | "settle.1">(
  charter: Charter,
  source: unknown,
  type: T,
  now: number,
): Opened<T> {
  const name = type === "order.1" ? "order" : "settle";
  const { cluster, app, env }: Order | Settle = readUnverified(source, type);
  refuseForeign(name, cluster, charter);
  const keys = keysWith(charter, { kind: "deploy", app, env });
  const opened = openEnvelope(source, type, keys, quorumOf(charter, app, env));
  const body: Order | Settle = opened.body;
  refuseFuture(name, body.issued, now);
  refuseEpoch(charter, body);
  return opened;
}

function refuseEpoch(charter: Charter, serial: Serial): void {
  if (serial.epoch <= charter.epoch) return;
  throw new SkeinError(
    "CHARTER_ROLLBACK",
    `a document of epoch ${serial.epoch}; the charter here is version ${charter.version} of epoch ${charter.epoch}`,
    { data: { epoch: serial.epoch, known: charter.epoch } },
  );
}

function membersOf({ roster, order, settle }: SettleProof): ReadonlySet<KeyId> {
  const parsed = rosterSchema.safeParse(roster);
  if (!parsed.success || rosterDigest(parsed.data) !== order.roster) {
    throw unproven(settle, "its roster is not the one that the order signed");
  }
  return new Set(parsed.data.nodes.map(({ node }) => node));
}

function proves(receipt: Receipt, { settle, order, orderDigest }: SettleProof): boolean {
  return (
    receipt.verdict === "ok" &&
    receipt.order === orderDigest &&
    receipt.release === order.release &&
    sameSerial(receipt, order) &&
    msOf(receipt.at) < msOf(settle.before)
  );
}

type Placed = Serial & AppEnv;

function sameSerial(a: Placed, b: Placed): boolean {
  return a.app === b.app && a.env === b.env && compareSerials(a, b) === 0;
}

/** A receipt that cannot be read only fails to count: else one bad one could hold up the others. */
function readReceipt(cluster: string, source: unknown): Receipt | undefined {
  try {
    return openReceipt(cluster, source).body;
  } catch (err) {
    if (isSkeinError(err)) return undefined;
    throw err;
  }
}

function unproven(settle: Settle, why: string): SkeinError {
  return new SkeinError(
    "SETTLE_UNPROVEN",
    `the settle of ${settle.app}/${settle.env} ${serialText(settle)}: ${why}`,
    {
      data: { order: settle.order, needs: settle.needs },
    },
  );
}
