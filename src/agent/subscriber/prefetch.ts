import type { ReleaseId } from "../../lib/text/ids.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { readCurrent } from "../installs/folders.ts";
import { isDataUnderWay, lendData, ownData } from "../installs/own-data.ts";
import { runHook } from "../programs/hooks.ts";
import { isSynced, noteSynced, withSynced } from "../installs/synced.ts";
import { newRecord, type AppRecord } from "../plan/records.ts";
import type { BytesBySource } from "../../release/install/install-progress.ts";
import type { OpenPackage } from "./open-package.ts";

/** What of the package's record is there, or a first one. */
export function recordOf({ context, place }: OpenPackage, env: string): AppRecord {
  return context.records.get(place.package.app) ?? newRecord(place.package.app, env);
}

/**
 * Brings a release here whole, and runs its post-sync once. Nothing is switched, and the data is to be given back after
 * it (`returnData`). Its document was kept before.
 * @returns where its bytes came from; undefined where nothing was to be done
 * @throws SkeinError HOOK_FAILED, HOOK_TIMEOUT, NEEDS_AGENT, and what an install throws: it is tried again next time
 */
export async function prefetch(
  open: OpenPackage,
  wish: { readonly id: ReleaseId; readonly env: string; readonly hooks: boolean },
  signal: AbortSignal,
): Promise<BytesBySource | undefined> {
  const { context, place } = open;
  const { releases, records, clock, groups } = context;
  const name = { app: place.package.app, env: wish.env };
  const came = (await releases.isInstalled(name.app, wish.id))
    ? undefined
    : (await releases.ensure(name, wish.id, context.depots(), signal, () => undefined)).sources;
  faultPoint("subscriber.fetched");
  const loaded = await releases.load(name, wish.id);
  if (!wish.hooks || isSynced(context, recordOf(open, wish.env), wish.id)) return came;
  const previous = await readCurrent(place.folders);
  const tools = { clock, groups, signal, log: context.logOf(name.app) };
  await lendData(place.folders, loaded.user, tools);
  await runHook("post-sync", loaded.place(previous), tools);
  faultPoint("subscriber.post-synced");
  noteSynced(context, name.app, wish.id);
  await records.save(withSynced(recordOf(open, wish.env), wish.id));
  return came ?? {};
}

/**
 * Gives the data for good to the user of what is active, where a post-sync of another revision had it; also where that
 * was cut off, at an earlier sync.
 * @throws SkeinError IO, USER_REFUSED
 */
export async function returnData(
  { context, place }: OpenPackage,
  env: string,
  signal: AbortSignal,
): Promise<void> {
  const { releases, clock, groups } = context;
  const active = await readCurrent(place.folders);
  if (active === null || !(await isDataUnderWay(place.folders))) return;
  const { user } = await releases.load({ app: place.package.app, env }, active);
  await ownData(place.folders, user, { clock, groups, signal });
}
