import { ROLLING } from "./strategy.fixture.ts";
import type { Digest, KeyId, ReleaseId } from "../lib/text/ids.ts";
import {
  rosterDigest,
  type Charter,
  type Label,
  type Order,
  type Receipt,
  type Roster,
  type Settle,
  type Ticket,
} from "./document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "./document/envelope.ts";
import { timeOf } from "./document/fields.ts";
import { generateSigner, type LocalSigner, type Signer } from "./keys/keys.ts";
import type { Identity } from "./members/identity.ts";

/** A made-up cluster whose documents tests bend as they need. Times count in minutes from T0. */
export const T0 = Date.parse("2026-11-21T02:00:00.000Z");
export const MINUTE = 60_000;
export const at = (minutes: number): string => timeOf(T0 + minutes * MINUTE);
export const CLUSTER = "c1".repeat(16);
export const release = (n: number): ReleaseId => n.toString(16).padStart(32, "0") as ReleaseId;

export interface TestNode {
  readonly signer: LocalSigner;
  readonly identity: Identity;
  readonly ticket: Envelope;
  readonly enrol: Envelope;
}

export interface TestCluster {
  readonly recovery: LocalSigner;
  readonly alice: LocalSigner;
  /** Another operator with the same rights but admin. */
  readonly bob: LocalSigner;
  readonly charter: Charter;
  readonly envelope: Envelope;
  readonly pin: Digest;
}

export async function testCluster(change: Partial<Charter> = {}): Promise<TestCluster> {
  const [recovery, alice, bob] = [generateSigner(), generateSigner(), generateSigner()];
  const all = ["deploy:*/*", "secrets:*/*", "root:*/*", "enrol:*"];
  const charter: Charter = {
    cluster: CLUSTER,
    version: 1,
    epoch: 0,
    issued: at(-60),
    expires: at(60 * 24 * 730),
    recovery: { keys: [recovery.kid], threshold: 1 },
    keys: keyRecords(recovery, alice, bob),
    operators: {
      [alice.kid]: { name: "alice", allow: ["admin", ...all] },
      [bob.kid]: { name: "bob", allow: all },
    },
    builders: {},
    quorum: {},
    hubs: {},
    commands: false,
    limits: {},
    ...change,
  };
  const envelope = await seal("charter.1", charter, [recovery]);
  return { recovery, alice, bob, charter, envelope, pin: digestOfEnvelope(envelope) };
}

export function keyRecords(...signers: readonly Signer[]): Charter["keys"] {
  return Object.fromEntries(signers.map(({ kid, alg, pub }) => [kid, { alg, pub }]));
}

export async function testNode(
  cluster: TestCluster,
  name: string,
  labels: Readonly<Record<string, string>> = { role: "web" },
  change: Partial<Ticket> = {},
): Promise<TestNode> {
  const [signer, join] = [generateSigner(), generateSigner()];
  const ticket = await ticketFor(cluster, { key: join.pub, name, labels: { ...labels }, ...change });
  const enrol = await seal(
    "enrol.1",
    {
      cluster: CLUSTER,
      ticket: digestOfEnvelope(ticket),
      key: signer.pub,
      sealing: generateSigner().pub,
      name,
      issued: at(-29),
    },
    [join, signer],
  );
  const identity = { node: signer.kid, name, labels, serial: 0 };
  return { signer, identity, ticket, enrol };
}

export async function ticketFor(cluster: TestCluster, change: Partial<Ticket>): Promise<Envelope> {
  const ticket: Ticket = {
    cluster: CLUSTER,
    charter: cluster.pin,
    key: generateSigner().pub,
    name: null,
    labels: {},
    issued: at(-30),
    expires: at(30),
    replace: null,
    floor: {},
    ...change,
  };
  return seal("ticket.1", ticket, [cluster.alice]);
}

export function rosterOf(...nodes: readonly TestNode[]): Roster {
  return {
    nodes: nodes
      .map(({ identity }) => ({ node: identity.node, name: identity.name, labels: { ...identity.labels } }))
      .sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

const NO_ROSTER: Roster = { nodes: [] };

/** Order `seq` of shop/default: release `seq`, fallback `seq - 1`, one hour to apply it, two to undo it. */
export function orderBody(seq: number, change: Partial<Order> = {}): Order {
  return {
    cluster: CLUSTER,
    epoch: 0,
    seq,
    prev: null,
    app: "shop",
    env: "default",
    release: release(seq),
    state: "run",
    generation: 0,
    beside: [],
    fallback: seq > 1 ? release(seq - 1) : null,
    selector: "role=web",
    roster: rosterDigest(NO_ROSTER),
    strategy: ROLLING,
    hooks: "run",
    issued: at(0),
    applyBefore: at(60),
    undoBefore: at(120),
    ...change,
  };
}

export async function sealOrder(order: Order, ...signers: readonly Signer[]): Promise<Envelope> {
  return seal("order.1", order, signers);
}

export function settleBody(order: Order, envelope: Envelope, change: Partial<Settle> = {}): Settle {
  const { cluster, app, env, epoch, seq } = order;
  const digest = digestOfEnvelope(envelope);
  return { cluster, order: digest, app, env, epoch, seq, needs: 0, before: at(60), issued: at(0), ...change };
}

export async function receiptBy(
  node: TestNode,
  order: Order,
  envelope: Envelope,
  change: Partial<Receipt> = {},
): Promise<Envelope> {
  const { cluster, app, env, epoch, seq } = order;
  const receipt: Receipt = {
    cluster,
    node: node.signer.kid,
    key: node.signer.pub,
    app,
    env,
    epoch,
    seq,
    order: digestOfEnvelope(envelope),
    release: order.release,
    verdict: "ok",
    code: null,
    message: null,
    cut: 0,
    at: at(10),
    ...change,
  };
  return seal("receipt.1", receipt, [node.signer]);
}

export async function labelFor(signer: Signer, node: KeyId, change: Partial<Label>): Promise<Envelope> {
  const label: Label = {
    cluster: CLUSTER,
    node,
    serial: 1,
    name: "web1",
    labels: {},
    issued: at(0),
    ...change,
  };
  return seal("label.1", label, [signer]);
}
