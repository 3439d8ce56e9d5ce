import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { DEFAULTS } from "../../app/defaults.ts";
import type { Keep } from "../../app/manifest.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { isSkeinError, messageOf, toSkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { listLeft, removeInstall, removeLeftOf } from "../../release/install/remove-install.ts";
import { refuseFixed } from "../../release/install/remove-tree.ts";
import { dropSpares, type SpareWish } from "../../release/install/spare.ts";
import { isNews, isStuck } from "../../release/install/stuck.ts";
import { appStateOf, orderOf } from "../../trust/node/node-state.ts";
import type { NodeStore } from "../node/node-store.ts";
import type { AppRecord, Records } from "../plan/records.ts";
import type { AppLog } from "../programs/app-log.ts";
import { lastLines } from "../programs/command.ts";
import type { Groups } from "../programs/groups.ts";
import { runHook } from "../programs/hooks.ts";
import { readCurrent, type AppFolders } from "./folders.ts";
import type { Releases } from "./releases.ts";
import type { Spares } from "./spares.ts";
import { stagedKept, type Staged } from "./staged.ts";
import { forgetSynced } from "./synced.ts";
import { tellStuck } from "./tell-stuck.ts";

const REMOVE_MS = 10 * 60_000;

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
  // What is needed and not here yet, or not any more, pushes nothing out.
  let left = Math.max(0, (isTight ? 0 : keep.releases) - installed.filter((id) => kept.has(id)).length);
  return installed.filter((id) => {
    if (kept.has(id)) return false;
    left -= 1;
    return left < 0;
  });
}

/** A removal, or the hook before it, that did not do what it should. */
export interface RemovalFailure {
  readonly app: string;
  readonly step: "pre-remove" | "gc";
  readonly release: ReleaseId;
  readonly code: ErrorCode;
  readonly message: string;
  /** The last lines of what was run. */
  readonly lines: readonly string[];
}

/** What says which releases are needed, and what a removal takes. */
export interface GcContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Pick<NodeStore, "state">;
  readonly records: Pick<Records, "all" | "get">;
  readonly staged: Staged;
  readonly releases: Releases;
  readonly folders: (app: string) => AppFolders;
  readonly groups: Groups;
  readonly logOf: (app: string) => AppLog;
  readonly instances: {
    running(app: string): Promise<readonly { readonly release: ReleaseId }[]>;
  };
  /** Prepares next installs while nothing is to be done, also of what goes. Absent: nobody does. */
  readonly spares?: Spares;
  /** Releases that are to be here beside those that orders name: no gc takes them. Absent: there are none. */
  readonly wanted?: () => Iterable<ReleaseId>;
  readonly onFailure?: (failure: RemovalFailure) => void;
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
export async function collectGarbage(context: GcContext, record: AppRecord): Promise<void> {
  try {
    await collect(context, record, {});
  } catch (err) {
    context.log.warn("old releases were not removed", { app: record.app, "err.message": messageOf(err) });
  }
}

/** Removes what the policy, or a person's wish, lets go. @returns what went, or would go */
export async function collect(
  context: GcContext,
  record: AppRecord,
  wish: GcWish,
): Promise<readonly ReleaseId[]> {
  const { app } = record;
  const { revs } = context.folders(app);
  const needed = new Set([...(await neededBy(context, record)), ...context.releases.lanes.busy(app)]);
  const installed = await listInstalls(revs);
  const policy = await keepOf(context, record, installed);
  const isTight = (await freeShare(revs)) < policy.freeDisk;
  const keep = { ...policy, releases: wish.count ?? policy.releases };
  const gone: ReleaseId[] = [];
  for (const id of removable({ installed, good: record.good, needed, keep, isTight })) {
    if (wish.before !== undefined && !(await isOlder(context, record, id, wish.before))) continue;
    const isGone = async (): Promise<boolean> => await removeRelease(context, record, id, true);
    if (wish.dry === true || (await unlessStuck(context, app, id, isGone))) gone.push(id);
  }
  if (wish.dry === true) return gone;
  const current = record.reached?.release ?? null;
  await context.staged.forget(app, current === null ? gone : [...gone, current]);
  const now = await neededBy(context, context.records.get(app) ?? record);
  await removeLeft(context, app, needed.union(now));
  return gone;
}

/**
 * What cannot be removed, or has something mounted in it, keeps the one release and holds up nobody else. It is told
 * once. @returns whether it went
 */
export async function unlessStuck(
  { log, folders, onFailure }: GcContext,
  app: string,
  release: ReleaseId,
  remove: () => Promise<boolean>,
): Promise<boolean> {
  try {
    return await remove();
  } catch (err) {
    if (!isSkeinError(err, "MOUNTED") && !isStuck(err)) throw err;
    const failure = toSkeinError(err);
    const { code, message, hint } = failure;
    if (!isNews(folders(app).revs, release, failure)) return false;
    log.warn("a release cannot be removed", { app, release, "err.code": code, "err.message": message, hint });
    onFailure?.({ app, release, step: "gc", code, message, lines: [] });
    return false;
  }
}

/** The current release may use the tree of one that goes as its spare; a tight disk has no room for any. */
async function heirOf(context: GcContext, record: AppRecord): Promise<SpareWish | undefined> {
  const { spares, releases } = context;
  const { reached } = record;
  if (spares === undefined || reached?.state !== "run" || reached.release === null) return undefined;
  const wish = await releases.spareWish(record, reached.release);
  if (wish === undefined || (await freeShare(wish.revs)) >= wish.freeDisk) return wish;
  dropSpares(wish.revs, tellStuck(context.log, record.app));
  return undefined;
}

/**
 * What the current release's manifest says, or that of the newest one here where the node was off while the current one
 * came and was stopped; where nothing ran yet, the defaults.
 */
async function keepOf(
  { releases }: GcContext,
  record: AppRecord,
  installed: readonly ReleaseId[],
): Promise<Keep> {
  const current = record.reached?.release ?? null;
  const here = current === null || installed.includes(current) ? current : (installed[0] ?? null);
  return here === null ? DEFAULTS.keep : (await releases.load(record, here)).manifest.keep;
}

async function isOlder(
  context: GcContext,
  record: AppRecord,
  id: ReleaseId,
  before: number,
): Promise<boolean> {
  try {
    const { created } = await context.releases.document(record, id);
    return Date.parse(created) < before;
  } catch (err) {
    if (isSkeinError(err, "ORDER_UNKNOWN_RELEASE")) return false; // nobody can say how old it is
    throw err;
  }
}

/**
 * Removes an installed release that nothing needs. Its pre-remove hook runs first, whose failure does not keep it on
 * the disk. @throws SkeinError MOUNTED, IO
 * @returns false where an order, a staging or a running instance came to need it meanwhile
 * @param reuse its tree may become the current release's spare. Default false
 */
export async function removeRelease(
  context: GcContext,
  record: AppRecord,
  id: ReleaseId,
  reuse = false,
): Promise<boolean> {
  const signal = AbortSignal.timeout(REMOVE_MS);
  const isNeeded = async (): Promise<boolean> =>
    (await neededBy(context, context.records.get(record.app) ?? record)).has(id);
  const work = async (): Promise<boolean> => {
    if (await isNeeded()) return false;
    refuseFixed(path.join(context.folders(record.app).revs, id));
    await forgetSynced(context, record.app, id);
    await preRemove(context, record, id, signal);
    if (await isNeeded()) return false;
    await remove(context, record.app, id, reuse ? await heirOf(context, record) : undefined);
    return true;
  };
  // Whoever comes to need it waits until it is gone, and installs it anew.
  return await context.releases.lanes.alone(record.app, id, work, { signal });
}

async function preRemove(
  context: GcContext,
  record: AppRecord,
  id: ReleaseId,
  signal: AbortSignal,
): Promise<void> {
  const { clock, groups, logOf, log } = context;
  try {
    const loaded = await context.releases.load(record, id);
    const tools = { clock, groups, log: logOf(record.app), signal };
    await runHook("pre-remove", loaded.place(record.reached?.release ?? null), tools);
  } catch (err) {
    const code = isSkeinError(err) ? err.code : "INTERNAL";
    const failure = { "err.code": code, "err.message": messageOf(err) };
    const lines = isSkeinError(err) ? lastLines(err.data) : [];
    const message = messageOf(err);
    context.onFailure?.({ app: record.app, release: id, step: "pre-remove", code, message, lines });
    log.warn("pre-remove failed", { app: record.app, release: id, ...failure });
  }
}

async function remove(
  { folders, log }: GcContext,
  app: string,
  id: ReleaseId,
  heir: SpareWish | undefined,
): Promise<void> {
  faultPoint("agent.remove");
  await removeInstall(folders(app).revs, id, heir);
  log.info("release removed", { app, release: id });
}

/**
 * Removes what is no install: what a removal leaves that was cut, and what was fetched of a release that nobody wants
 * any more. `needed` stays, and so does what is worked on now. @returns what was removed
 */
export async function removeLeft(
  context: GcContext,
  app: string,
  needed: ReadonlySet<ReleaseId>,
): Promise<readonly ReleaseId[]> {
  const { lanes } = context.releases;
  const { revs } = context.folders(app);
  const gone: ReleaseId[] = [];
  const signal = AbortSignal.timeout(REMOVE_MS);
  for (const id of await listLeft(revs)) {
    if (needed.has(id) || lanes.busy(app).includes(id)) continue;
    const remove = async (): Promise<boolean> => await removeLeftOf(revs, id);
    const removeAlone = async () => await lanes.alone(app, id, remove, { signal });
    if (await unlessStuck(context, app, id, removeAlone)) gone.push(id);
  }
  return gone;
}

/** The same for all apps of an agent that starts. A failure is logged: it must not hold up orders. */
export async function sweepLeft(context: GcContext): Promise<void> {
  const { records, staged, store, folders, log } = context;
  const held = [...records.all(), ...staged.all(), ...Object.values(store.state.apps)];
  for (const app of new Set(held.map((one) => one.app))) {
    try {
      const known = records.all().filter((record) => record.app === app);
      const needed = await Promise.all(known.map(async (record) => await neededBy(context, record)));
      const current = await readCurrent(folders(app));
      const stay = new Set([...needed.flatMap((ids) => [...ids]), ...(current === null ? [] : [current])]);
      const left = await removeLeft(context, app, stay);
      if (left.length > 0) log.info("what was left of releases is gone", { app, releases: left });
    } catch (err) {
      log.warn("what was left of releases stays", { app, "err.message": messageOf(err) });
    }
  }
}

/** What no gc takes: what this node cannot do without, what was staged, and pins. */
export async function neededBy(context: GcContext, record: AppRecord): Promise<ReadonlySet<ReleaseId>> {
  const { staged, clock } = context;
  const { app } = record;
  const wanted = [
    ...stagedKept(staged.all(), app, clock.now()),
    ...staged.pins(app),
    ...(context.wanted?.() ?? []),
  ];
  return new Set([...(await inUse(context, record)), ...wanted]);
}

/** What orders name, and what this node runs, was before or is coming to. */
export async function inUse(context: GcContext, record: AppRecord): Promise<ReadonlySet<ReleaseId>> {
  const { store, instances } = context;
  const { app, env, reached, attempt } = record;
  const { head, standing, prior } = appStateOf(store.state, app, env);
  const orders = [head, standing, prior].flatMap((held) => (held === null ? [] : [orderOf(held)]));
  const ordered = orders.flatMap(({ release, beside }) => [release, ...beside]);
  // Only the head can still be taken back, and only until it is settled.
  if (head !== null && head.settle === null)
    ordered.push(...[orderOf(head).fallback].filter((id) => id !== null));
  const own = [reached?.release, ...(reached?.beside ?? []), attempt?.release, attempt?.previous];
  const running = (await instances.running(app)).map(({ release }) => release);
  return new Set([...ordered, ...own, ...running].filter((id) => id !== null && id !== undefined));
}

/** 1 where there is nothing yet that could go. */
async function freeShare(dir: string): Promise<number> {
  if (!existsSync(dir)) return 1;
  const { bavail, blocks } = await fs.statfs(dir);
  return blocks === 0 ? 1 : bavail / blocks;
}
