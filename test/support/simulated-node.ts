import path from "node:path";
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "../../src/agent/node/join.ts";
import { nodeKeys } from "../../src/agent/node/node-keys.ts";
import type { NodeStore } from "../../src/agent/node/node-store.ts";
import { HubClient } from "../../src/api/hub-client.ts";
import type { AppOnNode, WantedApp } from "../../src/api/schemas.ts";
import { systemClock } from "../../src/lib/time/clock.ts";
import { isSkeinError } from "../../src/lib/errors/errors.ts";
import { retry } from "../../src/lib/time/retry.ts";
import { invite } from "../../src/operator/nodes/nodes.ts";
import { DOCUMENT_TYPES } from "../../src/trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "../../src/trust/document/envelope.ts";
import { timeOf } from "../../src/trust/document/fields.ts";
import type { LocalSigner } from "../../src/trust/keys/keys.ts";
import { parseTicketLine } from "../../src/trust/members/ticket-line.ts";
import { tlsIdentity } from "../../src/trust/connection/tls.ts";
import type { Cluster } from "./cluster.ts";

const INVITED_MS = 3_600_000;
const POLL_MS = 30_000;
/** A hub lets strangers of one address in at a rate, and all of these come from one. */
const TURN = { baseMs: 250, maxMs: 2000, tries: 1000, random: Math.random };
/** Machines take an order in their own time. */
const WORK_MS = 1000;

/**
 * A node as its hub sees it: it joins and polls as an agent does, and reports that it did what was ordered. Nothing is
 * fetched and nothing runs, so that a machine has room for thousands.
 * @param signal ends it
 */
export async function simulateNode(cluster: Cluster, name: string, signal: AbortSignal): Promise<void> {
  const wanted = { name, labels: {}, validMs: INVITED_MS, replace: null };
  const { line } = await invite(await cluster.operator(), wanted, signal);
  const home = path.join(cluster.dir, "simulated", name);
  const keys = await nodeKeys(home);
  const attempt = async (): Promise<NodeStore> =>
    await join({
      etc: home,
      stateDir: home,
      line,
      name,
      keys,
      clock: systemClock,
      signal,
    });
  const worthRetrying = (err: unknown): boolean => isSkeinError(err, "TOO_MANY");
  const { state } = await retry(attempt, { ...TURN, clock: systemClock, signal, worthRetrying });
  const identity = tlsIdentity(keys.signer.privateKey, name);
  const client = new HubClient({ hubs: [parseTicketLine(line).hub], identity });
  const node = new SimulatedNode(client, keys.signer, state.charter.cluster);
  await node.report([], signal);
  void node
    .follow(signal)
    .catch((err: unknown) => {
      if (!signal.aborted) throw err;
    })
    .finally(() => client.close());
}

class SimulatedNode {
  readonly #client: HubClient;
  readonly #signer: LocalSigner;
  readonly #cluster: string;
  readonly #boot = `boot-${randomInt(2 ** 40)}`;
  readonly #apps = new Map<string, AppOnNode>();

  constructor(client: HubClient, signer: LocalSigner, cluster: string) {
    this.#client = client;
    this.#signer = signer;
    this.#cluster = cluster;
  }

  async report(receipts: readonly Envelope[], signal: AbortSignal): Promise<void> {
    const at = timeOf(Date.now());
    const said = { boot: this.#boot, at, address: "127.0.0.1", version: "0.1.0", knows: [...DOCUMENT_TYPES] };
    const apps = [...this.#apps.values()];
    await this.#client.report(
      { ...said, receipts: [...receipts], instances: [], apps, progress: [] },
      signal,
    );
  }

  /** Until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    for (let etag: string | undefined; !signal.aborted;) {
      const wanted = await this.#client.wanted(etag, POLL_MS, signal, this.#boot).catch(asNone);
      if (wanted === undefined) continue;
      etag = wanted.etag;
      for (const app of wanted.apps) await this.#obey(app, signal);
    }
  }

  async #obey({ app, env, orders: [head], gates }: WantedApp, signal: AbortSignal): Promise<void> {
    if (head === undefined) return;
    const order = digestOfEnvelope(head);
    if (gates[order] !== "go" || this.#apps.get(app)?.head === order) return;
    await sleep(randomInt(WORK_MS), undefined, { signal });
    const { epoch, seq, release } = readUnverified(head, "order.1");
    this.#apps.set(app, { app, env, release, state: "running", head: order });
    const { kid: node, pub: key } = this.#signer;
    const done = { verdict: "ok", code: null, message: null, cut: 0, at: timeOf(Date.now()) } as const;
    const body = { cluster: this.#cluster, node, key, app, env, epoch, seq, order, release, ...done };
    await this.report([await seal("receipt.1", body, [this.#signer])], signal);
  }
}

/** A hub that does not answer is asked again, as by agents. */
async function asNone(err: unknown): Promise<undefined> {
  if (!isSkeinError(err)) throw err;
  await sleep(randomInt(WORK_MS));
}
