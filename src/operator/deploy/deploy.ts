import { FRESH_MS } from "../../api/together.ts";
import type { Manifest } from "../../app/manifest.ts";
import { hasPassed } from "../../lib/clock.ts";
import type { ReleaseId } from "../../lib/ids.ts";
import { isStored } from "../../release/fetch/tree-blobs.ts";
import type { Release, Strategy } from "../../trust/document/documents.ts";
import { afterRestore } from "../order/after-restore.ts";
import { manifestOf, openAsked, whatIsAsked, type AskedSource, type FindOptions } from "./asked.ts";
import { besideFor, refuseKeepOld } from "../order/beside.ts";
import { tellRelease } from "../tell/events.ts";
import { refuseUnfitting } from "./forecast.ts";
import { APPLY_WITHIN_MS, readLine, selectorOf, type Line } from "../order/order.ts";
import { knownNodes, membersAndFormer, selectNodes, tellFormer, type KnownNode } from "../nodes/nodes.ts";
import type { FormerNode } from "../nodes/node-identity.ts";
import { tellNowhere } from "./nowhere.ts";
import type { Operator } from "../identity/operator.ts";
import { publishOrder, type PublishedOrder } from "../order/publish-order.ts";
import {
  beginRelease,
  findRelease,
  lookAhead,
  nearTree,
  WITH_TREE,
  type Ahead,
  type BegunRelease,
  type FoundRelease,
} from "../release/release.ts";
import { manifestOfRelease } from "../release/release-manifest.ts";
import { commitHere } from "./resolve.ts";
import { deliverEarlier, isUnsent } from "../order/sent.ts";
import type { Origin } from "../source/source.ts";

export interface DeployOptions extends FindOptions {
  readonly keepOld: boolean;
  readonly hooks: "run" | "skip";
  readonly attended: boolean;
  readonly applyWithinMs?: number;
  /** Laid over the manifest's strategy. */
  readonly strategy: Partial<Strategy>;
}

/** What is to be deployed, found or made. */
export interface Target {
  readonly app: string;
  readonly release: ReleaseId;
  readonly commit: string | null;
  readonly manifest: Manifest;
  readonly size: Pick<Release, "files" | "bytes">;
}

/**
 * Finds or makes the release that was asked for, signs an order for it and publishes that. Following it is the
 * caller's: whoever leaves does no harm.
 * @throws SkeinError of every layer; nothing was changed then
 */
export async function deploy(operator: Operator, options: DeployOptions): Promise<PublishedOrder> {
  const asked = await askEarly(operator, options);
  // Before anything is built: a mistyped node is told at once.
  if (asked === undefined) await refuseNobody(operator, options);
  else if (options.selector !== null) selectNodes((await asked.answer).known, options.selector);
  const accept = options.keepOld ? { accept: refuseKeepOld } : {};
  const target = await beginTarget(operator, { ...options, ...accept });
  try {
    return await afterRestore(
      options.tell,
      async (isAgain) => await orderOf(operator, target, isAgain ? undefined : asked, options),
    );
  } finally {
    // However this ends, nothing is on its way any more then.
    await target.posted?.catch(() => undefined);
  }
}

/** Before anything is built: a mistyped node is told at once. @throws SkeinError SELECTION_EMPTY, SELECTOR_BAD, NODE_NOT_FOUND */
export async function refuseNobody(
  operator: Operator,
  { selector, signal }: Pick<DeployOptions, "selector" | "signal">,
): Promise<void> {
  if (selector !== null) selectNodes(await knownNodes(operator, signal), selector);
}

async function orderOf(
  operator: Operator,
  target: BegunTarget,
  asked: Question | undefined,
  options: DeployOptions,
): Promise<PublishedOrder> {
  await deliverEarlier(operator, target.app, options);
  const { line, known, former } = await (
    isFresh(operator, asked) ? asked : askNow(operator, target.app, options)
  ).answer;
  const { selector, implied } = selectorFor(options.selector, target.manifest, line);
  if (options.selector === null) tellFormer(former, options.tell);
  const selected = selectNodes(known, selector);
  const { nodes } = selected;
  // Who names nodes knows that they are some.
  if (options.selector === null) tellNowhere(target.manifest, nodes, options.tell);
  await refuseUnfitting(operator, { ...target, env: options.env, nodes }, options.signal);
  const intent = {
    release: target.release,
    state: "run",
    generation: line.head?.order.generation ?? 0,
    beside: besideFor(line, target, { keepOld: options.keepOld, selector: selected.selector }),
    selector,
    strategy: { ...target.manifest.strategy, ...options.strategy },
    hooks: options.hooks,
    applyWithinMs: options.applyWithinMs ?? APPLY_WITHIN_MS,
    attended: options.attended,
  } as const;
  const { tell, signal } = options;
  const after = target.posted === undefined ? {} : { after: target.posted };
  return await publishOrder(operator, line, intent, { tell, implied, signal, known, ...after });
}

/** What an order is made from. */
interface Situation {
  readonly line: Line;
  readonly known: readonly KnownNode[];
  readonly former: readonly FormerNode[];
}

interface Question {
  readonly app: string;
  /** In ms since the epoch. */
  readonly at: number;
  readonly answer: Promise<Situation>;
}

function askNow(operator: Operator, app: string, { env, signal }: DeployOptions): Question {
  const both = Promise.all([readLine(operator, app, env, signal), membersAndFormer(operator, signal)]);
  return {
    app,
    at: operator.clock.now(),
    answer: both.then(([line, { members, former }]) => ({ line, known: members, former })),
  };
}

/** Asks while the release is still being found or made, where nothing of an earlier command comes first. */
async function askEarly(operator: Operator, options: DeployOptions): Promise<Question | undefined> {
  const { env, here } = options;
  const app = options.app ?? here?.manifest?.app ?? null;
  if (app === null || (await isUnsent(operator, app, env))) return undefined;
  const question = askNow(operator, app, options);
  // Told to whoever waits for it, and nobody may come to.
  question.answer.catch(() => undefined);
  return question;
}

function isFresh({ clock }: Operator, asked: Question | undefined): asked is Question {
  return asked !== undefined && !hasPassed(FRESH_MS, asked.at, clock.now());
}

export async function findTarget(operator: Operator, options: FindOptions): Promise<Target> {
  const { posted, ...target } = await beginTarget(operator, options);
  await posted;
  return target;
}

/** A target whose release may still be on its way to the hub. */
interface BegunTarget extends Target {
  readonly posted?: Promise<void>;
}

async function beginTarget(operator: Operator, options: FindOptions): Promise<BegunTarget> {
  const { env, depot, signal } = options;
  await using stack = new AsyncDisposableStack();
  const asked = await whatIsAsked(operator, options, stack);
  if (asked.kind === "source") return await make(operator, asked, options);
  const { id, release } = asked.found;
  const lost = await lostHere(asked.found, options);
  if (lost !== undefined) return await makeAnew(operator, lost, options, {});
  const near = nearTree(operator, asked.found, depot, signal);
  const manifest = await manifestOfRelease(asked.found, { depot: near, env, signal });
  return { app: release.app, release: id, commit: release.commit, manifest, size: release };
}

/** The commit of a release whose bytes the depot has lost, where that commit is here. */
async function lostHere(found: FoundRelease, options: FindOptions): Promise<Origin | undefined> {
  const { commit } = found.release;
  if (commit === null || (await isThere(found, options))) return undefined;
  return await commitHere(options.cwd, commit, options.signal);
}

/** Has the depot all of its bytes? */
const isThere = async (
  { stored, release }: FoundRelease,
  { depot, signal }: Pick<FindOptions, "depot" | "signal">,
): Promise<boolean> => stored ?? (await isStored(depot, release, signal));

/** A commit that has a release needs no building again while the depot has its bytes. */
async function make(operator: Operator, asked: AskedSource, options: FindOptions): Promise<BegunTarget> {
  const { origin, ahead, objects } = asked;
  let { unknownAt } = asked;
  if (origin.kind === "commit" && unknownAt === undefined) {
    const manifest = asked.manifest ?? (await manifestOf(origin, options));
    unknownAt = operator.clock.now();
    const found = await findRelease(operator, manifest.app, origin.commit, options.signal, WITH_TREE);
    if (found !== undefined) {
      const { id, release, droppedBuilder } = found;
      if (droppedBuilder !== undefined || !(await isThere(found, options)))
        return await makeAnew(operator, origin, options, { ahead, objects });
      const { app } = release;
      tellRelease(options.tell, operator, { app, id, release, already: true, storedBytes: 0 });
      return { app: release.app, release: id, commit: release.commit, manifest, size: release };
    }
  }
  return await makeAnew(operator, origin, options, { unknownAt, ahead, objects });
}

/** What was asked before a release is made. */
interface Before {
  readonly unknownAt?: number | undefined;
  readonly ahead?: Ahead | undefined;
  readonly objects?: AskedSource["objects"];
}

async function makeAnew(
  operator: Operator,
  origin: Origin,
  options: FindOptions,
  before: Before,
): Promise<BegunTarget> {
  const { made, manifest } = await beginBuild(operator, origin, options, before);
  const { id, release, posted } = made;
  return { app: manifest.app, release: id, commit: release.commit, manifest, size: release, posted };
}

type BuildOptions = Pick<FindOptions, "env" | "app" | "tell" | "signal" | "depot" | "accept">;

interface Built {
  readonly made: BegunRelease;
  readonly manifest: Manifest;
}

/** Builds a source and publishes it. */
export async function buildRelease(
  operator: Operator,
  origin: Origin,
  options: BuildOptions,
): Promise<Built> {
  const built = await beginBuild(operator, origin, options, {});
  await built.made.posted;
  return built;
}

async function beginBuild(
  operator: Operator,
  origin: Origin,
  options: BuildOptions,
  { unknownAt, ahead, objects }: Before,
): Promise<Built> {
  await using opened = await openAsked(operator, origin, options, objects);
  const { manifest, source } = opened;
  const { app } = manifest;
  options.accept?.(manifest);
  const made = await beginRelease(operator, {
    source,
    ahead: ahead?.app === app ? ahead : lookAhead(operator, app, options.depot, options.signal),
    unknownAt,
    signal: options.signal,
    onProgress: (progress) => options.tell({ type: "publishing", ...progress }),
  });
  for (const text of made.published.notes) options.tell({ type: "note", text });
  const { storedBytes } = made.published;
  tellRelease(options.tell, operator, { ...made, app, storedBytes });
  return { made, manifest };
}

export function selectorFor(
  asked: string | null,
  manifest: Pick<Manifest, "targets"> | null,
  line: Line,
): { readonly selector: string; readonly implied: boolean } {
  const said = asked ?? manifest?.targets ?? null;
  if (said !== null) return { selector: said, implied: false };
  const before = selectorOf(line);
  return before === undefined ? { selector: "all", implied: true } : { selector: before, implied: false };
}
