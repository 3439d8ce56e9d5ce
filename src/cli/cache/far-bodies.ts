/** What the cache's verbs do on nodes. */
import type { Depot } from "../../depot/seam/depot.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import {
  cacheOf,
  fetchInto,
  heldOn,
  onCaches,
  type CacheAnswers,
  type Held,
} from "../../operator/cache/far-cache.ts";
import { blobsOf, cachedTree, depotHere, persist, putTree } from "../../operator/cache/local-cache.ts";
import type { CachedName } from "../../operator/cache/names.ts";
import { wordOf } from "../../operator/ask/commands.ts";
import type { KnownNode } from "../../operator/nodes/nodes.ts";
import { cacheSubject } from "./cache-words.ts";
import type { Context, Result } from "../command/context.ts";
import { usage } from "../command/grammar.ts";
import { foundNamed } from "../command/release-named.ts";

/** The node that is read from. */
export function theOne(nodes: readonly KnownNode[]): KnownNode {
  const [node, ...others] = nodes;
  if (node !== undefined && others.length === 0) return node;
  throw usage(`it is read from one node, and ${nodes.length} are meant`, "Name it: --on NODE.");
}

/** From a node's cache into this machine's. */
export async function bring(context: Context, name: string, nodes: readonly KnownNode[]): Promise<void> {
  const { paths, signal } = context;
  const node = theOne(nodes);
  const subject = cacheSubject([name]);
  const tree =
    subject.kind === "path"
      ? await cachedTree(paths, name)
      : (await foundNamed(context, subject.app, subject.version)).release;
  const on = node.identity.name;
  const fetch = subject.kind === "path" ? `skein cache persist ${on}` : `skein cache put ${name} --on ${on}`;
  await telling(on, name, fetch, async () => {
    await putTree(paths, name, tree, cacheOf(await context.operator(), node), signal);
  });
}

/** What a node's cache lacks is told with the way to have it there. */
async function telling<T>(on: string, what: string, fetch: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (err) {
    if (!isSkeinError(err, "BLOB_MISSING")) throw err;
    throw new SkeinError("BLOB_MISSING", `the cache of ${on} does not hold all of ${what}`, {
      hint: `This has it fetch the rest: ${fetch}`,
      cause: err,
    });
  }
}

/** Nodes tell which blobs they hold: a source is there when all of its blobs are. */
export async function diffFar(
  context: Context,
  kept: CachedName,
  nodes: readonly KnownNode[],
): Promise<Result> {
  const { io } = context;
  const { blobs, done, trouble } = await lackingOn(context, kept, nodes);
  const rows = done.map(({ node, missing }) => {
    io.print(missing === 0 ? `${node}  same` : `${node}  missing ${missing} of ${blobs.length} blobs`);
    return { node, missing };
  });
  if (trouble !== null) throw trouble;
  return { nodes: rows, ...(rows.some(({ missing }) => missing > 0) ? { exit: 10 } : {}) };
}

async function lackingOn(
  context: Context,
  kept: CachedName,
  nodes: readonly KnownNode[],
): Promise<CacheAnswers<Held> & { readonly blobs: readonly string[] }> {
  const { paths, signal } = context;
  const blobs = await blobsOf(depotHere(paths), kept, signal);
  return { blobs, ...(await heldOn(await context.operator(), nodes, blobs, signal)) };
}

export const updated = (changed: boolean): string => (changed ? "updated" : "was up to date");
export const asBuilt = (same: boolean): string =>
  same ? "as built from scratch" : "differed from a build from scratch";

/** Each node is given what it lacks of a tree that is in the cache here. */
export async function updateFar(
  context: Context,
  kept: CachedName,
  nodes: readonly KnownNode[],
): Promise<Result> {
  const { rows, trouble } = await bringUpToDate(context, kept, nodes);
  for (const { node, changed } of rows) context.io.print(`${node}  ${updated(changed)}`);
  if (trouble !== null) throw trouble;
  return { ...kept, changed: rows.some(({ changed }) => changed), nodes: rows };
}

interface Updated {
  readonly node: string;
  /** It lacked something. */
  readonly changed: boolean;
}

async function bringUpToDate(
  context: Context,
  kept: CachedName,
  nodes: readonly KnownNode[],
): Promise<{ readonly rows: readonly Updated[]; readonly trouble: SkeinError | null }> {
  const before = await lackingOn(context, kept, nodes);
  const { done, trouble } = await sendTo(context, [kept], nodes);
  const names = new Set(done.map(({ identity }) => identity.name));
  const rows = before.done.filter(({ node }) => names.has(node));
  return { rows: rows.map(({ node, missing }) => ({ node, changed: missing > 0 })), trouble };
}

/** Reads all that nodes hold, and mends it. `built`: what was built from scratch is compared with that, and put in. */
export async function repairFar(
  context: Context,
  nodes: readonly KnownNode[],
  built?: CachedName,
): Promise<Result> {
  const { io, signal } = context;
  const { done, trouble } = await onCaches(await context.operator(), nodes, "cache-repair", {}, signal);
  const rows = done.map(({ node, lines }) => {
    const of = (type: string) =>
      lines.filter((line) => line["type"] === type).map((line) => wordOf(line, "blob"));
    const [mended, forgotten] = [of("mended"), of("forgotten")];
    const says = [
      ...(mended.length > 0 ? [`${mended.length} mended`] : []),
      ...(forgotten.length > 0 ? [`${forgotten.length} removed, nobody has them any more`] : []),
    ];
    io.print(`${node}  ${says.length === 0 ? "whole" : says.join(", ")}`);
    return { node, mended, forgotten };
  });
  const rebuilt = built === undefined ? {} : await rebuildFar(context, built, nodes);
  if (trouble !== null) throw trouble;
  return { nodes: rows, ...rebuilt };
}

async function rebuildFar(context: Context, built: CachedName, nodes: readonly KnownNode[]): Promise<Result> {
  const { rows, trouble } = await bringUpToDate(context, built, nodes);
  for (const { node, changed } of rows) context.io.print(`${node}  ${asBuilt(!changed)}`);
  if (trouble !== null) throw trouble;
  return { name: built.name, tree: built.tree, same: !rows.some(({ changed }) => changed) };
}

interface Sent {
  readonly blobs: readonly string[];
  readonly sent: number;
  readonly bytes: number;
}

/** Sends trees to a depot from this machine's cache, or from a node's. */
export async function persistFrom(
  context: Context,
  from: KnownNode | null,
  trees: readonly CachedName[],
  to: Depot,
): Promise<Sent> {
  const { paths, signal } = context;
  if (from === null) return await persist(depotHere(paths), trees, to, signal);
  const on = from.identity.name;
  const what = trees.map(({ name }) => name).join(", ");
  return await telling(on, what, `skein cache persist ${on}`, async () => {
    return await persist(cacheOf(await context.operator(), from), trees, to, signal);
  });
}

/** By way of the hub's depot: nodes fetch from where they get releases. */
export async function sendTo(
  context: Context,
  trees: readonly CachedName[],
  nodes: readonly KnownNode[],
  from: KnownNode | null = null,
): Promise<Sent & CacheAnswers<KnownNode>> {
  const operator = await context.operator();
  const sent = await persistFrom(context, from, trees, httpDepot(operator.client));
  return { ...sent, ...(await fetchInto(operator, nodes, sent.blobs, context.signal)) };
}

/** @throws what went wrong on nodes, when all is told that did not */
export function throwTrouble(answers: Pick<CacheAnswers<unknown>, "trouble"> | null): void {
  if (answers !== null && answers.trouble !== null) throw answers.trouble;
}
