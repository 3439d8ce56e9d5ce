import { namesUnder } from "../../bucket/entries.ts";
import {
  isMeant,
  RELEASES,
  releasePlace,
  releasePlaceOf,
  revisionOf,
  type ReleasePlace,
} from "../../bucket/layout.ts";
import { NOT_IN_FORCE } from "../../bucket/following.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { msOf, timeOf } from "../../trust/document/fields.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import { readCurrent } from "../installs/folders.ts";
import { heldNow, type Asked } from "../plan/hold.ts";
import { keepDocument, keepWanted } from "./fetching.ts";
import { openPackage, type OpenPackage } from "./open-package.ts";
import type { PackagePlace } from "./package-place.ts";
import { prefetch, recordOf, returnData } from "./prefetch.ts";
import { fetchedText, revisionText, type SyncTools } from "./sync-package.ts";
import { takeTurn } from "./turn.ts";

/** What a jump came to. */
export interface Jumped {
  readonly package: string;
  readonly active: string;
  /** Until a newer order comes; false where the order itself wants it. */
  readonly held: boolean;
  /** Scripts that failed and did not hold it up. */
  readonly troubles: readonly SkeinError[];
}

/**
 * Activates a revision on this machine alone. It needs no key: the revision was signed, and the next order counts
 * again. What is not here yet is fetched.
 * @param revision null: the one that was active before
 * @throws SkeinError RELEASE_NOT_FOUND, HOOK_FAILED and whatever the jump failed with; the old one stays active then
 */
export async function jumpHere(
  place: PackagePlace,
  revision: string | null,
  tools: SyncTools,
): Promise<Jumped> {
  const { signal, clock, waitMs } = tools;
  using _turn = await takeTurn(place, { command: "jump", waitMs, clock, signal });
  const open = await openPackage(place, null, tools);
  try {
    return await jumpIn(open, revision, tools);
  } finally {
    await returnData(open, tools.env, signal);
  }
}

async function jumpIn(open: OpenPackage, revision: string | null, tools: SyncTools): Promise<Jumped> {
  const { signal } = tools;
  const { place } = open;
  const id = revision === null ? await before(open, tools) : await found(open, revision, tools);
  await keepWanted(open, null, { documents: tools.bucket.documents, env: tools.env });
  await bringHere(open, id, tools);
  const held = heldNow(open.hold(), recordOf(open, tools.env), open.store.state);
  const isOrdered = isOrderedHere(open, id, tools.env);
  await open.setHold(isOrdered && held === null ? null : { ...holdFor(open, id, tools), before: held });
  faultPoint("subscriber.held");
  await open.worker.converge(signal);
  const record = recordOf(open, tools.env);
  const troubles = open.failures.map(({ step, code, message, lines }) => {
    return new SkeinError(code, message, { data: { stage: step, lines } });
  });
  if (record.reached?.release !== id || record.attempt !== null) {
    await open.setHold(held === null ? null : { ...held, before: null });
    throw (
      troubles[0] ??
      new SkeinError("DEPLOY_FAILED", `${place.package.name} did not come to ${revision ?? id}`)
    );
  }
  if (isOrdered && held !== null) {
    await open.setHold(null);
    await open.worker.converge(signal);
  }
  const active = await revisionText(open, id, tools.env);
  return { package: place.package.name, active, held: open.hold() !== null, troubles };
}

async function bringHere(open: OpenPackage, id: ReleaseId, { env, say, signal }: SyncTools): Promise<void> {
  const came = await prefetch(open, { id, env, hooks: true }, signal);
  if (came !== undefined) say(fetchedText(open.place, id, came));
}

/** Nothing need be held where the newest order wants the same. */
function isOrderedHere({ store, place }: OpenPackage, release: ReleaseId, env: string): boolean {
  const { head } = appStateOf(store.state, place.package.app, env);
  return head?.progress === "done" && orderOf(head).release === release;
}

function holdFor({ store, place }: OpenPackage, release: ReleaseId, { env, clock }: SyncTools): Asked {
  const { head } = appStateOf(store.state, place.package.app, env);
  const over = head === null ? null : { epoch: head.epoch, seq: head.seq };
  return { env, release, over, at: timeOf(clock.now()) };
}

/** What was active before, as `jump-back` means it: here, or where this machine is new, in its cluster. */
async function before(open: OpenPackage, { env }: SyncTools): Promise<ReleaseId> {
  const current = await readCurrent(open.place.folders);
  const installed = await listInstalls(open.place.folders.revs);
  const { head } = appStateOf(open.store.state, open.place.package.app, env);
  const ordered = head === null ? null : orderOf(head).fallback;
  const earlier = [...recordOf(open, env).good, ...(ordered === null ? [] : [ordered])];
  const id = earlier.find((one) => one !== current && installed.includes(one));
  if (id !== undefined) return id;
  const { name } = open.place.package;
  throw new SkeinError("RELEASE_NOT_FOUND", `no other revision of ${name} was active here before`, {
    hint: `Name one: skein ftl jump ${name}.REVISION; skein ftl list ${name} shows them.`,
    data: { package: name },
  });
}

async function found(open: OpenPackage, revision: string, tools: SyncTools): Promise<ReleaseId> {
  const { name } = open.place.package;
  const here = await placesHere(open, tools.env);
  const meant = here.filter((one) => isMeant(revision, one));
  refuseSeveral(name, revision, meant);
  return meant[0]?.id ?? (await fetchedFor(open, revision, tools));
}

/** @throws SkeinError AMBIGUOUS */
function refuseSeveral(name: string, revision: string, meant: readonly ReleasePlace[]): void {
  if (meant.every(({ id }) => id === meant[0]?.id)) return;
  throw new SkeinError("AMBIGUOUS", `${name}.${revision} may be any of ${meant.length} revisions`, {
    hint: "Write more of it.",
    data: { lines: meant.map((place) => `${name}.${revisionOf(place)}`) },
  });
}

/** What is synced here. */
async function placesHere({ place, context }: OpenPackage, env: string): Promise<readonly ReleasePlace[]> {
  const { app } = place.package;
  const found: ReleasePlace[] = [];
  for (const id of await listInstalls(place.folders.revs)) {
    const document = await context.releases.document({ app, env }, id).catch(() => undefined);
    if (document !== undefined) found.push(releasePlace(app, msOf(document.created), id));
  }
  return found;
}

/** A revision that a sync passed over, for it was old. */
async function fetchedFor(open: OpenPackage, revision: string, tools: SyncTools): Promise<ReleaseId> {
  const { documents } = tools.bucket;
  const { app, name } = open.place.package;
  const names = await namesUnder(documents, `${RELEASES}${app}/`, tools.signal);
  const meant = names.flatMap((one) => releasePlaceOf(one) ?? []).filter((one) => isMeant(revision, one));
  refuseSeveral(name, revision, meant);
  let trouble: SkeinError | undefined;
  for (const place of meant) {
    try {
      const tried = { documents, signal: tools.signal };
      if (await keepDocument(open, { id: place.id, place }, tried)) return place.id;
    } catch (err) {
      // Another document of the same release may be a good one.
      if (!isSkeinError(err, ...NOT_IN_FORCE, "ORDER_UNKNOWN_RELEASE")) throw err;
      trouble = err;
    }
  }
  if (trouble !== undefined) throw trouble;
  throw new SkeinError("RELEASE_NOT_FOUND", `there is no revision ${name}.${revision}`, {
    hint: `skein ftl list ${name} shows what is here, with --master what is in the bucket.`,
    data: { package: name, revision },
  });
}
