import type { Bucket } from "../../bucket/bucket.ts";
import { readRoot } from "../../bucket/entries.ts";
import { charterChain } from "../../bucket/following.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { parseCarriedTicket, type CarriedTicket } from "../../trust/members/carried-ticket.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { openTicket } from "../../trust/members/identity.ts";
import { signerFromSeed } from "../../trust/keys/keys.ts";
import {
  acceptBirth,
  acceptCharter,
  newNodeState,
  type NodeState,
  type Step,
} from "../../trust/node/node-state.ts";
import type { NodeKeys } from "./node-keys.ts";
import { createNodeStore, type NodeStore } from "./node-store.ts";

export interface BucketJoin {
  readonly bucket: Bucket;
  /** The line of `skein node invite`; undefined: the node has no name, and takes what is for all. */
  readonly line: string | undefined;
  /** Fingerprint of the first charter, where no line tells it. */
  readonly pin: Digest | null;
  /** Taken where the ticket leaves the name open. */
  readonly name: string;
  readonly stateDir: string;
  readonly keys: NodeKeys;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * The first state of a node that pulls from a bucket: pins the charter and, with a ticket, enrols its own key. Nobody is
 * told: what proves the node's name is kept by the node.
 * @throws SkeinError CHARTER_PIN, TICKET_BAD, TICKET_EXPIRED, DOC_*, and what the bucket throws
 */
export async function joinBucket(options: BucketJoin): Promise<NodeStore> {
  const { line, pin, stateDir } = options;
  const carried = line === undefined ? undefined : parseCarriedTicket(line);
  const pinned = carried?.pin ?? pin;
  if (pinned === null) throw unpinned();
  const state = await pinnedState(options, pinned);
  return await createNodeStore(
    stateDir,
    carried === undefined ? state : await bornState(state, carried, options),
  );
}

/** Nobody is trusted at first sight. */
export function unpinned(): SkeinError {
  return new SkeinError("CHARTER_PIN", "this machine does not know the cluster's fingerprint", {
    hint: "Set SKEIN_CHARTER to the fingerprint that skein init printed.",
  });
}

async function pinnedState({ bucket, keys, clock, signal }: BucketJoin, pin: Digest): Promise<NodeState> {
  const look = await readRoot(bucket.documents, undefined, signal);
  const newest = look === "same" ? 0 : look.root.charter;
  const now = clock.now();
  const chain = await charterChain(bucket.documents, pin, newest, { now, signal });
  if (chain === undefined) {
    throw new SkeinError("CHARTER_PIN", `${bucket.name} has no charter`, {
      hint: `On an operator's machine: skein init --bucket ${bucket.name}`,
    });
  }
  const [first, ...later] = chain.envelopes;
  return later.reduce(
    (state, charter) => accepted(acceptCharter(state, charter, { now, self: keys.signer.kid })),
    newNodeState(first, pin, now),
  );
}

async function bornState(
  state: NodeState,
  { seed, ticket }: CarriedTicket,
  { name, keys, clock }: BucketJoin,
): Promise<NodeState> {
  const now = clock.now();
  const { body } = openTicket(state.charter, ticket, { pin: state.pin, now });
  const enrol: Envelope = await seal(
    "enrol.1",
    {
      cluster: state.charter.cluster,
      ticket: digestOfEnvelope(ticket),
      key: keys.signer.pub,
      sealing: keys.sealing,
      name: body.name ?? name,
      issued: timeOf(now),
    },
    [signerFromSeed(seed), keys.signer],
  );
  return accepted(acceptBirth(state, { ticket, enrol }, { now, self: keys.signer.kid }));
}

function accepted({ state, outcome }: Step): NodeState {
  if (outcome.kind === "refused") throw outcome.error;
  return state;
}
