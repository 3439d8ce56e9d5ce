import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { listedHubs } from "../../api/hub-address.ts";
import type { Question } from "../../api/hub-caller.ts";
import type { NodeDocuments } from "../../api/member-schemas.ts";
import type { AppSummary, NodeView } from "../../api/schemas.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { fewAtOnce } from "../../lib/async/few-at-once.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { retry } from "../../lib/time/retry.ts";
import { MOST_FLOORS, type Ticket } from "../../trust/document/documents.ts";
import { seal } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { openRevoke, type Identity } from "../../trust/members/identity.ts";
import { signerFromSeed } from "../../trust/keys/keys.ts";
import { select } from "../../trust/document/selection.ts";
import { formatTicketLine } from "../../trust/members/ticket-line.ts";
import { announce, type Deed } from "../tell/dry-run.ts";
import type { Tell } from "../tell/events.ts";
import { keepDocuments, readDocuments } from "./kept-documents.ts";
import { formerNode, identityIn, type FormerNode } from "./node-identity.ts";
import { namesOf } from "../tell/names-of.ts";
import type { OperatorConfig } from "../identity/home.ts";
import type { Operator } from "../identity/operator.ts";
import { shown } from "../identity/shown.ts";

/** A node as the hub sees it, with the name and labels that its documents prove. */
export interface KnownNode extends NodeView {
  readonly identity: Identity;
}

/** Nodes whose documents are asked for at once. */
const ASKED_TOGETHER = 64;

/** Is it there to be asked, and to be told what to run? */
export const isHere = ({ present, duplicate }: Pick<NodeView, "present" | "duplicate">): boolean =>
  present && !duplicate;

/**
 * All members, each with its identity verified here: a hub cannot add a node or a label to what is signed. What this
 * machine saw signed and the hub does not show any more, its store being set back, it is told again.
 * @throws SkeinError when a node's documents do not prove what the hub says
 */
export async function knownNodes(operator: Operator, signal: AbortSignal): Promise<readonly KnownNode[]> {
  return await membersOf(operator, (await operator.client.nodes(signal)).nodes, signal);
}

/** All members, and who was one and still has a member's name. @throws SkeinError as `knownNodes` */
export async function membersAndFormer(
  operator: Operator,
  signal: AbortSignal,
): Promise<{ readonly members: readonly KnownNode[]; readonly former: readonly FormerNode[] }> {
  const { nodes, unvouched } = await operator.client.nodes(signal);
  const members = await membersOf(operator, nodes, signal);
  const former = await fewAtOnce(unvouched, (node) => formerNode(operator, node, signal));
  return { members, former: former.filter((node) => node !== undefined) };
}

/** Who orders something for all hears whom it does not reach: those run on, and nobody sees it where members are shown. */
export function tellFormer(former: readonly FormerNode[], tell: Tell): void {
  if (former.length === 0) return;
  const names = namesOf(former.map(({ identity }) => identity.name));
  const by = namesOf([...new Set(former.map(({ invitedBy }) => invitedBy))]);
  const [are, theyAre, them] =
    former.length === 1 ? ["is", "it is no member", "it"] : ["are", "they are no members", "them"];
  tell({
    type: "warning",
    text: `${names} ${are} told nothing: ${theyAre} any more, since the charter dropped who had let ${them} in (${by}). See skein node ls.`,
  });
}

async function membersOf(
  operator: Operator,
  nodes: readonly NodeView[],
  signal: AbortSignal,
): Promise<KnownNode[]> {
  const members = nodes.filter(({ revoked }) => !revoked);
  const found = await fewAtOnce(members, async (node) => ({ node, kept: await keptProof(operator, node) }));
  const known: (KnownNode | undefined)[] = [];
  for (let at = 0; at < found.length; at += ASKED_TOGETHER) {
    const some = found.slice(at, at + ASKED_TOGETHER);
    const unknown = some.filter(({ kept }) => kept === undefined);
    if (unknown.length > 1)
      operator.client.together(
        unknown.map(({ node }) => documentsOf(node.node)),
        signal,
      );
    known.push(...(await fewAtOnce(some, ({ node, kept }) => proven(operator, node, kept, signal))));
  }
  return known
    .filter((node) => node !== undefined)
    .toSorted((a, b) => (a.identity.name < b.identity.name ? -1 : 1));
}

const documentsOf = (node: KeyId): Question => ({ name: "nodeDocuments", params: { name: node } });

/** Undefined: it was removed. */
async function proven(
  operator: Operator,
  node: NodeView,
  kept: Proof | undefined,
  signal: AbortSignal,
): Promise<KnownNode | undefined> {
  if (kept !== undefined) {
    const { identity, documents } = kept;
    if (isShown(identity, node) && documents.revoke === null) return { ...node, identity };
    if (documents.revoke !== null || identity.serial > node.labelSerial)
      return await reminded(operator, node, kept, signal);
  }
  const documents = await operator.client.nodeDocuments(node.node, signal);
  const identity = shown(`a node ${node.name}`, () => identityIn(operator, node, documents));
  await keepDocuments(operator.paths, node.node, documents);
  return { ...node, identity };
}

/** Tells the hub what it has forgotten of a node; the node is taken as what was signed, whatever the hub says to that. */
async function reminded(
  { client, dryRun }: Operator,
  node: NodeView,
  { identity, documents: { label, revoke } }: Proof,
  signal: AbortSignal,
): Promise<KnownNode | undefined> {
  const tell = async (post: () => Promise<void>): Promise<void> => {
    if (dryRun !== undefined) return;
    await post().catch((err: unknown) => {
      if (!isSkeinError(err) || err.code === "HUB_UNREACHABLE") throw err;
    });
  };
  // First: who ended the node may have had the right to by these labels alone.
  if (label !== null && identity.serial > node.labelSerial)
    await tell(async () => await client.postLabel(label, signal));
  if (revoke !== null) {
    await tell(async () => await client.postRevocation(revoke, signal));
    return undefined;
  }
  const { name, labels, serial } = identity;
  return { ...node, name, labels: { ...labels }, labelSerial: serial, identity };
}

interface Proof {
  readonly documents: NodeDocuments;
  readonly identity: Identity;
}

/** What documents from an earlier time prove. */
async function keptProof(operator: Operator, node: NodeView): Promise<Proof | undefined> {
  const documents = await readDocuments(operator.paths, node.node);
  if (documents === undefined) return undefined;
  try {
    const identity = identityIn(operator, node, documents);
    if (documents.revoke !== null)
      openRevoke(operator.charter, documents.revoke, identity, operator.clock.now());
    return { documents, identity };
  } catch {
    return undefined; // the charter has changed, say: the hub may have others
  }
}

const isShown = ({ name, labels, serial }: Identity, node: NodeView): boolean =>
  isDeepStrictEqual([name, labels, serial], [node.name, node.labels, node.labelSerial]);

export interface Selected<T> {
  /** As it is signed: every bare word is spelled out. */
  readonly selector: string;
  readonly nodes: readonly T[];
}

/**
 * The nodes that a selector names, by the names and labels that their documents prove.
 * @throws SkeinError SELECTOR_BAD, SELECTOR_AMBIGUOUS, NODE_NOT_FOUND, SELECTION_EMPTY
 */
export function selectNodes<T extends { readonly identity: Identity }>(
  nodes: readonly T[],
  text: string,
): Selected<T> {
  if (nodes.length === 0) {
    throw new SkeinError("SELECTION_EMPTY", `no node matches '${text}'`, {
      hint: "There is no node yet: skein node invite.",
      data: { selector: text, nodes: 0 },
    });
  }
  const selectable = nodes.map((node) => ({
    name: node.identity.name,
    labels: node.identity.labels,
    node,
  }));
  const selected = select(text, selectable);
  return { selector: selected.selector, nodes: selected.nodes.map(({ node }) => node) };
}

/** @throws SkeinError NODE_NOT_FOUND */
export function nodeNamed<T extends { readonly identity: Identity }>(nodes: readonly T[], name: string): T {
  const found = nodes.find(({ identity }) => identity.name === name || identity.node === name);
  if (found !== undefined) return found;
  throw new SkeinError("NODE_NOT_FOUND", `there is no node ${name}`, {
    data: { name, nodes: nodes.map(({ identity }) => identity.name) },
  });
}

export interface InviteOptions {
  /** null: the node's own word. */
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly validMs: number;
  /** Name of the node whose identity this one takes over: it is revoked. */
  readonly replace: string | null;
}

export interface Invitation {
  /** What `skein agent --join` takes; a secret until it is used. */
  readonly line: string;
  readonly expires: string;
  readonly replaced: KeyId | null;
}

/** Makes a ticket that lets one new node in. */
export async function invite(
  operator: Operator,
  options: InviteOptions,
  signal: AbortSignal,
): Promise<Invitation> {
  const { charter, client, clock, signer, pin } = operator;
  const hub = reachableHub(operator);
  const old = options.replace === null ? null : await endableNode(operator, options.replace, signal);
  const seed = randomBytes(32);
  const now = clock.now();
  const expires = timeOf(now + options.validMs);
  const name = options.name ?? old?.identity.name ?? null;
  const labels = old === null ? options.labels : { ...old.identity.labels, ...options.labels };
  announce(operator, () => inviteDeed({ name, labels, replaces: old?.identity.name ?? null, expires }));
  const ticket = await seal(
    "ticket.1",
    {
      cluster: charter.cluster,
      charter: pin,
      key: signerFromSeed(seed).pub,
      name,
      labels,
      issued: timeOf(now),
      expires,
      replace: old?.identity.node ?? null,
      floor: await floorOf(operator, signal),
    },
    [signer],
  );
  // In this order: a node that was ended, and has no successor yet, could be named by nobody any more.
  await client.postTicket(ticket, signal);
  if (old !== null) await revokeNode(operator, old, "replaced", signal);
  return { line: formatTicketLine({ pin, seed, hub }), expires, replaced: old?.identity.node ?? null };
}

/** An invitation as it is told in a dry run. Pure. */
export function inviteDeed(said: {
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly replaces: string | null;
  readonly expires: string;
}): Deed {
  const { name, labels, replaces, expires } = said;
  const who = name === null ? "one node, by its own name," : `a node ${name}`;
  const what = Object.keys(labels).length === 0 ? "" : ` with the labels ${labelText(labels)}`;
  const ends = replaces === null ? "" : `; the identity of ${replaces} would end`;
  return { text: `${who} could join until ${expires}${what}${ends}`, data: { deed: "invite", ...said } };
}

/** `role=web,canary`. */
export const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => (value === "true" ? key : `${key}=${value}`))
    .join(",");

async function floorOf({ client }: Operator, signal: AbortSignal): Promise<Ticket["floor"]> {
  return floorsIn((await client.apps(signal)).apps);
}

type Ordered = Pick<AppSummary, "app" | "env" | "epoch" | "seq" | "least" | "state" | "issued">;

/**
 * What a new node must not go below, whoever hands it orders. Not the newest order: that may be for other nodes alone, or
 * be taken back, and what stood before is what the node is to run. Of more apps than a ticket has room for, those that
 * run come first, and then those that were ordered last. Pure.
 */
export function floorsIn(apps: readonly Ordered[]): Ticket["floor"] {
  const rank = ({ state, issued }: Ordered): string => `${state === "run" ? 1 : 0} ${issued}`;
  const sorted = apps.length <= MOST_FLOORS ? apps : apps.toSorted((a, b) => (rank(a) < rank(b) ? 1 : -1));
  const floors = sorted.flatMap(({ app, env, epoch, seq, least = { epoch, seq } }) =>
    least === null ? [] : [[`${app}/${env}`, least] as const],
  );
  return Object.fromEntries(floors.slice(0, MOST_FLOORS));
}

function reachableHub({ charter, config }: Operator): OperatorConfig["hubs"][number] {
  // What this machine was told of an address is newer than the charter: a hub may have moved since.
  const told = config.hubs.filter(({ spki }) => Object.hasOwn(charter.hubs, spki));
  const [hub] = [...told, ...(listedHubs(charter) as OperatorConfig["hubs"])];
  if (hub !== undefined) return hub;
  throw new SkeinError("NO_HUB", "the charter lists no hub that a node could join at");
}

/** Another operator may relabel the same node between the question and the answer: each change is made upon the other. */
const RELABEL = { tries: 6, baseMs: 50, maxMs: 1000, random: Math.random };

type LabelChanges = Readonly<Record<string, string | null>>;

/** Gives a node other labels (`null` takes one away). @throws SkeinError NODE_NOT_FOUND, NOT_AUTHORISED */
export async function labelNode(
  operator: Operator,
  name: string,
  changes: LabelChanges,
  signal: AbortSignal,
): Promise<Identity> {
  return await retry(async () => await relabel(operator, name, changes, signal), {
    ...RELABEL,
    clock: operator.clock,
    signal,
    worthRetrying: (err) => isSkeinError(err, "DOC_ROLLBACK"),
  });
}

async function relabel(
  operator: Operator,
  name: string,
  changes: LabelChanges,
  signal: AbortSignal,
): Promise<Identity> {
  const { identity } = nodeNamed(await knownNodes(operator, signal), name);
  const labels = Object.fromEntries(
    Object.entries({ ...identity.labels, ...changes }).filter(([, value]) => value !== null),
  ) as Record<string, string>;
  announce(operator, () => ({
    text: `node ${identity.name} would have the labels ${labelText(labels) || "-"}`,
    data: { deed: "label", node: identity.node, name: identity.name, labels, before: identity.labels },
  }));
  const label = await seal(
    "label.1",
    {
      cluster: operator.charter.cluster,
      node: identity.node,
      serial: identity.serial + 1,
      name: identity.name,
      labels,
      issued: timeOf(operator.clock.now()),
    },
    [operator.signer],
  );
  await operator.client.postLabel(label, signal);
  await keepChange(operator, identity.node, { label });
  return { ...identity, labels, serial: identity.serial + 1 };
}

/** Ends a node's membership. What runs there goes on until somebody stops it. */
export async function removeNode(operator: Operator, name: string, signal: AbortSignal): Promise<Named> {
  const node = await endableNode(operator, name, signal);
  announce(operator, () => ({
    text: `node ${node.identity.name} would be no member any more; what runs there goes on`,
    data: { deed: "revoke", node: node.identity.node, name: node.identity.name },
  }));
  await revokeNode(operator, node, "removed", signal);
  return node;
}

type Named = Pick<KnownNode, "identity">;

/** Who is a member, or still has a member's name. @throws SkeinError NODE_NOT_FOUND */
export async function endableNode(operator: Operator, name: string, signal: AbortSignal): Promise<Named> {
  const { members, former } = await membersAndFormer(operator, signal);
  return nodeNamed<Named>([...members, ...former], name);
}

async function revokeNode(
  operator: Operator,
  node: Named,
  reason: string,
  signal: AbortSignal,
): Promise<void> {
  const revoke = await seal(
    "revoke.1",
    {
      cluster: operator.charter.cluster,
      node: node.identity.node,
      reason,
      issued: timeOf(operator.clock.now()),
    },
    [operator.signer],
  );
  await operator.client.postRevocation(revoke, signal);
  await keepChange(operator, node.identity.node, { revoke });
}

/** So that a hub which forgets it is told by this machine. */
async function keepChange({ paths }: Operator, node: KeyId, change: Partial<NodeDocuments>): Promise<void> {
  const documents = await readDocuments(paths, node);
  if (documents !== undefined) await keepDocuments(paths, node, { ...documents, ...change });
}
