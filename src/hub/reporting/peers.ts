/**
 * What the hub tells nodes of each other, so that they need not all fetch from it: who serves blobs where, and what a
 * blob's pieces hash to. Both are hints; nodes prove who a peer is and what its bytes are worth themselves. Nothing of
 * it is in the store: after a restart, nodes tell it again with their next reports.
 */
import type { PeerList } from "../../api/schemas.ts";
import { prove, proveBlob, type ProvenBlob } from "../../depot/peers/proof.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { digestOf, type KeyId } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { openEndpoint } from "../../trust/members/endpoint.ts";
import { digestOfEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Core } from "../records/core.ts";
import type { Nodes } from "../cluster/nodes.ts";
import type { Orders } from "../orders/orders.ts";
import type { Presence } from "../cluster/presence.ts";
import { hasPassed } from "../../lib/time/clock.ts";

interface Endpoint {
  readonly document: string;
  readonly address: string;
}

interface Groups {
  readonly stamp: string;
  readonly at: number;
  readonly groups: readonly ReadonlySet<KeyId>[];
}

/** Who belongs to which app changes with orders; who is there, at any time: looked at anew after so long, in ms. */
const GROUPS_MS = 2000;
/** Blobs whose pieces' hashes are kept: 2 KiB for a pack, at most 16 KiB for what is kept whole. */
const PROOFS = 512;

export interface PeersParts {
  readonly core: Core;
  readonly charters: Charters;
  readonly nodes: Nodes;
  readonly orders: Orders;
  readonly presence: Presence;
}

export class Peers {
  readonly #parts: PeersParts;
  readonly #endpoints = new Map<KeyId, Endpoint>();
  #version = 0;
  #groups: Groups | undefined;
  /** Blob → its proof; the one asked for longest ago first. */
  readonly #proofs = new Map<string, Promise<ProvenBlob>>();

  constructor(parts: PeersParts) {
    this.#parts = parts;
  }

  /** A node says where it serves peers; null: nowhere. What does not verify is as good as nothing. */
  note(node: KeyId, envelope: Envelope | null): void {
    if (envelope === null) {
      if (this.#endpoints.delete(node)) this.#version += 1;
      return;
    }
    const document = digestOfEnvelope(envelope);
    if (this.#endpoints.get(node)?.document === document) return;
    const address = this.#addressIn(node, envelope);
    if (address === undefined) return;
    this.#endpoints.set(node, { document, address });
    this.#version += 1;
  }

  /** The present nodes that share an app with this one; all of them where it has none yet. */
  list(node: KeyId, etag: string): PeerList {
    const groups = this.#grouped().filter((group) => group.has(node));
    const { presence, nodes } = this.#parts;
    const peers = [...this.#endpoints].flatMap(([other, { address }]) => {
      const shares = groups.length === 0 || groups.some((group) => group.has(other));
      const isThere =
        other !== node && shares && nodes.membership(other) === "member" && presence.present(other);
      return isThere ? [{ node: other, address }] : [];
    });
    const now = digestOf(JSON.stringify(peers)).slice(0, 16);
    return { etag: now, peers: now === etag ? null : peers };
  }

  /** Is it known what the blob's pieces hash to? Then it was there. */
  hasProof(name: string): boolean {
    return this.#proofs.has(name);
  }

  /** @throws SkeinError BLOB_MISSING */
  async proof(name: string): Promise<ProvenBlob> {
    const { depot, signal } = this.#parts.core;
    const known = this.#proofs.get(name) ?? proveBlob(depot, name, signal);
    keepNewest(this.#proofs, PROOFS, name, known);
    try {
      return await known;
    } catch (err) {
      this.#proofs.delete(name);
      throw err;
    }
  }

  /** A blob that was just made, and will be in the depot. */
  async give(name: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const proof = await prove(pieces);
    keepNewest(this.#proofs, PROOFS, name, Promise.resolve(proof));
  }

  /** A blob came again under its name. */
  forget(name: string): void {
    this.#proofs.delete(name);
  }

  #addressIn(node: KeyId, envelope: Envelope): string | undefined {
    const { charters, core } = this.#parts;
    try {
      const { body } = openEndpoint(charters.need().charter, envelope, core.clock.now());
      return body.node === node ? body.addresses[0] : undefined;
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      core.log.warn("a node's endpoint does not verify", { node, code: err.code });
      return undefined;
    }
  }

  /** For each app and environment, the nodes that its newest order is for. */
  #grouped(): readonly ReadonlySet<KeyId>[] {
    const { orders, nodes, core } = this.#parts;
    const heads = orders.appEnvs().flatMap((place) => orders.log(place)[0] ?? []);
    const stamp = `${this.#version} ${heads.map(({ digest }) => digest).join(" ")}`;
    const now = core.clock.now();
    const known = this.#groups;
    if (known?.stamp === stamp && !hasPassed(GROUPS_MS, known.at, now)) return known.groups;
    const members = nodes.members();
    const groups = heads.map((head) => {
      const selector = parseSelector(orders.body(head).selector);
      return new Set(members.filter((member) => matches(selector, member)).map((member) => member.node));
    });
    this.#groups = { stamp, at: now, groups };
    return groups;
  }
}
