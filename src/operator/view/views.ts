import type { AppOnNode, AppSummary, PortEntry, ReleaseView } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { fewAtOnce } from "../../lib/async/few-at-once.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { parseSelector } from "../../trust/document/selector.ts";
import { nodesOf, type AppSelection } from "../ask/ask.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import { noApp, orderInForce, readLine, type Line } from "../order/order.ts";
import type { Operator } from "../identity/operator.ts";
import { holds, nodeStatus, otherReleases, withAnswer, type NodeStatus } from "./node-status.ts";

export interface AppStatus {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  /** `stopped` where no node is to run it: one that was stopped by itself makes the app no stopped one. */
  readonly state: "run" | "stopped";
  readonly phase: string;
  readonly issued: string;
  /** The newest order is not settled yet. */
  readonly unsettled: boolean;
  /** What nodes are to run: the newest order's, or, where that was taken back, the standing one's. null: nothing. */
  readonly inForce: ReleaseId | null;
  /** Is anything in force, or does any node have anything of it? Else only a mistake is left of it, or of a stop. */
  readonly held: boolean;
  readonly nodes: readonly NodeStatus[];
  /** Who signed the order in force and was dropped by a charter since; absent: nobody. */
  readonly droppedSigner?: string;
}

/** Every app, or one, and how it is on its nodes. @throws SkeinError APP_NOT_FOUND */
export async function statusOf(
  operator: Operator,
  app: string | null,
  env: string | null,
  signal: AbortSignal,
): Promise<AppStatus[]> {
  const [{ apps }, { ports }] = await Promise.all([
    operator.client.apps(signal),
    portTable(operator, { app, env }, signal),
  ]);
  const wanted = appsNamed(apps, { app, env });
  return await fewAtOnce(wanted, async (one) => await appStatus(operator, one, ports, signal));
}

/** @throws SkeinError APP_NOT_FOUND */
function appsNamed(
  apps: readonly AppSummary[],
  { app, env }: { readonly app: string | null; readonly env: string | null },
): readonly AppSummary[] {
  const found = apps.filter((one) => (app === null || one.app === app) && (env === null || one.env === env));
  if (app === null || found.length > 0) return found;
  const elsewhere = apps.filter((one) => one.app === app).map((one) => one.env);
  throw noApp({ app, env, elsewhere }, { apps: [...new Set(apps.map((one) => one.app))] });
}

async function appStatus(
  operator: Operator,
  summary: AppSummary,
  ports: readonly PortEntry[],
  signal: AbortSignal,
): Promise<AppStatus> {
  const { app, env, release, state, phase, issued, head } = summary;
  const line = await readLine(operator, app, env, signal);
  const { standing, view } = line;
  const serving = ports.filter((one) => one.app === app && one.env === env && one.state === "serving");
  const order = orderInForce(line)?.order;
  const selector = order === undefined ? undefined : parseSelector(order.selector);
  const inForce = order === undefined || order.state === "stopped" ? null : order.release;
  const there = view?.nodes ?? [];
  const seen = there.map((node) => nodeStatus(node, { place: line, inForce, selector, serving }));
  const nodes = (await withAnswers(operator, summary, seen, signal)).toSorted(byNode);
  return {
    app,
    env,
    release,
    state: isOfSome(line) && nodes.some((node) => node.release !== null) ? "run" : state,
    phase,
    issued,
    unsettled: head !== (standing?.digest ?? null),
    inForce,
    held: inForce !== null || there.some((node) => holds(node, line)),
    nodes,
    ...signerOf(line),
  };
}

/** With what they said to the newest order, which nobody is asked where all is as it says. */
async function withAnswers(
  { client }: Pick<Operator, "client">,
  { head, phase }: AppSummary,
  nodes: readonly NodeStatus[],
  signal: AbortSignal,
): Promise<readonly NodeStatus[]> {
  if (phase === "ok" && nodes.every(({ current }) => current)) return nodes;
  try {
    const { nodes: said } = await client.rollout(head, signal);
    const answers = new Map(said.map((node) => [node.name, node]));
    return nodes.map((one) => withAnswer(one, answers.get(one.node)));
  } catch (err) {
    if (isSkeinError(err, "NOT_FOUND")) return nodes;
    throw err;
  }
}

function signerOf(line: Line): Pick<AppStatus, "droppedSigner"> {
  const { droppedSigner } = orderInForce(line) ?? line.head ?? {};
  return droppedSigner === undefined ? {} : { droppedSigner };
}

/** Was the newest order for some of the app's nodes alone? Then it says nothing of the others. */
const isOfSome = ({ head, whole, takenBack }: Line): boolean =>
  !takenBack && whole !== null && whole.digest !== head?.digest;

/** What a node runs, as it says itself, and which other releases serve there as well. */
export async function appsOf(
  operator: Operator,
  node: KnownNode,
  signal: AbortSignal,
): Promise<(AppOnNode & Pick<NodeStatus, "beside">)[]> {
  const { ports } = await portTable(operator, { app: null, env: null }, signal);
  const serving = ports.filter(({ state }) => state === "serving");
  return node.apps.map((own) => {
    const same = serving.filter(({ app, env }) => app === own.app && env === own.env);
    return { ...own, beside: otherReleases(same, node.identity.node, own.release) };
  });
}

const byNode = (a: NodeStatus, b: NodeStatus): number => compare(a.node, b.node);

/** `n2` before `n10`. */
const compare = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

/** Releases of one app (or of all), newest first. */
export async function releasesOf(
  operator: Operator,
  app: string | null,
  limit: number,
  signal: AbortSignal,
): Promise<ReleaseView[]> {
  return await operator.client.releases({ ...(app === null ? {} : { app }), limit }, signal);
}

/** The table as it is at a revision, from which on changes can be followed. */
export interface PortTable {
  readonly ports: readonly PortEntry[];
  readonly revision: number;
}

/** @throws SkeinError APP_NOT_FOUND for an app that was never deployed and of which nothing is left */
export async function portsOf(
  operator: Operator,
  query: { readonly app: string | null; readonly env: string | null },
  signal: AbortSignal,
): Promise<PortTable> {
  const table = await portTable(operator, query, signal);
  if (query.app !== null && table.ports.length === 0)
    appsNamed((await operator.client.apps(signal)).apps, query);
  return table;
}

/** The same, also of an app that nobody knows any more. */
export async function portTable(
  operator: Pick<Operator, "client">,
  query: { readonly app: string | null; readonly env: string | null },
  signal: AbortSignal,
): Promise<PortTable> {
  const { ports, revision } = await operator.client.ports(
    { ...(query.app === null ? {} : { app: query.app }), ...(query.env === null ? {} : { env: query.env }) },
    signal,
  );
  const sorted = ports.toSorted(
    (a, b) => compare(a.app, b.app) || compare(a.nodeName, b.nodeName) || compare(a.instance, b.instance),
  );
  return { ports: sorted, revision };
}

/** `{"<40-hex commit>": {"<process>": [{"host", "port"}]}}`: the port table as propagit's users know it. Pure. */
export function portsByCommit(
  ports: readonly PortEntry[],
): Record<string, Record<string, { host: string; port: number }[]>> {
  const open = ports.flatMap(({ commit, release, process, host, port }) =>
    host === null || port === null || port === 0
      ? []
      : [{ of: commit ?? release, process, at: { host, port } }],
  );
  // By maps: a process may be called like what every object has (`constructor`).
  const table = [...Map.groupBy(open, ({ of }) => of)].map(([of, rows]) => {
    const processes = [...Map.groupBy(rows, ({ process }) => process)];
    return [of, Object.fromEntries(processes.map(([name, all]) => [name, all.map(({ at }) => at)]))] as const;
  });
  return Object.fromEntries(table);
}

export interface Running {
  readonly node: string;
  readonly present: boolean;
  readonly release: ReleaseId | null;
  readonly commit: string | null;
}

/** What runs on each node of an app (or of a selector's part of them). */
export async function running(
  operator: Operator,
  selection: AppSelection,
  signal: AbortSignal,
): Promise<Running[]> {
  const { app, env } = selection;
  const { line, nodes } = await nodesOf(operator, selection, signal);
  const releases = line.view?.releases ?? [];
  return nodes.map((node) => {
    const release = node.apps.find((one) => one.app === app && one.env === env)?.release ?? null;
    const commit = releases.find(({ id }) => id === release)?.commit ?? null;
    return { node: node.identity.name, present: node.present, release, commit };
  });
}
