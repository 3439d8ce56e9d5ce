/** Names of the hub's keys in the store, each with the type of the JSON under it. */
import type { InstanceReport } from "../../api/field-schemas.ts";
import type { CommandLine, NodeView } from "../../api/schemas.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import type { Change } from "../../trust/members/changes.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { Serial } from "../../trust/orders/orders.ts";
import type { PlanRecord, RolloutRecord } from "./rollout-record.ts";

declare const value: unique symbol;
/** A key, or a prefix of keys, under which there are values of type T. */
export type Key<T> = string & { readonly [value]?: T };

export interface TicketRecord {
  readonly ticket: Envelope;
  /** Who used it, or null. */
  readonly node: KeyId | null;
}

/** Under `head` and `log/…`. */
export interface OrderRecord extends Serial {
  readonly digest: Digest;
  readonly order: Envelope;
  /** It was a rollback, as its operator said. */
  readonly goesBack?: true;
  /** It is for some of the app's nodes alone, as its operator said. */
  readonly part?: true;
}

/** The newest order whose settle counts. */
export interface StandingRecord extends Serial {
  readonly digest: Digest;
}

/** Agents are given a settle once it is published. */
export interface SettleRecord {
  readonly settle: Envelope;
  readonly published: boolean;
  /** Those that make it count; empty until it is published. */
  readonly receipts: readonly Envelope[];
}

/** What the node said last and whether it is there. Written when it changes. */
export type ViewRecord = Pick<
  NodeView,
  | "address"
  | "present"
  | "lastSeen"
  | "version"
  | "boot"
  | "skewMs"
  | "duplicate"
  | "knows"
  | "apps"
  | "roomBytes"
>;

/** A command that waits for the nodes it names. */
export interface CommandRecord extends Pick<
  Command,
  "app" | "env" | "kind" | "nodes" | "issued" | "expires"
> {
  readonly command: Envelope;
}

type NodePart = "ticket" | "enrol" | "label" | "revoke";
/** So that the store's order is that of the numbers. */
const padded = (n: number): string => String(n).padStart(16, "0");

export const keys = {
  /** The store's incarnation when the hub last knew all that its agents know. */
  incarnation: "/meta/incarnation" as Key<string>,
  charters: "/charters/" as Key<Envelope>,
  charter: (version: number): Key<Envelope> => `/charters/${padded(version)}`,
  tickets: "/tickets/" as Key<TicketRecord>,
  ticket: (digest: string): Key<TicketRecord> => `/tickets/${digest}`,
  /** Join key's id → digest of its ticket. */
  join: (kid: string): Key<Digest> => `/joins/${kid}`,
  nodes: "/nodes/" as Key<unknown>,
  node: (kid: string, part: NodePart): Key<Envelope> => `/nodes/${kid}/${part}`,
  view: (kid: string): Key<ViewRecord> => `/nodes/${kid}/view`,
  /** A node's newest receipts, by app and environment. */
  lastReceipts: (kid: string): Key<Envelope> => `/nodes/${kid}/receipts/`,
  lastReceipt: (kid: string, app: string, env: string): Key<Envelope> =>
    `/nodes/${kid}/receipts/${app}/${env}`,
  changes: "/changes/" as Key<Change>,
  /** What other nodes remember of one that is not here. */
  change: (kid: string): Key<Change> => `/changes/${kid}`,
  name: (name: string): Key<KeyId> => `/names/${name}`,
  releases: (app: string | undefined): Key<Envelope> =>
    app === undefined ? "/releases/" : `/releases/${app}/`,
  release: (app: string, id: string): Key<Envelope> => `/releases/${app}/${id}`,
  orders: "/orders/" as Key<unknown>,
  head: (app: string, env: string): Key<OrderRecord> => `/orders/${app}/${env}/head`,
  standing: (app: string, env: string): Key<StandingRecord> => `/orders/${app}/${env}/standing`,
  log: (app: string, env: string): Key<OrderRecord> => `/orders/${app}/${env}/log/`,
  logged: (app: string, env: string, { epoch, seq }: Serial): Key<OrderRecord> =>
    `/orders/${app}/${env}/log/${padded(epoch)}.${padded(seq)}`,
  settle: (order: string): Key<SettleRecord> => `/settles/${order}`,
  /** Text that hashes to the digest. */
  roster: (digest: string): Key<unknown> => `/rosters/${digest}`,
  receipts: (order: string): Key<Envelope> => `/receipts/${order}/`,
  receipt: (order: string, kid: string): Key<Envelope> => `/receipts/${order}/${kid}`,
  rollout: (order: string): Key<RolloutRecord> => `/rollouts/${order}`,
  /** Beside the rollout and not under it: it is large, written once, and nobody watches it. */
  plan: (order: string): Key<PlanRecord> => `/plans/${order}`,
  commands: "/commands/" as Key<CommandRecord>,
  command: (digest: string): Key<CommandRecord> => `/commands/${digest}/command`,
  /** Under it: the nodes that have carried it out, and how that ended (`true`: an earlier hub did not keep it). */
  commandEnds: (digest: string): Key<CommandLine | true> => `/commands/${digest}/ended/`,
  commandEnd: (digest: string, kid: string): Key<CommandLine | true> => `/commands/${digest}/ended/${kid}`,
  allPorts: "/ports/" as Key<InstanceReport>,
  ports: (kid: string): Key<InstanceReport> => `/ports/${kid}/`,
  port: (kid: string, instance: string): Key<InstanceReport> => `/ports/${kid}/${instance}`,
} as const;
