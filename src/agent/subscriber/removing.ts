import path from "node:path";
import { namesUnder } from "../../bucket/entries.ts";
import { RELEASES, releasePlaceOf } from "../../bucket/layout.ts";
import { appIn, type Root } from "../../bucket/root.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import { neededBy, removeLeft, removeRelease, unlessStuck } from "../installs/gc.ts";
import { readCurrent } from "../installs/folders.ts";
import type { OpenPackage } from "./open-package.ts";
import { recordOf } from "./prefetch.ts";

/** Revisions that nobody ordered and that are kept beside what is needed. */
const SPOOLED_KEPT = 5;

export interface RemoveTools {
  readonly documents: DocumentStore;
  readonly env: string;
  readonly signal: AbortSignal;
}

/**
 * Removes what the bucket has no more, after its pre-remove: a purge reaches every node at its next sync. What is
 * active, ordered, held or may be gone back to stays, whatever the bucket says.
 * @returns what was removed
 */
export async function removeGone(
  open: OpenPackage,
  root: Root,
  { documents, env, signal }: RemoveTools,
): Promise<readonly ReleaseId[]> {
  const { app } = open.place.package;
  // A package whose last revision was purged before any was ordered has no entry in the root.
  const listing = appIn(root, app)?.releases.digest ?? "";
  const seenFile = path.join(open.place.state, "listing");
  const isSame = listing === (await readIfThere(seenFile));
  const there = isSame ? undefined : await releasesThere(documents, app, signal);
  const needed = await neededHere(open, env);
  const installed = await listInstalls(open.place.folders.revs);
  const spare = installed.filter((id) => !needed.has(id));
  const spent = spare.filter((id, n) => (there !== undefined && !there.has(id)) || n >= SPOOLED_KEPT);
  const gone: ReleaseId[] = [];
  for (const id of spent) {
    const remove = async () => await removeRelease(open.context, recordOf(open, env), id);
    if (await unlessStuck(open.context, app, id, remove)) gone.push(id);
  }
  await removeLeft(open.context, app, needed);
  // What is needed now and gone from the bucket is looked at again: it goes when it is needed no more.
  const isSettled = there !== undefined && installed.every((id) => there.has(id) || gone.includes(id));
  if (isSettled) await writeFileAtomic(seenFile, listing);
  return gone;
}

async function releasesThere(
  documents: DocumentStore,
  app: string,
  signal: AbortSignal,
): Promise<ReadonlySet<ReleaseId>> {
  const names = await namesUnder(documents, `${RELEASES}${app}/`, signal);
  return new Set(names.flatMap((name) => releasePlaceOf(name)?.id ?? []));
}

async function neededHere(open: OpenPackage, env: string): Promise<ReadonlySet<ReleaseId>> {
  const record = recordOf(open, env);
  const current = await readCurrent(open.place.folders);
  const own = [current, open.hold()?.release, record.good[0], ...fallbackOf(open, env)];
  return new Set(
    [...(await neededBy(open.context, record)), ...own].filter((id) => id !== null && id !== undefined),
  );
}

/** What an order may be gone back to was fetched for that. */
function fallbackOf({ store, place }: OpenPackage, env: string): readonly (ReleaseId | null)[] {
  const { head, standing } = appStateOf(store.state, place.package.app, env);
  return [head, standing].map((held) => (held === null ? null : orderOf(held).fallback));
}
