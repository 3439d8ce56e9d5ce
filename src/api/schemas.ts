/** Bodies of the hub's API. Requests are strict (unknown fields are refused), responses may grow. */
import * as z from "zod";
import { address } from "../trust/document/fields.ts";
import { nodeDocuments, reminder } from "./member-schemas.ts";
import {
  appName,
  appOnNode,
  bytesBySource,
  digest,
  envelope,
  envName,
  gate,
  instanceReport,
  keyId,
  labels,
  MOST_REPORTED,
  nodeName,
  progress,
  releaseId,
  roster,
  time,
} from "./field-schemas.ts";

export const hubInfo = z.object({
  cluster: z.string().nullable(),
  incarnation: z.string(),
  version: z.string(),
  /** 0 while the hub has no charter yet. */
  charterVersion: z.int(),
  catchingUp: z.boolean(),
});
export type HubInfo = z.infer<typeof hubInfo>;

const nodeView = z.object({
  node: keyId,
  name: nodeName,
  labels,
  /** 0 while the ticket's labels hold. */
  labelSerial: z.int(),
  address: z.string().nullable(),
  present: z.boolean(),
  lastSeen: time.nullable(),
  version: z.string().nullable(),
  boot: z.string().nullable(),
  /** The hub's clock less the node's, in ms. */
  skewMs: z.number().nullable(),
  /** Two live agents use this key. */
  duplicate: z.boolean(),
  revoked: z.boolean(),
  /** Document types that the agent reads, such as `order.1`. */
  knows: z.array(z.string()),
  apps: z.array(appOnNode),
  /** So many bytes are free for releases at least; a power of two, so that it changes seldom. */
  roomBytes: z.number().min(0).nullable().optional(),
});
export type NodeView = z.infer<typeof nodeView>;
export const nodeList = z.object({
  nodes: z.array(nodeView),
  /** Let in by operators whom a charter has dropped since: no members any more. Older hubs do not tell. */
  unvouched: z.array(z.object({ node: keyId, name: nodeName })).default([]),
  revision: z.int(),
});

/** A small blob, whole: for what a release needs, in the same request. */
const smallBlob = z.strictObject({ name: z.string().max(200), base64: z.base64().max(350_000) });
export const releasePost = z.strictObject({
  release: envelope,
  /** Stored before the release, those under `index/` last. */
  blobs: z.array(smallBlob).max(64).default([]),
});
export const releaseView = z.object({
  id: releaseId,
  app: appName,
  commit: z.string().nullable(),
  created: time,
  files: z.number(),
  bytes: z.number(),
  release: envelope,
  /** Its tree's index, where `with=tree` asks for it and it is small. Unsigned. Older hubs do not tell. */
  index: z.base64().optional(),
  /** Is all there that the tree's index names? Where that was looked at; older hubs do not. */
  stored: z.boolean().optional(),
});
export type ReleaseView = z.infer<typeof releaseView>;
export const releaseList = z.object({ releases: z.array(releaseView) });

export const orderPost = z.strictObject({
  order: envelope,
  roster,
  settle: envelope.nullable(),
  /** Said and not signed: it only decides what the next rollback offers. */
  goesBack: z.boolean().default(false),
  /** Said and not signed: it is for some of the app's nodes alone, and the next one is for all of them again. */
  part: z.boolean().default(false),
});
export type OrderPost = z.infer<typeof orderPost>;
export const orderAccepted = z.object({ digest });
export const settlePost = z.strictObject({ settle: envelope });

/** An order as the store has it, with what was found in it. */
const orderView = z.object({
  digest,
  app: appName,
  env: envName,
  epoch: z.int(),
  seq: z.int(),
  release: releaseId,
  state: z.enum(["run", "stopped"]),
  issued: time,
  order: envelope,
  /** The settle that came with it or later, published or not. */
  settle: envelope.nullable(),
  roster,
});
export type OrderView = z.infer<typeof orderView>;

const appView = z.object({
  app: appName,
  env: envName,
  head: orderView.nullable(),
  /** The newest order whose settle counts. */
  standing: orderView.nullable(),
  /** How the head's rollout is; null: there is none, or an older hub does not tell. */
  phase: z.string().nullable().default(null),
  /** The newest order neither for some nodes alone nor taken back; null: the head, or an older hub. */
  whole: orderView.nullable().default(null),
  /** Those for some of the nodes alone that are newer than it and were not taken back: the newest of each selector. */
  parts: z.array(orderView).max(64).default([]),
  releases: z.array(releaseView),
  nodes: z.array(nodeView),
});
export type AppView = z.infer<typeof appView>;
const appSummary = z.object({
  app: appName,
  env: envName,
  head: digest,
  epoch: z.int(),
  seq: z.int(),
  release: releaseId,
  state: z.enum(["run", "stopped"]),
  standing: digest.nullable(),
  /**
   * The oldest order that stands for some node, whichever labels it may have: what a new node must not go below. null:
   * none stands yet. Older hubs do not tell.
   */
  least: z.object({ epoch: z.int(), seq: z.int() }).nullable().optional(),
  /** Of the newest order, as in RolloutView. */
  phase: z.string(),
  issued: time,
});
export type AppSummary = z.infer<typeof appSummary>;
export const appList = z.object({ apps: z.array(appSummary), revision: z.int() });
/** One line of an app's history. */
const orderSummary = z.object({
  digest,
  epoch: z.int(),
  seq: z.int(),
  release: releaseId,
  state: z.enum(["run", "stopped"]),
  issued: time,
  phase: z.string(),
  /** It was a rollback. */
  goesBack: z.boolean(),
});
export type OrderSummary = z.infer<typeof orderSummary>;
/** Newest first. */
export const orderHistory = z.object({ orders: z.array(orderSummary) });
export const appViews = z.object({ apps: z.array(appView), revision: z.int() });

/** The state of a node that was removed, or that the order's selector does not name any more. */
export const LEFT = "left";
const rolloutNode = z.object({
  node: keyId,
  name: nodeName,
  /** From 0. */
  batch: z.int(),
  /** The hub hears from it. */
  present: z.boolean(),
  gate,
  state: z.string(),
  verdict: z.enum(["ok", "failed", "undone", "refused"]).nullable(),
  code: z.string().nullable(),
  message: z.string().nullable(),
  /** What to do about it, where the code does not say it. Older hubs do not tell. */
  hint: z.string().nullable().optional(),
  bytesDone: z.number(),
  bytesTotal: z.number().nullable(),
  note: z.string().nullable(),
  sources: bytesBySource.optional(),
  /** Connections cut when the old release was drained. */
  cut: z.number(),
});
/** What a person may say to a rollout that goes on. */
export type Steering = "abort" | "pause" | "resume";
/** A word that comes again, since its answer was lost, has the id that it had: it counts once. */
export const said = z.object({ said: z.string().min(16).max(64).optional() });
const rolloutPhase = z.enum([
  "pending",
  "running",
  "paused",
  "baking",
  "ok",
  "failed",
  "undoing",
  "undone",
  "stuck",
]);
export const viewNews = z.object({
  after: z.coerce.number().int().default(-1),
  wait: z.coerce.number().int().min(0).max(60_000).default(0),
});
export const rolloutView = z.object({
  order: digest,
  app: appName,
  env: envName,
  release: releaseId,
  phase: rolloutPhase,
  nodes: z.array(rolloutNode),
  /** Null while it goes on. */
  verdict: z
    .object({ ok: z.boolean(), code: z.string().nullable(), message: z.string().nullable() })
    .nullable(),
  revision: z.int(),
});
export type RolloutView = z.infer<typeof rolloutView>;
export type RolloutNode = z.infer<typeof rolloutNode>;

const wantedApp = z.object({
  app: appName,
  env: envName,
  /** The newest order that names the node, then the newest settled one where that is another. */
  orders: z.array(envelope),
  /** digest → roster, for those orders and settles, less the large ones: `/v1/rosters` has them. */
  rosters: z.record(z.string(), roster),
  settles: z.array(z.object({ settle: envelope, receipts: z.array(envelope) })),
  /** For every release that the orders name. */
  releases: z.array(envelope),
  /** order digest → gate. */
  gates: z.record(z.string(), gate),
});
export type WantedApp = z.infer<typeof wantedApp>;
export const wanted = z.object({
  etag: z.string(),
  incarnation: z.string(),
  /** The hub wants `heads` in the next report. */
  catchingUp: z.boolean(),
  /** Grows with each node that was relabelled or revoked: `/v1/membership` tells what is new. Older hubs do not tell. */
  members: z.int().optional(),
  /** Another live agent uses this node's key: no new orders are served to either. */
  duplicate: z.boolean(),
  charters: z.array(envelope),
  identity: nodeDocuments,
  apps: z.array(wantedApp),
  commands: z.array(envelope),
  /** The node's own newest receipt of each app and environment; absent in an answer that is coded after an earlier one. */
  lastReceipts: z.array(envelope).optional(),
});
export type Wanted = z.infer<typeof wanted>;

const reportedHead = z.strictObject({
  app: appName,
  env: envName,
  order: envelope,
  roster,
  settle: envelope.nullable().optional(),
  receipts: z.array(envelope).max(64).optional(),
  /** Of the releases that the order names, those that the node holds. */
  releases: z.array(envelope).max(128).optional(),
});
export type ReportedHead = z.infer<typeof reportedHead>;
/** Made anew at each start of an agent: two that ask in turn are two agents with one key. */
export const bootNonce = z.string().min(8).max(64);
/** Most bytes of a delta that may follow the JSON of an answer; its header `skein-along` says which, and how long. */
export const alongBytes = z.coerce.number().int().min(0).max(1_048_576).default(0);

export const report = z.strictObject({
  /** Random, made once by each agent process: tells two live agents with one key apart. */
  boot: bootNonce,
  at: time,
  address: z.string().max(255).nullable(),
  /** endpoint.1: where the node serves peers; null or absent: it does not. */
  endpoint: envelope.nullable().optional(),
  version: z.string().max(64),
  knows: z.array(z.string().max(32)).max(64),
  /** Every order that the node holds as head or standing; absent when the hub need not know. */
  heads: z.array(reportedHead).max(MOST_REPORTED.heads).optional(),
  /** What of the cluster's members the hub seems to have forgotten. */
  reminder: reminder.optional(),
  receipts: z.array(envelope).max(MOST_REPORTED.receipts),
  instances: z.array(instanceReport).max(MOST_REPORTED.instances),
  apps: z.array(appOnNode).max(MOST_REPORTED.apps),
  progress: z.array(progress).max(MOST_REPORTED.progress),
  /** So many bytes are free for releases at least. */
  roomBytes: z.number().min(0).optional(),
});
export type Report = z.infer<typeof report>;
export type AppOnNode = z.infer<typeof appOnNode>;
export const reported = z.object({
  /** Digests of the receipts that are stored durably now, or that never will be: the node need not send them again. */
  receipts: z.array(digest),
  catchingUp: z.boolean(),
  duplicate: z.boolean(),
  hubTime: time,
});
export type Reported = z.infer<typeof reported>;

/** Where other nodes say that they serve the blobs they hold. */
export const peerList = z.object({
  etag: z.string().max(128),
  /** Null: the same as `etag` stood for. */
  peers: z
    .array(z.object({ node: keyId, address }))
    .max(10_000)
    .nullable(),
});
export type PeerList = z.infer<typeof peerList>;
export const portEntry = instanceReport.extend({
  node: keyId,
  nodeName: nodeName,
  /** The node has not been heard of for a while; the entry may be out of date. */
  stale: z.boolean(),
});
export type PortEntry = z.infer<typeof portEntry>;
export const portList = z.object({ ports: z.array(portEntry), revision: z.int() });

export const hubEvent = z.object({
  revision: z.int(),
  /** `synced` opens each stream and says from where on it is complete. */
  type: z.enum([
    "synced",
    "charter",
    "node",
    "release",
    "order",
    "settle",
    "standing",
    "receipt",
    "rollout",
    "port",
  ]),
  key: z.string(),
  /** The stored value, of ports the table's entry; null when the key was deleted. */
  value: z.unknown(),
  /** Another event of the same revision follows. */
  more: z.boolean(),
});
export type HubEvent = z.infer<typeof hubEvent>;

export const commandPost = z.strictObject({ command: envelope });
/** One line of a command's output; the last one of each node has `type: "result"`. */
export const commandLine = z.looseObject({ node: keyId, type: z.string() });
export type CommandLine = z.infer<typeof commandLine>;

export const reposList = z.object({
  repos: z.array(z.object({ name: z.string(), head: z.string().nullable() })),
});
export const empty = z.object({});
export type ReposList = z.infer<typeof reposList>;
export type NodeList = z.infer<typeof nodeList>;
export type AppList = z.infer<typeof appList>;
export type PortList = z.infer<typeof portList>;
