/** A cluster for tests: a charter with one operator, a real hub on a free port, nodes that enrol and report. */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { ROLLING } from "../trust/strategy.fixture.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { HubClient } from "../api/hub-client.ts";
import { HubLine, type HubLineOptions } from "../api/hub-line.ts";
import type { Report, Wanted } from "../api/schemas.ts";
import { directoryDepot } from "../depot/directory/directory.ts";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { type Digest, type KeyId, type ReleaseId, type TreeId, digestOf } from "../lib/text/ids.ts";
import { silentLog } from "../lib/process/log.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { pathsFrom } from "../lib/disk/paths.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import {
  releaseIdOf,
  rosterDigest,
  type Charter,
  type Order,
  type Receipt,
  type Roster,
  type Settle,
  type Strategy,
  type Ticket,
} from "../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "../trust/document/envelope.ts";
import { generateSigner, spkiDigestOf, type LocalSigner } from "../trust/keys/keys.ts";
import { ephemeralIdentity, tlsIdentity } from "../trust/connection/tls.ts";
import { startHub, type HubOptions, type RunningHub } from "./start-hub.ts";

export const HOUR = 3_600_000;
export const at = (ms = 0): string => new Date(Date.now() + ms).toISOString();

const STRATEGY: Strategy = { ...ROLLING, batch: 1, maxAbsent: 0, bakeMs: 0 };

export interface Cluster {
  readonly id: string;
  readonly operator: LocalSigner;
  readonly hubKey: LocalSigner;
  readonly charter: Envelope;
  readonly pin: Digest;
}

export async function makeCluster(
  allow: readonly string[] = ["admin", "deploy:*/*", "enrol:*"],
): Promise<Cluster> {
  const operator = generateSigner();
  const hubKey = generateSigner();
  const id = digestOf(operator.pub).slice(0, 32);
  const body: Charter = {
    cluster: id,
    version: 1,
    epoch: 0,
    issued: at(-HOUR),
    expires: at(1000 * HOUR),
    recovery: { keys: [operator.kid], threshold: 1 },
    keys: { [operator.kid]: { alg: "raw", pub: operator.pub } },
    operators: { [operator.kid]: { name: "alice", allow: [...allow] } },
    builders: {},
    quorum: {},
    hubs: { [spkiDigestOf(hubKey.pub)]: ["127.0.0.1:7400"] },
    commands: true,
    limits: {},
  };
  const charter = await seal("charter.1", body, [operator]);
  return { id, operator, hubKey, charter, pin: digestOfEnvelope(charter) };
}

/** The next charter, which lists one operator more. */
export async function charterWithOperator(
  cluster: Cluster,
  { kid, pub }: LocalSigner,
  allow: readonly string[],
): Promise<Envelope> {
  const before = readUnverified(cluster.charter, "charter.1");
  const body: Charter = {
    ...before,
    version: before.version + 1,
    issued: at(),
    keys: { ...before.keys, [kid]: { alg: "raw", pub } },
    operators: { ...before.operators, [kid]: { name: "bob", allow: [...allow] } },
  };
  return await seal("charter.1", body, [cluster.operator]);
}

export interface TestHub extends RunningHub {
  readonly cluster: Cluster;
  readonly home: string;
  readonly client: HubClient;
  /** Ends the hub and its store, and leaves the client as it is. */
  closeHubOnly(): Promise<void>;
}

/** A folder of its own under the system's temporary one, removed when the test ends. */
export async function tempHome(t: TestContext): Promise<string> {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "skein-hub-"));
  atEnd(t, async () => await fs.rm(home, { recursive: true, force: true }));
  return home;
}

export async function startTestHub(
  t: TestContext,
  options: Partial<HubOptions> & { readonly cluster?: Cluster; readonly home?: string } = {},
): Promise<TestHub> {
  const cluster = options.cluster ?? (await makeCluster());
  const home = options.home ?? (await tempHome(t));
  const paths = pathsFrom({ SKEIN_HOME: home });
  await fs.mkdir(paths.lib, { recursive: true });
  const store = options.store ?? (await openSqliteStore(path.join(paths.lib, "hub.db")));
  const hub = await startHub({
    store,
    depot: directoryDepot(path.join(paths.lib, "depot")),
    paths,
    listen: options.listen ?? { host: "127.0.0.1", port: await freePort() }, // which a hub in its place finds free
    key: cluster.hubKey,
    charters: [cluster.charter],
    log: silentLog,
    signal: new AbortController().signal,
    version: "0.0.0",
    ...options,
  });
  const client = await operatorClient(cluster, hub.address);
  let closed: Promise<void> | undefined;
  const closeHubOnly = async (): Promise<void> => {
    closed ??= hub.close().then(async () => await store[Symbol.asyncDispose]());
    await closed;
  };
  const close = async (): Promise<void> => {
    client.close();
    await closeHubOnly();
  };
  atEnd(t, close);
  return { ...hub, cluster, home, client, close, closeHubOnly, [Symbol.asyncDispose]: close };
}

export async function operatorClient(
  cluster: Cluster,
  address: string,
  operator: LocalSigner = cluster.operator,
): Promise<HubClient> {
  return new HubClient(await sessionOf(cluster, address, operator));
}

/** The connections below such a client, for what is no call of the API. */
export async function operatorLine({ cluster, address }: TestHub): Promise<HubLine> {
  return new HubLine(await sessionOf(cluster, address, cluster.operator));
}

async function sessionOf(cluster: Cluster, address: string, operator: LocalSigner): Promise<HubLineOptions> {
  const identity = ephemeralIdentity();
  const session = await seal(
    "session.1",
    { cluster: cluster.id, operator: operator.kid, key: identity.spki, issued: at(), expires: at(HOUR) },
    [operator],
  );
  return { hubs: [{ spki: spkiDigestOf(cluster.hubKey.pub), address }], identity, session };
}

/** A client with a key of its own and nothing that vouches for it, unless it is a node's. */
export function keyClient(cluster: Cluster, address: string, key: LocalSigner = generateSigner()): HubClient {
  const hubs = [{ spki: spkiDigestOf(cluster.hubKey.pub), address }];
  return new HubClient({ hubs, identity: tlsIdentity(key.privateKey, "node") });
}

export interface TestNode {
  /** What the line of its ticket carried. */
  readonly join: LocalSigner;
  readonly key: LocalSigner;
  readonly kid: KeyId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly client: HubClient;
  readonly ticket: Envelope;
  readonly enrol: Envelope;
}

export async function makeTicket(
  cluster: Cluster,
  join: LocalSigner,
  more: Partial<Ticket> = {},
  signer: LocalSigner = cluster.operator,
): Promise<Envelope> {
  const ticket: Ticket = {
    cluster: cluster.id,
    charter: cluster.pin,
    key: join.pub,
    name: null,
    labels: {},
    issued: at(-1000),
    expires: at(HOUR),
    replace: null,
    floor: {},
    ...more,
  };
  return await seal("ticket.1", ticket, [signer]);
}

export async function makeEnrol(
  cluster: Cluster,
  ticket: Envelope,
  join: LocalSigner,
  key: LocalSigner,
  name: string,
): Promise<Envelope> {
  const sealing = generateSigner().pub;
  const body = {
    cluster: cluster.id,
    ticket: digestOfEnvelope(ticket),
    key: key.pub,
    sealing,
    name,
    issued: at(),
  };
  return await seal("enrol.1", body, [join, key]);
}

export async function joinNode(
  t: TestContext,
  hub: TestHub,
  name: string,
  labels: Readonly<Record<string, string>> = { role: "web" },
): Promise<TestNode> {
  const { cluster } = hub;
  const join = generateSigner();
  const key = generateSigner();
  const ticket = await makeTicket(cluster, join, { labels: { ...labels } });
  await hub.client.postTicket(ticket);
  const client = keyClient(cluster, hub.address, key);
  atEnd(t, () => client.close());
  const enrol = await makeEnrol(cluster, ticket, join, key, name);
  await client.enrol(enrol);
  return { join, key, kid: key.kid, name, labels, client, ticket, enrol };
}

/** Polls like an agent until the answer is the one waited for. */
export async function wantedUntil(client: HubClient, isIt: (wanted: Wanted) => boolean): Promise<Wanted> {
  let etag: string | undefined;
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until;) {
    const wanted = await client.wanted(etag, 2000);
    if (wanted !== undefined && isIt(wanted)) return wanted;
    etag = wanted?.etag ?? etag;
  }
  throw new Error("what was waited for never came");
}

export function reportOf(more: Partial<Report> = {}): Report {
  return {
    boot: "boot-0001",
    at: at(),
    address: "127.0.0.1",
    version: "0.0.0",
    knows: ["order.1"],
    receipts: [],
    instances: [],
    apps: [],
    progress: [],
    ...more,
  };
}

export interface MadeRelease {
  readonly envelope: Envelope;
  readonly id: ReleaseId;
}

export async function makeRelease(cluster: Cluster, app: string, content: string): Promise<MadeRelease> {
  const tree = digestOf(content) as string as TreeId;
  const commit = digestOf(`commit ${content}`).slice(0, 40);
  const envelope = await seal(
    "release.1",
    {
      cluster: cluster.id,
      app,
      tree,
      rows: digestOf(`rows ${content}`),
      since: null,
      commit,
      source: { kind: "git", name: app },
      builder: cluster.operator.kid,
      created: at(),
      files: 1,
      bytes: 1,
    },
    [cluster.operator],
  );
  return { envelope, id: releaseIdOf({ app, tree, commit }) };
}

export const rosterOf = (nodes: readonly TestNode[]): Roster => ({
  nodes: nodes
    .map(({ kid, name, labels }) => ({ node: kid, name, labels: { ...labels } }))
    .sort((a, b) => (a.node < b.node ? -1 : 1)),
});

export interface MadeOrder {
  readonly envelope: Envelope;
  readonly digest: Digest;
  readonly body: Order;
}

export async function makeOrder(
  cluster: Cluster,
  release: ReleaseId,
  roster: Roster,
  more: Partial<Order> = {},
  signer: LocalSigner = cluster.operator,
): Promise<MadeOrder> {
  const body: Order = {
    cluster: cluster.id,
    epoch: 0,
    seq: 1,
    prev: null,
    app: "shop",
    env: "default",
    release,
    state: "run",
    generation: 0,
    beside: [],
    fallback: null,
    selector: "role=web",
    roster: rosterDigest(roster),
    strategy: STRATEGY,
    hooks: "run",
    issued: at(),
    applyBefore: at(HOUR),
    undoBefore: at(HOUR),
    ...more,
  };
  const envelope = await seal("order.1", body, [signer]);
  return { envelope, digest: digestOfEnvelope(envelope), body };
}

export async function makeSettle(
  cluster: Cluster,
  { body, digest }: MadeOrder,
  needs: number,
): Promise<Envelope> {
  const { app, env, epoch, seq } = body;
  const settle: Settle = {
    cluster: cluster.id,
    order: digest,
    app,
    env,
    epoch,
    seq,
    needs,
    before: at(HOUR),
    issued: at(),
  };
  return await seal("settle.1", settle, [cluster.operator]);
}

export async function makeReceipt(
  cluster: Cluster,
  node: TestNode,
  { body, digest }: MadeOrder,
  more: Partial<Receipt> = {},
): Promise<Envelope> {
  const { app, env, epoch, seq, release } = body;
  const receipt: Receipt = {
    cluster: cluster.id,
    node: node.kid,
    key: node.key.pub,
    app,
    env,
    epoch,
    seq,
    order: digest,
    release,
    verdict: "ok",
    code: null,
    message: null,
    cut: 0,
    at: at(),
    ...more,
  };
  return await seal("receipt.1", receipt, [node.key]);
}
