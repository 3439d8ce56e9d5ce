import path from "node:path";
import { releasePlace, revisionOf } from "../../bucket/layout.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { readIfThere } from "../../lib/disk/files.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { readCurrent } from "../installs/folders.ts";
import { readHold } from "../plan/hold.ts";
import { loadNodeStore } from "../node/node-store.ts";
import { subscriptions, type PackagePlace } from "./package-place.ts";

/** A revision that is on this machine whole. */
export interface LocalRevision {
  readonly revision: string;
  readonly release: ReleaseId;
  readonly active: boolean;
  /** A person's jump holds it. */
  readonly held: boolean;
}

/** What is here of a package, oldest first. Reads, and writes nothing. */
export async function localRevisions(place: PackagePlace): Promise<readonly LocalRevision[]> {
  const current = await readCurrent(place.folders);
  const hold = await readHold(path.join(place.state, "hold.json"));
  const found: LocalRevision[] = [];
  for (const id of await listInstalls(place.folders.revs)) {
    const revision = await nameOf(place, id);
    found.push({ revision, release: id, active: id === current, held: id === hold?.release });
  }
  return found.sort((a, b) => (a.revision < b.revision ? -1 : 1));
}

/** The fingerprint that every package of this root was pinned to; null: nothing was synced yet, or they differ. */
export async function pinnedHere(root: string): Promise<Digest | null> {
  const pins = new Set<Digest>();
  for (const place of (await subscriptions(root)).places) {
    const store = await loadNodeStore(place.state).catch(() => undefined);
    if (store !== undefined) pins.add(store.state.pin);
  }
  const [pin, ...others] = pins;
  return pin === undefined || others.length > 0 ? null : pin;
}

/** By its document, which was checked when it was kept; by its id where that is gone. */
async function nameOf(place: PackagePlace, id: ReleaseId): Promise<string> {
  const text = await readIfThere(path.join(place.state, "documents", `${id}.json`));
  if (text === undefined) return id;
  try {
    const { created, app } = readUnverified(text, "release.1");
    return revisionOf(releasePlace(app, msOf(created), id));
  } catch (err) {
    if (err instanceof SkeinError) return id;
    throw err;
  }
}
