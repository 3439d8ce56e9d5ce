import { createWriteStream } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { topText, type BucketFiles } from "../../bucket/files.ts";
import { revisionOf, revisionWord } from "../../bucket/layout.ts";
import { isSkeinError, SkeinError, toSkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { openAsked } from "../deploy/resolve-wish.ts";
import { scratch } from "../source/source.ts";
import { lineOf } from "./bucket-order.ts";
import { lookAt, type BucketOperator } from "./bucket-operator.ts";
import { meantRelease, releaseToBucket } from "./bucket-releases.ts";
import { jumpMaster } from "./master.ts";
import { markedRevision, oldRevisions, type OldRevision } from "./old-ftl.ts";

export interface ImportOptions {
  /** Only these, as FTL calls them; empty: all. */
  readonly packages: readonly string[];
  readonly env: string;
  readonly onImported: (imported: Imported) => void;
  readonly signal: AbortSignal;
}

export interface Imported {
  /** `my_site.2014061252143ab` */
  readonly from: string;
  /** `my_site.20140612142903000-3f9c2ab1`; null: it was refused. */
  readonly to: string | null;
  /** It is the active one, and was ordered. */
  readonly active: boolean;
  /** Why it was refused. */
  readonly trouble: SkeinError | null;
}

/**
 * Takes FTL's revisions over, oldest first and under the time they were spooled at, and orders what was active there.
 * Begun anew it does again nothing that was done. What an archive may not hold is refused revision by revision.
 * @throws SkeinError NOT_FOUND where there are none, and what the buckets throw
 */
export async function importFtl(
  operator: BucketOperator,
  old: BucketFiles,
  options: ImportOptions,
): Promise<readonly Imported[]> {
  const found = [...oldRevisions(await old.list("", options.signal))].filter(
    ([name]) => options.packages.length === 0 || options.packages.includes(name),
  );
  if (found.length === 0) {
    const [only] = options.packages;
    const asked = only === undefined ? "" : ` of ${options.packages.join(", ")}`;
    throw new SkeinError("NOT_FOUND", `there is no revision of FTL's${asked} in that bucket`, {
      hint: "FTL's are called PACKAGE.REVISION, PACKAGE.REVISION.tar.gz and so on, at the top of the bucket.",
      data: { packages: options.packages },
    });
  }
  const imported: Imported[] = [];
  for (const [name, revisions] of found)
    imported.push(...(await importPackage(operator, old, name, revisions, options)));
  return imported;
}

async function importPackage(
  operator: BucketOperator,
  old: BucketFiles,
  name: string,
  revisions: readonly OldRevision[],
  options: ImportOptions,
): Promise<readonly Imported[]> {
  const { signal, env, onImported } = options;
  const taken = new Map<string, string>();
  const done: Imported[] = [];
  // Where names tell no time, they follow each other by a millisecond, before those that do.
  const firstMs = revisions.find(({ madeMs }) => madeMs !== null)?.madeMs ?? operator.clock.now();
  for (const [n, one] of revisions.entries()) {
    const from = `${name}.${one.revision}`;
    const createdMs = one.madeMs ?? firstMs - (revisions.length - n);
    const to = await importOne(operator, old, one, createdMs, signal).catch((err: unknown) => {
      signal.throwIfAborted();
      if (isSkeinError(err, "ARCHIVE_REFUSED", "TREE_REFUSED") || isManifest(err)) return toSkeinError(err);
      throw err;
    });
    const trouble = to instanceof SkeinError ? to : null;
    if (!(to instanceof SkeinError)) taken.set(one.revision, to);
    done.push({ from, to: to instanceof SkeinError ? null : to, active: false, trouble });
  }
  const active = await orderActive(operator, old, name, taken, { env, signal });
  const all = done.map((one) => ({ ...one, active: one.to !== null && one.to === active }));
  for (const one of all) onImported(one);
  return all;
}

const isManifest = (err: unknown): boolean => isSkeinError(err, "MANIFEST_INVALID", "MANIFEST_LATER");

async function importOne(
  operator: BucketOperator,
  old: BucketFiles,
  { package: named, file }: OldRevision,
  createdMs: number,
  signal: AbortSignal,
): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const at = path.join(scratch(stack), file);
  await pipeline(Readable.from(old.get(file, signal)), createWriteStream(at, { mode: 0o600 }), { signal });
  const { app, name } = named;
  const tell = (): void => undefined;
  const opening = { env: "default", app, tell, signal };
  await using opened = await openAsked(operator, { kind: "path", path: at }, opening);
  const { root } = await lookAt(operator.bucket, signal);
  const { place } = await releaseToBucket(
    { ...operator, root },
    { app, source: opened.source, createdMs, tell, signal },
  );
  return `${name}.${revisionOf(place)}`;
}

/** What was active before comes first, so that it may be gone back to. A package that was ordered here is left alone. */
async function orderActive(
  operator: BucketOperator,
  old: BucketFiles,
  name: string,
  taken: ReadonlyMap<string, string>,
  { env, signal }: Pick<ImportOptions, "env" | "signal">,
): Promise<string | undefined> {
  const marked = async (mark: string): Promise<string | undefined> => {
    const text = await topText(old, `${name}.${mark}`, signal);
    return taken.get(markedRevision(name, text ?? "") ?? "");
  };
  const active = (await marked("current")) ?? (await marked("rev"));
  const previous = await marked("previous");
  if (active === undefined) return undefined;
  const { app } = revisionWord(active).package;
  const idOf = async (one: string): Promise<ReleaseId> => {
    const { package: named, revision } = revisionWord(one);
    return (await meantRelease(operator, { ...named, revision }, signal)).place.id;
  };
  const { head } = await lineOf(operator, { app, env }, signal);
  const jump = { env, selector: "all", spreadMs: 0, signal };
  const all = previous === undefined || previous === active ? [active] : [previous, active];
  if (head === null) {
    for (const one of all) await jumpMaster(operator, revisionWord(one), jump);
    return active;
  }
  const { release, prev } = head.order;
  if (release === (await idOf(active))) return active;
  // The first of the two orders, and no other: an import was cut off between them.
  if (prev !== null || release !== (await idOf(all[0] ?? active))) return undefined;
  await jumpMaster(operator, revisionWord(active), jump);
  return active;
}
