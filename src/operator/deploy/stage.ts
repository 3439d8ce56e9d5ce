import { bytesBySource } from "../../api/field-schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import {
  deedOf,
  numberOf,
  runCommand,
  whyOf,
  wordOf,
  type CommandWish,
  type NamedLine,
} from "../ask/commands.ts";
import { hereIfItIs, type FindOptions } from "./resolve-wish.ts";
import { refuseNobody, selectorFor } from "./deploy.ts";
import { findTarget, type Target } from "./target.ts";
import { announce } from "../tell/dry-run.ts";
import type { StagedNode } from "../tell/events.ts";
import { isHere, knownNodes, selectNodes } from "../nodes/nodes.ts";
import { readLine, refuseUnauthorised } from "../order/order.ts";
import type { Operator } from "../identity/operator.ts";
import { documentOf, readShown } from "../release/release.ts";
import { publishedManifest } from "../release/release-manifest.ts";
import { refuseDropped } from "./resolve-version.ts";
import { readManifest, type Origin } from "../source/source.ts";

/** How long nodes that are away may come and get it, in ms. */
export const STAGE_WITHIN_MS = { usual: 86_400_000, longest: 7 * 86_400_000 } as const;

export interface StageOptions extends FindOptions {
  /** Fetch everything anew, whatever of it the nodes have. */
  readonly full: boolean;
  /** The same by way of each node's cache, whose copy is replaced. */
  readonly throughCache: boolean;
  /** How long nodes that are away may come and get it, in ms. */
  readonly withinMs: number;
}

export interface StageResult {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  readonly nodes: readonly StagedNode[];
}

/**
 * Places a release on nodes without activating it: the one that is named, else the app's newest, else what is here,
 * made now. Resolves when every present node has ended; the others get it when they come, for as long as the command is
 * valid.
 * @throws SkeinError STAGE_FAILED naming the nodes where it did not work; NOT_AUTHORISED, SELECTION_EMPTY, and what
 *   finding and making a release throws
 */
export async function stage(operator: Operator, options: StageOptions): Promise<StageResult> {
  const { env, tell, signal } = options;
  await refuseNobody(operator, options);
  const target = await stageTarget(operator, options);
  const { app, release } = target;
  refuseUnauthorised(operator, { app, env });
  const asked = documentOf(operator, app, release, signal);
  // A dry run does not come to it, and knows releases that the hub does not have.
  asked.catch(() => undefined);
  const [line, known] = await Promise.all([
    readLine(operator, app, env, signal),
    knownNodes(operator, signal),
  ]);
  const { selector, implied } = selectorFor(options.selector, target.manifest, line);
  const { nodes } = selectNodes(known, selector);
  const absent = nodes.filter((node) => !isHere(node)).map(({ identity }) => identity.name);
  const names = nodes.map(({ identity }) => identity.name);
  tell({ type: "selection", app, env, selector, nodes: names, absent, implied });
  const args = { release, ...flagsOf(options) };
  const wish = { kind: "stage", app, env, args, nodes, validMs: options.withinMs };
  announce(operator, () => deedOf(wish));
  const document = JSON.stringify((await asked).document);
  const ended = await follow(operator, { ...wish, args: { ...args, document } }, options);
  const rows = nodes.map(({ identity }) => ended.get(identity.name) ?? later(identity.name));
  const failed = rows.filter(({ outcome }) => outcome === "failed");
  if (failed.length > 0) throw stageFailed(target, rows, failed);
  return { app, env, release, nodes: rows };
}

/** What is not asked for is not signed: agents that do not know it need not. */
const flagsOf = ({ full, throughCache }: StageOptions): Record<string, boolean> => ({
  ...(full ? { full } : {}),
  ...(throughCache ? { throughCache } : {}),
});

type StageTarget = Pick<Target, "app" | "release" | "manifest"> & { readonly commit?: string | null };

/** The newest release is what a word less means, and often not what lies here. */
function tellOther(
  { app, origin }: AppHere,
  { release, commit = null }: StageTarget,
  { env, tell }: StageOptions,
): void {
  if (origin.kind !== "commit" || origin.commit === commit) return;
  tell({
    type: "note",
    text: `${shortRelease(app, release)} is the newest release; HEAD here is another commit: skein cp ${appAsTyped(app, env)} HEAD`,
  });
}

async function stageTarget(operator: Operator, options: StageOptions): Promise<StageTarget> {
  if (options.version === null && options.from === null) {
    const here = options.app === null ? await appHere(options) : undefined;
    const app = options.app ?? here?.app ?? null;
    const latest = app === null ? undefined : await latestRelease(operator, app, options);
    if (latest !== undefined) {
      if (here !== undefined) tellOther(here, latest, options);
      return latest;
    }
  }
  return await findTarget(operator, options);
}

interface AppHere {
  readonly app: string;
  readonly origin: Origin;
}

async function appHere(options: StageOptions): Promise<AppHere | undefined> {
  const here = await hereIfItIs(null, options);
  if (here === undefined) return undefined;
  const { app } = await readManifest(here.origin, { env: options.env, signal: options.signal });
  return { app, origin: here.origin };
}

async function latestRelease(
  operator: Operator,
  app: string,
  { env, depot, signal }: StageOptions,
): Promise<StageTarget | undefined> {
  const [view] = await operator.client.releases({ app, limit: 1 }, signal);
  if (view === undefined) return undefined;
  const found = readShown(operator, app, view.release);
  const { id, release } = found;
  if (release.app !== app) return undefined;
  refuseDropped(found, id.slice(0, 8));
  const manifest = await publishedManifest(operator, found, { depot, env, signal });
  return { app, release: id, manifest, commit: release.commit };
}

/** Listens until every node that is present has ended; the command itself stays. */
async function follow(
  operator: Operator,
  wish: CommandWish,
  { tell, signal }: StageOptions,
): Promise<ReadonlyMap<string, StagedNode>> {
  const waiting = new Set(wish.nodes.filter(isHere).map(({ identity }) => identity.name));
  const ended = new Map<string, StagedNode>();
  const counts = new Map<string, NamedLine>();
  for await (const line of runCommand(operator, wish, signal)) {
    if (line.type === "progress") tell({ type: "staging", ...progressOf(line) });
    if (line.type === "staged") counts.set(line.name, line);
    if (line.type === "result" || (line.type === "cut" && waiting.has(line.name))) {
      const row = line.type === "cut" ? later(line.name) : rowOf(line, counts.get(line.name));
      ended.set(line.name, row);
      tell({ type: "staged", ...row });
      waiting.delete(line.name);
    }
    if (waiting.size === 0) break;
  }
  return ended;
}

function progressOf(line: NamedLine): {
  node: string;
  stage: string;
  bytesDone: number;
  bytesTotal: number;
} {
  return {
    node: line.name,
    stage: wordOf(line, "stage"),
    bytesDone: numberOf(line, "bytesDone"),
    bytesTotal: numberOf(line, "bytesTotal"),
  };
}

function rowOf(line: NamedLine, counts: NamedLine | undefined): StagedNode {
  const ok = line["ok"] === true;
  return {
    node: line.name,
    outcome: ok ? "staged" : "failed",
    already: counts?.["already"] === true,
    bytesFetched: counts === undefined ? 0 : numberOf(counts, "bytesFetched"),
    sources: bytesBySource.safeParse(counts?.["sources"]).data ?? {},
    code: ok ? null : wordOf(line, "code"),
    message: ok ? null : whyOf(line),
  };
}

const later = (node: string): StagedNode => ({
  node,
  outcome: "later",
  already: false,
  bytesFetched: 0,
  sources: {},
  code: null,
  message: null,
});

function stageFailed(
  { app, release }: StageTarget,
  nodes: readonly StagedNode[],
  failed: readonly StagedNode[],
): SkeinError {
  const [first] = failed;
  const what = `${shortRelease(app, release)} could not be placed on ${failed.length} of ${nodes.length} nodes`;
  return new SkeinError("STAGE_FAILED", what, {
    data: {
      app,
      release,
      nodes,
      cause: first?.code,
      lines: failed.map(({ node, code, message }) => `${node}: ${code} ${message}`),
    },
  });
}
