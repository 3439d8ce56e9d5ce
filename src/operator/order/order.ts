import * as z from "zod";
import type { AppView, OrderView } from "../../api/schemas.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import {
  rosterDigest,
  rosterText,
  type Order,
  type Roster,
  type Settle,
  type Strategy,
} from "../../trust/document/documents.ts";
import { limitsOf } from "../../rollout/limits.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { envName, timeOf } from "../../trust/document/fields.ts";
import { droppedSigners, underChain } from "../../trust/charter/chain.ts";
import { compareSerials, openOrder } from "../../trust/orders/orders.ts";
import { shown } from "../identity/shown.ts";
import { mayDeploy } from "../../trust/charter/rights.ts";
import { isHere, selectNodes, type KnownNode } from "../nodes/nodes.ts";
import { namesOf } from "../tell/names-of.ts";
import { chainOf, type Operator } from "../identity/operator.ts";
import { remindOfSettle } from "./sent.ts";

/** What an app's next order is made from: the newest one and the newest that stands, verified here. */
export interface Line {
  readonly app: string;
  readonly env: string;
  readonly head: HeldOrder | null;
  readonly standing: HeldOrder | null;
  /** The newest order that was neither for some of the app's nodes alone nor taken back. */
  readonly whole: HeldOrder | null;
  /** What was for some nodes alone since, and not taken back: the newest of each selector, newest first. */
  readonly parts: readonly HeldOrder[];
  /** The newest order was taken back, everywhere. */
  readonly takenBack: boolean;
  readonly view: AppView | null;
  /** Where nothing was ordered: the environments in which something was, as far as that is known. */
  readonly elsewhere: readonly string[];
}

/** Of an operator: what they signed stands, and they sign nothing any more. */
export const DROPPED = "whom the charter has dropped since";

export interface HeldOrder {
  readonly order: Order;
  readonly digest: Digest;
  /** Who signed it and was dropped by a charter since; absent: nobody. */
  readonly droppedSigner?: string;
}

/** @throws SkeinError DOC_UNSIGNED and the like when the hub shows an order that no operator signed */
export async function readLine(
  operator: Operator,
  app: string,
  env: string,
  signal: AbortSignal,
): Promise<Line> {
  const { view, elsewhere } = await viewOf(operator, app, env, signal);
  const place = `${app}/${env}`;
  return {
    app,
    env,
    head: held(operator, view?.head ?? null, place),
    standing: held(operator, view?.standing ?? null, place),
    whole: held(operator, view?.whole ?? view?.head ?? null, place),
    parts: (view?.parts ?? []).flatMap((part) => held(operator, part, place) ?? []),
    takenBack: view?.phase === "undone",
    view,
    elsewhere,
  };
}

const envNames = z.array(envName);

/** As the hub shows it; where that does not know the newest order's settle, and this machine signed one, it is told. */
async function viewOf(
  operator: Operator,
  app: string,
  env: string,
  signal: AbortSignal,
): Promise<Pick<Line, "view" | "elsewhere">> {
  let elsewhere: readonly string[] = [];
  const views = await operator.client.app(app, env, signal).catch((err: unknown) => {
    if (!isSkeinError(err, "APP_NOT_FOUND", "NOT_FOUND")) throw err;
    elsewhere = envNames.safeParse(err.data["envs"]).data ?? [];
    return [];
  });
  const view = views.find((candidate) => candidate.env === env) ?? null;
  if (view?.head?.settle === null) await remindOfSettle(operator, view.head, signal);
  return { view, elsewhere };
}

/** Nodes have accepted it, so its serial and its digest count, whoever signed it. */
function held(operator: Operator, view: OrderView | null, place: string): HeldOrder | null {
  if (view === null) return null;
  const chain = chainOf(operator);
  const now = operator.clock.now();
  const upheld = shown(`an order of ${place}`, () =>
    underChain(chain, (charter) => openOrder(charter, view.order, now)),
  );
  const { body: order, digest } = upheld.opened;
  const droppedSigner = droppedSigners(chain, upheld);
  return { order, digest, ...(droppedSigner === null ? {} : { droppedSigner }) };
}

/** What nodes are to run: the newest order, or, where it was taken back, the one that stands. null: nothing ever ran. */
export const orderInForce = ({ head, standing, takenBack }: Line): HeldOrder | null =>
  takenBack ? standing : head;

/**
 * What the nodes of a selector are to run: the order in force, or, where that was for some other nodes alone, what these
 * were told last, alone or with all of the app's nodes.
 * @param selector as orders have it
 */
export function orderFor(line: Line, selector: string): HeldOrder | null {
  const newest = orderInForce(line);
  const { whole } = line;
  if (newest === null || whole === null || compareSerials(whole.order, newest.order) >= 0) return newest;
  return [newest, ...line.parts].find(({ order }) => order.selector === selector) ?? whole;
}

/** Whom an app is for where nobody says; undefined where nothing was ever ordered. */
export const selectorOf = ({ whole }: Pick<Line, "whole">): string | undefined => whole?.order.selector;

/** @param place env null: in none */
export function noApp(
  place: { readonly app: string; readonly env: string | null; readonly elsewhere: readonly string[] },
  more: Readonly<Record<string, unknown>> = {},
): SkeinError {
  const { app, env, elsewhere: envs } = place;
  const where = env === null || (env === "default" && envs.length === 0) ? "" : ` in environment ${env}`;
  return new SkeinError("APP_NOT_FOUND", `there is no app ${app}${where}`, {
    ...(envs.length === 0 ? {} : { hint: `It is in ${namesOf(envs)}: say --env ${envs[0]}.` }),
    data: { app, env, envs, ...more },
  });
}

/** @throws SkeinError APP_NOT_FOUND where nothing was ever ordered */
export function headOf(line: Line): HeldOrder {
  if (line.head === null) throw noApp(line);
  return line.head;
}

/** What one order should say; the rest follows from the line and the nodes. */
export interface Intent {
  readonly release: ReleaseId;
  readonly state: "run" | "stopped";
  readonly generation: number;
  readonly beside: readonly ReleaseId[];
  readonly selector: string;
  readonly strategy: Strategy;
  readonly hooks: "run" | "skip";
  /** Until when nodes may start it, in ms from now. */
  readonly applyWithinMs: number;
  /** The settle is signed only after the receipts were seen. */
  readonly attended: boolean;
}

export const APPLY_WITHIN_MS = 3_600_000;
const UNDO_AFTER_APPLY_MS = 30 * 60_000;
const MAX_NEEDS = 32;

export interface Draft {
  readonly order: Order;
  readonly roster: Roster;
  readonly nodes: readonly KnownNode[];
  readonly present: readonly KnownNode[];
  /** Ok-receipts that its settle will need. */
  readonly needs: number;
}

/** Composes the next order of a line. @throws SkeinError NOT_AUTHORISED, SELECTION_EMPTY, SELECTOR_* */
export function draftOrder(
  operator: Operator,
  line: Line,
  intent: Intent,
  known: readonly KnownNode[],
): Draft {
  refuseUnauthorised(operator, line);
  const { selector, nodes } = selectNodes(known, intent.selector);
  const present = nodes.filter(isHere);
  const roster = rosterOf(nodes);
  const order = composeOrder(operator, line, { ...intent, selector }, roster);
  return { order, roster, nodes, present, needs: needsOf(nodes.length, present.length, intent.strategy) };
}

/** What signing an order needs of an operator, hub or not. */
export type Author = Pick<Operator, "config" | "charter" | "signer" | "clock">;

/** @throws SkeinError NOT_AUTHORISED */
export function refuseUnauthorised({ charter, signer, config }: Author, { app, env }: AppEnv): void {
  if (mayDeploy(charter, signer.kid, app, env)) return;
  throw new SkeinError("NOT_AUTHORISED", `${config.name} may not deploy ${app}/${env}`, {
    hint: `Ask an admin for the scope deploy:${app}/${env}.`,
    data: { scope: `deploy:${app}/${env}` },
  });
}

/**
 * The next order of a line, for nodes that were selected already.
 * @param leastSeq a serial below it was used up without an order that stayed
 */
export function composeOrder(
  { charter, clock }: Author,
  line: Line,
  intent: Omit<Intent, "attended">,
  roster: Roster,
  leastSeq = 1,
): Order {
  const { app, env, head } = line;
  const { epoch } = charter;
  const now = clock.now();
  const next = head !== null && head.order.epoch === epoch ? head.order.seq + 1 : 1;
  const applyBefore = now + intent.applyWithinMs;
  return {
    cluster: charter.cluster,
    epoch,
    seq: Math.max(next, leastSeq),
    prev: head?.digest ?? null,
    app,
    env,
    release: intent.release,
    state: intent.state,
    generation: intent.generation,
    beside: [...intent.beside],
    fallback: fallbackOf(line),
    selector: intent.selector,
    roster: rosterDigest(roster),
    strategy: intent.strategy,
    hooks: intent.hooks,
    issued: timeOf(now),
    applyBefore: timeOf(applyBefore),
    undoBefore: timeOf(applyBefore + intent.strategy.bakeMs + UNDO_AFTER_APPLY_MS),
  };
}

/** To what an order may go back: what stands, if it runs; after some nodes were stopped, what the others run. */
function fallbackOf({ standing, whole }: Line): ReleaseId | null {
  if (standing === null || standing.order.state === "run") return standing?.order.release ?? null;
  const isOlder = whole !== null && compareSerials(whole.order, standing.order) < 0;
  return isOlder && whole.order.state === "run" ? whole.order.release : null;
}

function rosterOf(nodes: readonly KnownNode[]): Roster {
  const rows = nodes.map(({ identity: { node, name, labels } }) => ({ node, name, labels: { ...labels } }));
  return JSON.parse(rosterText({ nodes: rows })) as Roster;
}

/**
 * Where none is present nobody is waited for. Else as many as there have to be for the rollout to end well: whoever may
 * be away, or fail, is not asked for, also when that happens only after this was signed.
 */
export function needsOf(total: number, present: number, strategy: Strategy): number {
  if (present === 0) return 0;
  const { maxAbsent, maxFailed } = limitsOf(strategy, total);
  return Math.min(MAX_NEEDS, Math.max(1, Math.min(present, total - maxAbsent) - maxFailed));
}

export interface SignedOrder {
  readonly order: Envelope;
  readonly digest: Digest;
  readonly settle: Envelope | null;
}

/** Signs a draft, and its settle with it unless it is attended. */
export async function signOrder(operator: Author, draft: Draft, attended: boolean): Promise<SignedOrder> {
  const order = await seal("order.1", draft.order, [operator.signer]);
  const digest = digestOfEnvelope(order);
  return { order, digest, settle: attended ? null : await signSettle(operator, draft, digest) };
}

export async function signSettle(operator: Author, draft: Draft, digest: Digest): Promise<Envelope> {
  const { order, needs } = draft;
  const settle: Settle = {
    cluster: order.cluster,
    order: digest,
    app: order.app,
    env: order.env,
    epoch: order.epoch,
    seq: order.seq,
    needs,
    before: order.undoBefore,
    issued: timeOf(operator.clock.now()),
  };
  return await seal("settle.1", settle, [operator.signer]);
}
