import * as z from "zod";
import { digestOf, type Digest, type ReleaseId, type TreeId } from "../../lib/text/ids.ts";
import { lazily } from "../../lib/memory/lazily.ts";
import { charterSchema } from "./charter-schema.ts";
import {
  address,
  appEnv,
  appName,
  clusterId,
  commit,
  count,
  digest,
  envName,
  keyId,
  labels,
  nodeName,
  percent,
  publicKey,
  releaseId,
  serialNumber,
  spkiDigest,
  text,
  time,
  treeId,
} from "./fields.ts";
import { isSelector } from "./selector.ts";

/** Fields, limits and rules of every signed document; docs/formats/ has a page for each. */
const selector = z.string().min(1).max(1024).refine(isSelector, "not a selector");
const amount = z.union([serialNumber, percent]);

/** What a node may say of how an order ended, and of what to do about it. */
export const MESSAGE_CHARS = 1024;
export const HINT_CHARS = 512;

/** The manifest's `strategy` with every default written out, so that what was signed does not change with Skein. */
const strategy = () =>
  z.strictObject({
    type: z.enum(["rolling", "canary", "blue_green", "all_at_once"]),
    batch: amount,
    maxUnavailable: amount,
    maxAbsent: z.union([count, percent]),
    maxFailed: z.union([count, percent]),
    steps: z
      .array(
        z.union([
          z.strictObject({ traffic: percent, holdMs: count }),
          z.strictObject({ nodes: amount, holdMs: count }),
        ]),
      )
      .max(32),
    judge: z
      .strictObject({ minRequests: count, errorRate: text(32).nullable(), p99: text(32).nullable() })
      .nullable(),
    bakeMs: count,
    onFailure: z.enum(["undo", "pause"]),
    /** Without a hub, nodes start at a moment of their own within this time. */
    spreadMs: count,
  });
export type Strategy = z.infer<ReturnType<typeof strategy>>;

const release = () =>
  z.strictObject({
    cluster: clusterId,
    app: appName,
    tree: treeId,
    rows: digest,
    since: digest.nullable(),
    commit: commit.nullable(),
    source: z.strictObject({ kind: z.enum(["git", "dir", "archive", "file"]), name: text(255) }),
    builder: keyId,
    created: time,
    files: count,
    bytes: count,
  });

/** What serials are counted by: one app in one environment. */
const serial = { app: appName, env: envName, epoch: count, seq: serialNumber };

const order = () =>
  z.strictObject({
    cluster: clusterId,
    epoch: serial.epoch,
    seq: serial.seq,
    prev: digest.nullable(),
    app: serial.app,
    env: serial.env,
    release: releaseId,
    state: z.enum(["run", "stopped"]),
    generation: count,
    beside: z.array(releaseId).max(1000),
    fallback: releaseId.nullable(),
    selector,
    roster: digest,
    strategy: strategy(),
    hooks: z.enum(["run", "skip"]),
    issued: time,
    applyBefore: time,
    undoBefore: time,
  });

const settle = () =>
  z.strictObject({
    cluster: clusterId,
    order: digest,
    ...serial,
    needs: count.max(32),
    before: time,
    issued: time,
  });

const receipt = () =>
  z.strictObject({
    cluster: clusterId,
    node: keyId,
    key: publicKey,
    ...serial,
    order: digest,
    release: releaseId,
    verdict: z.enum(["ok", "failed", "undone", "refused"]),
    code: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]{1,63}$/)
      .nullable(),
    message: text(MESSAGE_CHARS).nullable(),
    /** What to do about it, where the code does not say it. */
    hint: text(HINT_CHARS).optional(),
    /** Connections that were cut when the old release's drain ran out. */
    cut: count,
    at: time,
  });

const label = () =>
  z.strictObject({
    cluster: clusterId,
    node: keyId,
    serial: serialNumber,
    name: nodeName,
    labels,
    issued: time,
  });

const point = () => z.strictObject({ epoch: serial.epoch, seq: serial.seq });
/** Apps and environments of which a ticket says what a new node must not go below. */
export const MOST_FLOORS = 4096;

const ticket = () =>
  z.strictObject({
    cluster: clusterId,
    charter: digest,
    key: publicKey,
    name: nodeName.nullable(),
    labels,
    issued: time,
    expires: time,
    replace: keyId.nullable(),
    floor: z
      .record(appEnv, point())
      .refine((all) => Object.keys(all).length <= MOST_FLOORS, `more than ${MOST_FLOORS} apps`),
  });

const enrol = () =>
  z.strictObject({
    cluster: clusterId,
    ticket: digest,
    key: publicKey,
    sealing: publicKey,
    name: nodeName,
    issued: time,
  });

const revoke = () =>
  z.strictObject({
    cluster: clusterId,
    node: keyId,
    reason: text(255),
    issued: time,
  });

const session = () =>
  z.strictObject({
    cluster: clusterId,
    operator: keyId,
    key: spkiDigest,
    issued: time,
    expires: time,
  });

const beacon = () =>
  z.strictObject({
    cluster: clusterId,
    hub: spkiDigest,
    incarnation: text(64),
    at: time,
  });

const argument = () => z.union([text(4096), z.int(), z.boolean(), z.null()]);
const command = () =>
  z.strictObject({
    cluster: clusterId,
    kind: z.string().regex(/^[a-z][a-z-]{0,31}$/),
    app: appName.nullable(),
    env: envName.nullable(),
    args: z.record(
      z.string().regex(/^[a-z][A-Za-z0-9]{0,31}$/),
      z.union([argument(), z.array(argument()).max(256)]),
    ),
    nodes: z.array(keyId).min(1).max(10_000),
    nonce: z.string().regex(/^[0-9a-f]{32}$/),
    issued: time,
    expires: time,
  });

/** A node changes its key; signed by the old and the new one. */
const noderot = () =>
  z.strictObject({
    cluster: clusterId,
    node: keyId,
    key: publicKey,
    sealing: publicKey,
    serial: serialNumber,
    issued: time,
  });

/** Proves a sealed secret; each node gets its own stanza beside it. */
const creds = () =>
  z.strictObject({
    cluster: clusterId,
    ...serial,
    ciphertext: digest,
    bytes: count,
    commitment: digest,
    ephemeral: publicKey,
    context: text(255),
    nodes: z.array(keyId).max(10_000),
    issued: time,
  });

/** Where a node may be reached; signed by the node. */
const endpoint = () =>
  z.strictObject({
    cluster: clusterId,
    node: keyId,
    key: publicKey,
    incarnation: count,
    addresses: z.array(address).max(16),
    at: time,
  });

/** A command reads few of them, and making a schema costs more than reading with it. */
export const DOCUMENT_SCHEMAS = lazily({
  "charter.1": charterSchema,
  "release.1": release,
  "order.1": order,
  "settle.1": settle,
  "label.1": label,
  "ticket.1": ticket,
  "enrol.1": enrol,
  "noderot.1": noderot,
  "session.1": session,
  "revoke.1": revoke,
  "receipt.1": receipt,
  "beacon.1": beacon,
  "creds.1": creds,
  "command.1": command,
  "endpoint.1": endpoint,
});

export type DocumentType = keyof typeof DOCUMENT_SCHEMAS;
export type DocumentBody<T extends DocumentType> = z.infer<(typeof DOCUMENT_SCHEMAS)[T]>;
export const DOCUMENT_TYPES = Object.keys(DOCUMENT_SCHEMAS) as DocumentType[];

export type Charter = DocumentBody<"charter.1">;
export type Release = DocumentBody<"release.1">;
export type Order = DocumentBody<"order.1">;
export type Settle = DocumentBody<"settle.1">;
export type Receipt = DocumentBody<"receipt.1">;
export type Label = DocumentBody<"label.1">;
export type Ticket = DocumentBody<"ticket.1">;
export type Enrol = DocumentBody<"enrol.1">;
export type Revoke = DocumentBody<"revoke.1">;
export type Session = DocumentBody<"session.1">;
export type Command = DocumentBody<"command.1">;
export type Verdict = Receipt["verdict"];

/** The nodes that the signer of an order saw. Not signed itself: the order signs its digest. */
export const rosterSchema = z.strictObject({
  nodes: z.array(z.strictObject({ node: keyId, name: nodeName, labels })).max(100_000),
});
export type Roster = z.infer<typeof rosterSchema>;

/** The one text of a roster: nodes by id, fields and labels in order, no white space. */
export function rosterText(roster: Roster): string {
  const nodes = roster.nodes
    .map(({ node, name, labels }) => ({ node, name, labels: sortedByKey(labels) }))
    .sort((a, b) => (a.node < b.node ? -1 : 1));
  return JSON.stringify({ nodes });
}

/** What an order's `roster` holds. */
export function rosterDigest(roster: Roster): Digest {
  return digestOf(rosterText(roster));
}

/** The same commit built to the same tree is the same release, whoever built it and when. */
export function releaseIdOf(release: {
  readonly app: string;
  readonly tree: TreeId;
  readonly commit: string | null;
}): ReleaseId {
  const text = `skein-release-1\0${release.app}\0${release.tree}\0${release.commit ?? ""}`;
  return digestOf(text).slice(0, 32) as ReleaseId;
}

function sortedByKey<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  const entries = Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries);
}
