import path from "node:path";
import { httpDepot } from "../../depot/http/http-depot.ts";
import type { RevisionWord } from "../../bucket/layout.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { shortRelease } from "../../lib/text/ids.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { cacheNodes, fetchInto, heldOn, onCaches } from "../../operator/cache/far-cache.ts";
import {
  blobsOf,
  cacheHere,
  diffTree,
  forgetGone,
  getTree,
  putSource,
  putTree,
} from "../../operator/cache/local-cache.ts";
import { announce } from "../../operator/tell/dry-run.ts";
import { cachedNames, nameIfThere, type CachedName } from "../../operator/cache/names.ts";
import { numberOf } from "../../operator/ask/commands.ts";
import type { KnownNode } from "../../operator/nodes/nodes.ts";
import { openSource, type OpenedSource } from "../../operator/source/source.ts";
import { seesRetired } from "../../release/upkeep/retired.ts";
import { checkCache, collectCache } from "../../release/upkeep/cache-contents.ts";
import { cacheGcWords, cacheSubject, revisionMeant, type CacheGcFlags } from "./cache-words.ts";
import {
  asBuilt,
  bring,
  diffFar,
  persistFrom,
  repairFar,
  sendTo,
  theOne,
  throwTrouble,
  updated,
  updateFar,
} from "./far-bodies.ts";
import type { Context, Result } from "../command/context.ts";
import { usage } from "../command/grammar.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { columns } from "../terminal/io.ts";
import { foundNamed } from "../command/release-named.ts";
import { refuseStandard } from "../command/standard-streams.ts";

export interface CacheFlags {
  readonly address?: string;
  readonly rebuild?: boolean;
  readonly s3Bucket?: string;
}

/** The nodes whose caches are meant; null: this machine's. */
async function nodesMeant(context: Context, { address }: CacheFlags): Promise<readonly KnownNode[] | null> {
  const { on } = context.globals;
  if (address === undefined && on === undefined) return null;
  if (address !== undefined && on !== undefined)
    throw usage("--address and --on both say whose cache", "Leave one of them out.");
  return await cacheNodes(await context.operator(), { address, on }, context.signal);
}

export async function list(context: Context, flags: CacheFlags): Promise<Result> {
  const { io, paths, signal } = context;
  const nodes = await nodesMeant(context, flags);
  if (nodes !== null) {
    const { done, trouble } = await heldOn(await context.operator(), nodes, [], signal);
    for (const { node, blobs, bytes } of done) io.print(`${node}  ${blobs} blobs  ${formatBytes(bytes)}`);
    if (trouble !== null) throw trouble;
    return { nodes: done.map(({ node, blobs, bytes }) => ({ node, blobs, bytes })) };
  }
  const names = await cachedNames(paths);
  const blobs = await cacheHere(paths).blobs();
  const bytes = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
  for (const line of columns(names.map(({ name, tree }) => [name, tree.slice(0, 12)]))) io.print(line);
  io.print(`${blobs.length} blobs  ${formatBytes(bytes)}`);
  return { names, blobs: blobs.length, bytes };
}

export async function put(context: Context, words: readonly string[], flags: CacheFlags): Promise<Result> {
  const { io, paths, signal } = context;
  const nodes = await nodesMeant(context, flags);
  const revision = nodes === null ? revisionMeant(words, hasBucket({})) : undefined;
  if (revision !== undefined) return await putRevision(context, revision);
  const subject = cacheSubject(words);
  if (subject.kind === "path") {
    const kept = await putPath(context, subject.path);
    const sent = nodes === null ? null : await sendTo(context, [kept], nodes);
    io.print(`${kept.name}  ${kept.tree.slice(0, 12)}`);
    throwTrouble(sent);
    return { ...kept };
  }
  const operator = await context.operator();
  const { id, release } = await foundNamed(context, subject.app, subject.version);
  const depot = httpDepot(operator.client);
  const name = `${subject.app}@${id.slice(0, 8)}`;
  if (nodes === null) await putTree(paths, name, release, depot, signal);
  else throwTrouble(await fetchInto(operator, nodes, await blobsOf(depot, release, signal), signal));
  io.print(`${name}  ${release.tree.slice(0, 12)}`);
  return { name, tree: release.tree, release: id };
}

/** From the bucket: no hub, and no key. */
async function putRevision(context: Context, word: RevisionWord): Promise<Result> {
  const { io, paths, signal } = context;
  const { bucketHere } = await import("../bucket/ftl-settings.ts");
  const { releaseInBucket } = await import("../bucket/release-in-bucket.ts");
  using bucket = await bucketHere({}, context, "reading");
  const { place, release } = await releaseInBucket(context, word, bucket);
  const name = shortRelease(place.app, place.id);
  await putTree(paths, name, release, seesRetired(bucket.depot), signal);
  io.print(`${name}  ${release.tree.slice(0, 12)}`);
  return { name, tree: release.tree, release: place.id };
}

async function putPath(context: Context, where: string) {
  await using opened = await sourceAt(context, where);
  return await putSource(context.paths, opened.manifest.app, opened.source, context.signal);
}

/** A folder, archive or file as it is; where its manifest says so, what is built of it. */
async function sourceAt(context: Context, where: string): Promise<OpenedSource> {
  const { cwd, env, io, paths, signal } = context;
  const origin = { kind: "path", path: path.resolve(cwd, where) } as const;
  return await openSource(origin, {
    env,
    paths,
    onLine: (line) => io.say(line),
    signal,
  });
}

export async function get(
  context: Context,
  name: string,
  to: string | undefined,
  flags: CacheFlags,
): Promise<Result> {
  refuseStandard(to, "what cache get writes");
  const nodes = await nodesMeant(context, flags);
  if (nodes !== null) await bring(context, name, nodes);
  const target = to ?? name.split("@")[0] ?? name;
  await getTree(context.paths, name, path.resolve(context.cwd, target), context.signal);
  context.io.print(`${name} is written to ${target}, every file checked`);
  return { name, to: target };
}

export async function diff(context: Context, where: string, flags: CacheFlags): Promise<Result> {
  const { io, paths, signal } = context;
  await using opened = await sourceAt(context, where);
  const name = opened.manifest.app;
  const nodes = await nodesMeant(context, flags);
  if (nodes !== null) return await diffFar(context, await putPath(context, where), nodes);
  const found = await diffTree(paths, name, opened.source, signal);
  for (const kind of ["missing", "extra", "different"] as const) {
    for (const file of found[kind]) io.print(`${kind.padEnd(9)}  ${file}`);
  }
  const count = found.missing.length + found.extra.length + found.different.length;
  if (count === 0) io.say(`${name} in the cache is what is here.`);
  return { name, ...found, ...(count === 0 ? {} : { exit: 10 }) };
}

export async function update(context: Context, where: string, flags: CacheFlags): Promise<Result> {
  const { io, paths } = context;
  const nodes = await nodesMeant(context, flags);
  const before = await nameIfThere(paths, (await appAt(context, where)) ?? "-");
  const kept = await putPath(context, where);
  if (nodes !== null) return await updateFar(context, kept, nodes);
  const changed = before?.tree !== kept.tree;
  io.print(`${kept.name}  ${kept.tree.slice(0, 12)}  ${updated(changed)}`);
  return { ...kept, changed };
}

async function appAt(context: Context, where: string): Promise<string | undefined> {
  const { readManifest } = await import("../../operator/source/source.ts");
  const origin = { kind: "path", path: path.resolve(context.cwd, where) } as const;
  return (await readManifest(origin, { env: context.env, signal: context.signal })).app;
}

export async function repair(
  context: Context,
  named: string | undefined,
  flags: CacheFlags,
): Promise<Result> {
  const { io, paths, signal } = context;
  if (named !== undefined && flags.rebuild !== true)
    throw usage("a path is what --rebuild builds from", "Add --rebuild, or leave the path out.");
  const where = named ?? ".";
  const nodes = await nodesMeant(context, flags);
  if (nodes !== null) {
    const built = flags.rebuild === true ? await putPath(context, where) : undefined;
    return await repairFar(context, nodes, built);
  }
  const { checked, damaged } = await checkCache(cacheHere(paths), signal);
  for (const name of damaged) io.print(`damaged, removed  ${name}`);
  const rebuilt = flags.rebuild === true ? await rebuild(context, where) : {};
  const mended = await mend(context, damaged);
  io.print(`${checked} blobs read, ${damaged.length} damaged, ${mended} fetched anew`);
  return { checked, damaged, mended, ...rebuilt };
}

/** What is built from scratch is put in where it differs. */
async function rebuild(context: Context, where: string): Promise<Result> {
  const { io, paths } = context;
  const before = await nameIfThere(paths, (await appAt(context, where)) ?? "-");
  const { name, tree } = await putPath(context, where);
  const same = before?.tree === tree;
  io.print(`${name}  ${tree.slice(0, 12)}  ${asBuilt(same)}`);
  return { name, tree, same };
}

/** From the hub, where this machine knows one; else a damaged blob is fetched when it is needed. */
async function mend(context: Context, damaged: readonly string[]): Promise<number> {
  if (damaged.length === 0) return 0;
  const { configIfThere } = await import("../../operator/identity/home.ts");
  if ((await configIfThere(context.paths)) === undefined) return 0;
  const { cached } = await import("../../depot/cache/cached.ts");
  const depot = cached({ near: cacheHere(context.paths), far: httpDepot((await context.operator()).client) });
  let mended = 0;
  for (const name of damaged) {
    try {
      for await (const _ of depot.get(name, context.signal)) void _;
      mended += 1;
    } catch (err) {
      if (!isSkeinError(err, "BLOB_MISSING")) throw err;
    }
  }
  return mended;
}

/** An address of a bucket, rather than a node's or a bucket's plain name. */
const BUCKET = /^(s3:\/\/|dir:|\/|\.)/i;

/** From this machine's cache, or the one that is meant. Where nothing else says where to, the nodes that are meant are it. */
export async function persist(context: Context, to: string | undefined, flags: CacheFlags): Promise<Result> {
  const { io, paths } = context;
  const target = targetNamed(flags, to);
  const meant = await nodesMeant(context, flags);
  if (target === undefined && meant === null)
    throw usage("send it where?", "skein cache persist NODE, or --s3-bucket BUCKET.");
  const names = await cachedNames(paths);
  if (names.length === 0) throw usage("nothing was put into the cache", "skein cache put");
  const from = target === undefined || meant === null ? null : theOne(meant);
  if (target !== undefined && BUCKET.test(target)) return await persistTo(context, target, names, from);
  const nodes = await cacheNodes(
    await context.operator(),
    target === undefined ? { address: flags.address, on: context.globals.on } : { address: target },
    context.signal,
  );
  const { sent, bytes, done, trouble } = await sendTo(context, names, nodes, from);
  for (const { identity } of done)
    io.print(`${identity.name}  has ${names.map(({ name }) => name).join(", ")}`);
  throwTrouble({ trouble });
  return { to: done.map(({ identity }) => identity.name), sent, bytes };
}

/** @throws SkeinError USAGE */
function targetNamed({ s3Bucket }: CacheFlags, to: string | undefined): string | undefined {
  if (s3Bucket === undefined) return to;
  if (to !== undefined) throw usage(`${to} and --s3-bucket both say where to`, "Leave one of them out.");
  return BUCKET.test(s3Bucket) ? s3Bucket : `s3://${s3Bucket}`;
}

async function persistTo(
  context: Context,
  target: string,
  names: readonly CachedName[],
  from: KnownNode | null,
): Promise<Result> {
  const { openBucket } = await import("../../bucket/bucket.ts");
  using opened = await openBucket(target, { env: process.env, writing: true, signal: context.signal });
  const { sent, bytes } = await persistFrom(context, from, names, opened.depot);
  context.io.print(`${opened.name}  ${sent} blobs sent  ${formatBytes(bytes)}`);
  return { to: opened.name, sent, bytes };
}

export async function flush(context: Context, flags: CacheFlags): Promise<Result> {
  return await freed(context, flags, "cache-flush", {}, async () => {
    const cache = cacheHere(context.paths);
    const held = (await cache.blobs()).reduce((sum, { bytes }) => sum + bytes, 0);
    announce(context, () => ({
      text: `${formatBytes(held)} would be freed`,
      data: { deed: "cache-flush", bytes: held },
    }));
    return { bytes: await cache.shrinkTo(0) };
  });
}

export async function gc(
  context: Context,
  words: readonly string[],
  flags: CacheFlags & CacheGcFlags,
): Promise<Result> {
  const { count, older } = flags;
  const given = { ...(count === undefined ? {} : { count }), ...(older === undefined ? {} : { older }) };
  const wish = { ...cacheGcWords(words, given, Date.now()), dry: context.globals.dryRun === true };
  return await freed(context, flags, "cache-gc", wish, async () => {
    const { removed, bytes } = await collectCache(cacheHere(context.paths), wish, context.signal);
    return { bytes, blobs: removed.length };
  });
}

async function freed(
  context: Context,
  flags: CacheFlags,
  kind: string,
  args: Record<string, number | boolean>,
  here: () => Promise<{ readonly bytes: number; readonly blobs?: number }>,
): Promise<Result> {
  const nodes = await nodesMeant(context, flags);
  const word = args["dry"] === true ? "would be freed" : "freed";
  if (nodes === null) {
    const done = await here();
    if (context.dryRun === undefined) await forgetGone(context.paths, context.signal);
    context.io.print(`${formatBytes(done.bytes)} ${word}`);
    return { ...done };
  }
  const operator = await context.operator();
  const { done, trouble } = await onCaches(operator, nodes, kind, args, context.signal);
  const rows = done.map(({ node, lines }) => {
    const bytes = lines.reduce((sum, line) => sum + numberOf(line, "bytes"), 0);
    context.io.print(`${node}  ${formatBytes(bytes)} ${word}`);
    return { node, bytes };
  });
  if (trouble !== null) throw trouble;
  return { nodes: rows };
}
