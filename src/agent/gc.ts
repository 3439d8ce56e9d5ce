import fs from "node:fs/promises";
import path from "node:path";
import type { Keep } from "../app/manifest.ts";
import { isSkeinError, messageOf } from "../lib/errors.ts";
import { faultPoint } from "../lib/fault.ts";
import type { ReleaseId } from "../lib/ids.ts";
import { removeTree } from "../release/install.ts";
import { listInstalls, removeRecord } from "../release/install-record.ts";
import { appStateOf, orderOf } from "../trust/node-state.ts";
import type { AppContext } from "./app-context.ts";
import { appFolders } from "./folders.ts";
import { runHook } from "./hooks.ts";
import type { AppRecord } from "./records.ts";

export interface Collectable {
  /** Installed releases, the latest first. */
  readonly installed: readonly ReleaseId[];
  /** Releases that ran well, the latest first. */
  readonly good: readonly ReleaseId[];
  /** What runs, what is current, was before, stands, or may be gone back to. */
  readonly needed: ReadonlySet<ReleaseId>;
  readonly keep: Keep;
  /** The disk has less room than `keep.freeDisk` asks for. */
  readonly isTight: boolean;
}

/**
 * What may go: beyond the newest `releases`, never anything needed nor the newest `good` that ran well. Failed
 * releases do not push good ones out: those are counted on their own. On a tight disk only what is needed and the
 * good ones stay.
 */
export function removable({ installed, good, needed, keep, isTight }: Collectable): readonly ReleaseId[] {
  const kept = new Set([...needed, ...good.filter((id) => installed.includes(id)).slice(0, keep.good)]);
  let left = Math.max(0, (isTight ? 0 : keep.releases) - kept.size);
  return installed.filter((id) => {
    if (kept.has(id)) return false;
    left -= 1;
    return left < 0;
  });
}

/** What a person asked for, in place of parts of the policy. */
export interface GcWish {
  /** In place of `keep.releases`. */
  readonly count?: number | undefined;
  /** Only releases that were made before this, in ms since the epoch. */
  readonly before?: number | undefined;
  /** Tell, and remove nothing. */
  readonly dry?: boolean | undefined;
}

/** Removes old releases of an app by its manifest's policy. A failure is logged: it must not hold up orders. */
export async function collectGarbage(context: AppContext, record: AppRecord): Promise<void> {
  try {
    await collect(context, record, {});
  } catch (err) {
    context.log.warn("old releases were not removed", { app: record.app, "err.message": messageOf(err) });
  }
}

/** Removes what the policy, or a person's wish, lets go. @returns what went, or would go */
export async function collect(
  context: AppContext,
  record: AppRecord,
  wish: GcWish,
): Promise<readonly ReleaseId[]> {
  const current = record.reached?.release;
  if (current === null || current === undefined) return [];
  const folders = appFolders(context.paths, record.app);
  const { manifest } = await context.releases.load(record, current);
  const running = await context.instances.running(record.app);
  const needed = new Set([...neededBy(context, record), ...running.map(({ release }) => release)]);
  const installed = await listInstalls(folders.revs);
  const isTight = (await freeShare(folders.revs)) < manifest.keep.freeDisk;
  const keep = { ...manifest.keep, releases: wish.count ?? manifest.keep.releases };
  const gone: ReleaseId[] = [];
  for (const id of removable({ installed, good: record.good, needed, keep, isTight })) {
    if (wish.before !== undefined && !(await isOlder(context, record, id, wish.before))) continue;
    if (wish.dry !== true) await removeRelease(context, record, id);
    gone.push(id);
  }
  return gone;
}

async function isOlder(
  context: AppContext,
  record: AppRecord,
  id: ReleaseId,
  before: number,
): Promise<boolean> {
  const { created } = await context.releases.document(record, id);
  return Date.parse(created) < before;
}

/** The release's pre-remove hook runs first; its failure does not keep it on the disk. */
export async function removeRelease(context: AppContext, record: AppRecord, id: ReleaseId): Promise<void> {
  const { revs } = appFolders(context.paths, record.app);
  const { clock, groups, logOf, log } = context;
  try {
    const loaded = await context.releases.load(record, id);
    const tools = { clock, groups, log: logOf(record.app), signal: AbortSignal.timeout(10 * 60_000) };
    await runHook("pre-remove", loaded.place(record.reached?.release ?? null), tools);
  } catch (err) {
    const code = isSkeinError(err) ? err.code : "INTERNAL";
    log.warn("pre-remove failed", {
      app: record.app,
      release: id,
      "err.code": code,
      "err.message": messageOf(err),
    });
  }
  faultPoint("agent.remove");
  // Without its record it is no install any more: what is left after a crash is only a folder in the way.
  await removeRecord(revs, id);
  faultPoint("agent.remove-record");
  removeTree(path.join(revs, id));
  log.info("release removed", { app: record.app, release: id });
}

function neededBy({ store }: AppContext, record: AppRecord): readonly ReleaseId[] {
  const { head, standing, prior } = appStateOf(store.state, record.app, record.env);
  const orders = [head, standing, prior].flatMap((held) => (held === null ? [] : [orderOf(held)]));
  const ordered = orders.flatMap(({ release, beside }) => [release, ...beside]);
  // Only the head can still be taken back, and only until it is settled.
  if (head !== null && head.settle === null)
    ordered.push(...[orderOf(head).fallback].filter((id) => id !== null));
  const { reached, attempt } = record;
  const own = [reached?.release, ...(reached?.beside ?? []), attempt?.release, attempt?.previous];
  return [...ordered, ...own].filter((id) => id !== null && id !== undefined);
}

async function freeShare(dir: string): Promise<number> {
  const { bavail, blocks } = await fs.statfs(dir);
  return blocks === 0 ? 1 : bavail / blocks;
}
