import fs from "node:fs/promises";
import path from "node:path";
import type { HubAddress } from "../../api/hub-address.ts";
import { HubClient } from "../../api/hub-client.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { digestOfEnvelope, parseEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { openTicket } from "../../trust/members/identity.ts";
import { keyIdOf, signerFromSeed } from "../../trust/keys/keys.ts";
import { acceptBirth, acceptCharter, newNodeState, type NodeState } from "../../trust/node/node-state.ts";
import { parseTicketLine, type TicketLine } from "../../trust/members/ticket-line.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import type { NodeKeys } from "./node-keys.ts";
import { createNodeStore, type NodeStore } from "./node-store.ts";

export interface JoinOptions {
  readonly etc: string;
  /** Where node state is kept. */
  readonly stateDir: string;
  /** The line of `skein node invite`. */
  readonly line: string;
  /** Taken where the ticket leaves the name open. */
  readonly name: string;
  readonly keys: NodeKeys;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Joins by a ticket: pins the charter, enrols this node's own key, and keeps what proves it. Cut at any point, the
 * same call goes on: the enrolment is written down before it is sent, and the hub takes the same bytes twice.
 * @throws SkeinError TICKET_BAD, TICKET_USED, TICKET_EXPIRED, CHARTER_PIN, NAME_TAKEN, HUB_UNREACHABLE, PIN_MISMATCH
 */
export async function join(options: JoinOptions): Promise<NodeStore> {
  const line = parseTicketLine(options.line);
  const identity = tlsIdentity(options.keys.signer.privateKey, options.name);
  using hub = new HubClient({ hubs: [line.hub], identity, clock: options.clock });
  const pinned = pinnedState(line, await hub.charters(0, options.signal), options);
  const joinKey = signerFromSeed(line.seed);
  const { ticket } = await hub.ticket(keyIdOf(joinKey), options.signal);
  const enrol = await enrolmentFor(ticket, pinned, options);
  await hub.enrol(enrol, options.signal);
  faultPoint("agent.enrolled");
  const born = acceptBirth(pinned, { ticket, enrol }, contextOf(options));
  if (born.outcome.kind === "refused") throw born.outcome.error;
  await keepFirstHub(options.etc, line.hub);
  const store = await createNodeStore(options.stateDir, born.state);
  faultPoint("agent.joined");
  return store;
}

/** Removes what a join needs only until it is done. */
export async function forgetJoining(etc: string): Promise<void> {
  await fs.rm(pendingFile(etc), { force: true });
}

/** The hub that the ticket named. A file that is damaged, or cannot be read, names none: the charter lists hubs, too. */
export async function firstHub(etc: string): Promise<HubAddress | undefined> {
  try {
    const parsed: unknown = JSON.parse((await readIfThere(path.join(etc, "hub.json"))) ?? "null");
    const isHub = typeof parsed === "object" && parsed !== null && "spki" in parsed && "address" in parsed;
    return isHub ? { spki: String(parsed.spki), address: String(parsed.address) } : undefined;
  } catch {
    return undefined;
  }
}

function pinnedState(line: TicketLine, charters: readonly Envelope[], options: JoinOptions): NodeState {
  const [first, ...later] = charters;
  if (first === undefined) throw new SkeinError("CHARTER_PIN", "the hub has no charter yet");
  let state = newNodeState(first, line.pin, options.clock.now());
  for (const charter of later) {
    const step = acceptCharter(state, charter, contextOf(options));
    if (step.outcome.kind === "refused") throw step.outcome.error;
    state = step.state;
  }
  if (!Object.hasOwn(state.charter.hubs, line.hub.spki)) {
    throw new SkeinError("PIN_MISMATCH", "the hub that the ticket names is not one of the charter's hubs");
  }
  return state;
}

/** The enrolment that was begun with this ticket before, or a new one, on disk before it is returned. */
async function enrolmentFor(ticket: Envelope, state: NodeState, options: JoinOptions): Promise<Envelope> {
  const digest = digestOfEnvelope(ticket);
  const pending = await readPending(pendingFile(options.etc), digest);
  if (pending !== undefined) return pending;
  const now = options.clock.now();
  const { body } = openTicket(state.charter, ticket, { pin: state.pin, now });
  const { signer, sealing } = options.keys;
  const enrol = await seal(
    "enrol.1",
    {
      cluster: state.charter.cluster,
      ticket: digest,
      key: signer.pub,
      sealing,
      name: body.name ?? options.name,
      issued: timeOf(now),
    },
    [signerFromSeed(parseTicketLine(options.line).seed), signer],
  );
  await writeFileAtomic(pendingFile(options.etc), JSON.stringify({ ticket: digest, enrol }));
  faultPoint("agent.enrol-kept");
  return enrol;
}

async function readPending(file: string, ticket: string): Promise<Envelope | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== "object" || parsed === null || !("enrol" in parsed)) return undefined;
    return "ticket" in parsed && parsed.ticket === ticket ? parseEnvelope(parsed.enrol) : undefined;
  } catch (err) {
    if (err instanceof SyntaxError || isSkeinError(err)) return undefined;
    throw err;
  }
}

async function keepFirstHub(etc: string, hub: HubAddress): Promise<void> {
  await writeFileAtomic(path.join(etc, "hub.json"), JSON.stringify(hub), 0o644);
}

const pendingFile = (etc: string): string => path.join(etc, "joining.json");

function contextOf({ clock, keys }: JoinOptions): {
  readonly now: number;
  readonly self: NodeKeys["signer"]["kid"];
} {
  return { now: clock.now(), self: keys.signer.kid };
}
