import type { PortEntry, ReleaseView } from "../../api/schemas.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { knownNodes, selectNodes, type KnownNode } from "../../operator/nodes/nodes.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import { isMeant, portChanges, portKey } from "../../operator/view/port-changes.ts";
import { saidVersions } from "../../operator/view/said-versions.ts";
import * as views from "../../operator/view/views.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { appOrSelector, appWord, listing, usage } from "../command/grammar.ts";
import { columns, oneLine } from "../terminal/io.ts";
import { progress } from "../terminal/progress.ts";
import { INTERRUPTED_EXIT } from "../terminal/report-error.ts";
import { leaveWithReader } from "../terminal/reader-gone.ts";
import { nodeLines } from "../node/node-bodies.ts";
import { appLines, statusLines } from "./status-lines.ts";
import { foundNamed } from "../command/release-named.ts";

export interface PortFlags {
  readonly by?: string;
}

export async function list(context: Context, word: string | undefined): Promise<Result> {
  const operator = await context.operator();
  const what = listing(word);
  if (what.kind === "versions") return await versions(context);
  const nodes = await nodesMeant(context, operator);
  if (what.kind === "nodes") return printed(context, nodeLines(nodes), { nodes });
  const known = await statusHere(context, operator, null);
  if (what.kind === "all") {
    const apps = heldIn(context, known);
    const lines = [
      ...appLines(apps),
      ...(apps.length > 0 && nodes.length > 0 ? [""] : []),
      ...nodeLines(nodes),
    ];
    return printed(context, lines, { apps, nodes });
  }
  const names = nodes.flatMap(({ identity }) => [identity.name, ...Object.keys(identity.labels)]);
  if (appOrSelector(what.word, { apps: known.map(({ app }) => app), names }) === "app") {
    return await releases(context, what.word, "20");
  }
  const { nodes: selected } = selectNodes(nodes, what.word);
  return printed(context, nodeLines(selected), { nodes: selected });
}

/** All nodes, or those that `--on` names. @throws SkeinError SELECTION_EMPTY, SELECTOR_BAD, NODE_NOT_FOUND */
async function nodesMeant({ globals, signal }: Context, operator: Operator): Promise<readonly KnownNode[]> {
  const nodes = await knownNodes(operator, signal);
  return globals.on === undefined ? nodes : selectNodes(nodes, globals.on).nodes;
}

/** The same by name; undefined: all, and nobody was asked. */
async function namesMeant(context: Context, operator: Operator): Promise<ReadonlySet<string> | undefined> {
  if (context.globals.on === undefined) return undefined;
  return new Set((await nodesMeant(context, operator)).map(({ identity }) => identity.name));
}

async function statusHere(
  context: Context,
  operator: Operator,
  app: string | null,
): Promise<views.AppStatus[]> {
  const names = await namesMeant(context, operator);
  const apps = await views.statusOf(operator, app, context.globals.env ?? null, context.signal);
  if (names === undefined) return apps;
  const here = apps.map((one) => ({ ...one, nodes: one.nodes.filter(({ node }) => names.has(node)) }));
  return here.filter(({ nodes }) => nodes.length > 0);
}

/** What nobody named, and of which nothing is left, is not shown: it would be for ever. */
const heldIn = (
  { globals }: Context,
  apps: readonly views.AppStatus[],
  named: string | null = null,
): readonly views.AppStatus[] =>
  named === null && globals.env === undefined ? apps.filter(({ held }) => held) : apps;

function printed(context: Context, lines: readonly string[], data: Result): Result {
  for (const line of lines) context.io.print(line);
  const { env } = context.globals;
  if (lines.length === 0) context.io.say(env === undefined ? "Nothing yet." : `Nothing in ${env} yet.`);
  return data;
}

async function versions(context: Context): Promise<Result> {
  const operator = await context.operator();
  const app = context.globals.app ?? null;
  const apps = heldIn(context, await statusHere(context, operator, app), app);
  const rows = apps.flatMap(({ app: name, env, nodes }) =>
    nodes.flatMap(({ node, release, state, beside, staged }) =>
      [
        [release, state] as const,
        ...beside.map((id) => [id, "beside"] as const),
        ...staged.map((id) => [id, "staged"] as const),
      ].map(([id, how]) => [node, `${name}/${env}`, id === null ? "-" : shortRelease(name, id), how]),
    ),
  );
  return printed(context, rows.length === 0 ? [] : columns([["NODE", "APP", "VERSION", "STATE"], ...rows]), {
    apps,
  });
}

export async function status(context: Context, word: string | undefined): Promise<Result> {
  const app = appWord(word, context.globals.app) ?? null;
  const operator = await context.operator();
  const apps = heldIn(context, await statusHere(context, operator, app), app);
  const lines = apps.flatMap((one, i) => [...(i === 0 ? [] : [""]), ...statusLines(one)]);
  return printed(context, lines, { apps });
}

export async function releases(context: Context, word: string | undefined, limit: string): Promise<Result> {
  const operator = await context.operator();
  if (!/^[1-9]\d{0,3}$/.test(limit))
    throw usage(`${limit} is no number of releases`, "Write 1 to 9999: --limit 50.");
  const app = appWord(word, context.globals.app) ?? null;
  const found = await views.releasesOf(operator, app, Number(limit), context.signal);
  if (app !== null && found.length === 0) {
    throw new SkeinError("APP_NOT_FOUND", `there is no release of ${app}`, { data: { app } });
  }
  const apps = await statusHere(context, operator, null);
  const shown = found.map((one) => ({ ...withoutEnvelope(one), nodes: nodesWith(one, apps) }));
  const rows = shown.map((one) => [
    shortRelease(one.app, one.id),
    one.commit?.slice(0, 12) ?? "-",
    one.created,
    String(one.files),
    formatBytes(one.bytes),
    one.nodes.length === 0 ? "-" : String(one.nodes.length),
  ]);
  const heads = ["RELEASE", "COMMIT", "CREATED", "FILES", "SIZE", "RUNS ON"];
  return printed(context, rows.length === 0 ? [] : columns([heads, ...rows]), { releases: shown });
}

function withoutEnvelope({ id, app, commit, created, files, bytes }: ReleaseView) {
  return { id, app, commit, created, files, bytes };
}

/** The nodes on which a release serves, also beside another. */
function nodesWith({ app, id }: ReleaseView, apps: readonly views.AppStatus[]): readonly string[] {
  const nodes = apps.flatMap((one) => (one.app === app ? one.nodes : []));
  return nodes.filter(({ release, beside }) => release === id || beside.includes(id)).map(({ node }) => node);
}

export async function ports(context: Context, word: string | undefined, flags: PortFlags): Promise<Result> {
  if (flags.by !== undefined && flags.by !== "commit")
    throw usage(`the table is not kept by ${flags.by}`, "--by commit");
  const operator = await context.operator();
  const query = { app: appWord(word, context.globals.app) ?? null, env: context.globals.env ?? null };
  const names = await namesMeant(context, operator);
  const { ports: all } = await views.portsOf(operator, query, context.signal);
  const table = all.filter(({ nodeName }) => names?.has(nodeName) ?? true);
  if (flags.by === "commit") {
    const byCommit = views.portsByCommit(table);
    context.io.print(JSON.stringify(byCommit, undefined, 2));
    return { ports: byCommit };
  }
  return printed(context, portLines(table), { ports: table });
}

function portLines(table: readonly PortEntry[]): string[] {
  if (table.length === 0) return [];
  return columns([
    ["RELEASE", "INSTANCE", "NODE", "LISTENS", "PROTOCOL", "STATE"],
    ...table.map((entry) => portCells(entry)),
  ]);
}

const portCells = (entry: PortEntry): string[] => [
  shortRelease(entry.app, entry.release),
  entry.instance,
  entry.nodeName,
  entry.path ?? (entry.port === null ? "-" : hostPortText(entry)),
  entry.protocol ?? "-",
  `${entry.state}${entry.stale ? " (stale)" : ""}`,
];

const hostPortText = ({ host, port }: PortEntry): string =>
  `${host?.includes(":") === true ? `[${host}]` : (host ?? "*")}:${port ?? ""}`;

/** The table, then each change of it: `+` for an entry that came or is another now, `-` for one that went. */
export async function watchPorts(context: Context): Promise<Result> {
  const { io, globals, signal } = context;
  const operator = await context.operator();
  const wish = {
    app: appWord(undefined, globals.app) ?? null,
    env: globals.env ?? null,
    names: await namesMeant(context, operator),
  };
  const { ports: all, revision } = await views.portsOf(operator, wish, signal);
  const table = { ports: all.filter((entry) => isMeant(entry, wish)), revision };
  for (const line of portLines(table.ports)) io.print(line);
  for (const value of table.ports) io.event({ revision, type: "port", key: portKey(value), value });
  using _ = leaveWithReader();
  const { tell } = progress(io);
  const text =
    "The hub has forgotten some of the changes: the table is read anew, what is other in it follows.";
  const onGap = (): void => tell({ type: "note", text });
  for await (const { event, entry } of portChanges(operator, table, wish, { signal, onGap })) {
    io.event({ ...event, type: "port" });
    io.print(`${event.value === null ? "-" : "+"} ${oneLine(portCells(entry).join("  "))}`);
  }
  // Who follows ends that with Ctrl-C, as asked: nothing is to be said of it.
  if (isSkeinError(signal.reason, "INTERRUPTED")) return { exit: INTERRUPTED_EXIT };
  throw signal.reason;
}

export async function check(
  context: Context,
  word: string | undefined,
  version: string | undefined,
): Promise<Result> {
  const operator = await context.operator();
  const app = await appHere(context, word);
  const wish = { app, env: context.env, selector: context.globals.on ?? null };
  const found = await views.running(operator, wish, context.signal);
  const ids = found.map(({ release }) => release);
  const said = await saidVersions(operator, wish, ids, context.signal);
  const running = found.map((one) => ({ ...one, version: said.get(one.node) ?? null }));
  if (version !== undefined) return await compared(context, app, version, running);
  const rows = running.map((one) => [
    one.node,
    one.release === null ? "nothing" : shortRelease(app, one.release),
    one.version ?? one.commit ?? "-",
    one.present ? "" : "absent",
  ]);
  return printed(context, columns(rows), { app, running });
}

type Checked = views.Running & {
  /** What the manifest's `version` printed there. */
  readonly version: string | null;
};

/** @throws SkeinError VERSION_DIFFERS, RELEASE_NOT_FOUND */
async function compared(
  context: Context,
  app: string,
  version: string,
  running: readonly Checked[],
): Promise<Result> {
  const isSaid = running.some((one) => one.version !== null);
  const wanted = await foundNamed(context, app, version).catch((err: unknown) => {
    if (isSaid && isSkeinError(err, "RELEASE_NOT_FOUND")) return undefined;
    throw err;
  });
  const release = wanted?.id ?? null;
  const others = running.filter(
    (one) => one.version !== version && (release === null || one.release !== release),
  );
  if (others.length === 0) return printed(context, ["OK"], { app, release, running });
  const name = release === null ? `${app} ${version}` : shortRelease(app, release);
  const differs = others.map((one) => {
    const what = one.version ?? (one.release === null ? "nothing" : shortRelease(app, one.release));
    return `${one.node}: ${what}`;
  });
  const typed = appAsTyped(app, context.env);
  throw new SkeinError("VERSION_DIFFERS", `${others.length} of ${running.length} nodes do not run ${name}`, {
    hint:
      release === null
        ? `See what runs: skein check ${typed}`
        : `Deploy it: skein deploy ${typed} ${release.slice(0, 8)}`,
    data: { app, release, version, lines: differs, running },
  });
}
