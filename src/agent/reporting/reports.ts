import fs from "node:fs";
import { MOST_REPORTED, NOTE_CHARS } from "../../api/field-schemas.ts";
import type { Report, ReportedHead } from "../../api/schemas.ts";
import { DOCUMENT_TYPES, type Order } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { orderOf } from "../../trust/node/node-state.ts";
import { isReleaseId, type ReleaseId, type AppEnv } from "../../lib/text/ids.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";
import type { KeptDocuments } from "../node/kept-documents.ts";
import { currentOf } from "../plan/records.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { instanceId } from "../../lib/text/instance-id.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";
import type { Retold } from "./reminders.ts";
import type { AppWorker } from "../attempt/worker.ts";
import type { Untaken } from "../attempt/stuck.ts";
import { unwellOf, type Replaced } from "../attempt/unwell.ts";

const RECEIPTS_AT_ONCE = 64;

export interface ReportInput {
  readonly context: AppContext;
  readonly runtime: AppRuntime;
  readonly kept: KeptDocuments;
  readonly workers: readonly AppWorker[];
  readonly replaced: Replaced;
  readonly untaken: Untaken;
  readonly boot: string;
  readonly address: string;
  readonly endpoint: Envelope | null;
  readonly version: string;
  /** The hub lost some of its memory: what the node holds is said, and what it knows of members. */
  readonly all: Retold | null;
}

/** What this node does, for the hub. */
export async function reportOf(input: ReportInput): Promise<Report> {
  const { context, workers } = input;
  const waiting = context.outbox.offer(RECEIPTS_AT_ONCE);
  const again = input.all?.receipts ?? [];
  const rows = await input.runtime.list();
  return {
    boot: input.boot,
    at: timeOf(context.clock.now()),
    address: input.address,
    endpoint: input.endpoint,
    version: input.version,
    knows: [...DOCUMENT_TYPES],
    ...(input.all === null ? {} : { heads: await headsOf(input) }),
    ...(input.all?.reminder === undefined ? {} : { reminder: input.all.reminder }),
    receipts: [...waiting, ...again].slice(0, MOST_REPORTED.receipts),
    instances: instancesOf(rows, context).slice(0, MOST_REPORTED.instances),
    apps: mostAlive(
      (await Promise.all(workers.map(async (worker) => await appOf(worker, rows, input)))).flat(),
    ),
    progress: progressOf(input),
    roomBytes: roomBytes(context.paths.lib),
  };
}

/**
 * Free bytes, rounded down to a power of two: what is certainly there, and changes seldom enough to be no
 * news each time.
 */
function roomBytes(dir: string): number {
  const { bavail, bsize } = fs.statfsSync(dir);
  const free = bavail * bsize - KEPT_FREE_BYTES;
  return free < 1 ? 0 : 2 ** Math.floor(Math.log2(free));
}

const progressOf = ({ workers, untaken }: ReportInput): Report["progress"] =>
  [...workers.flatMap(({ progress }) => progress ?? []), ...untaken.progress].slice(
    0,
    MOST_REPORTED.progress,
  );

/** Apps that were stopped stay for good: those are said that do something. */
export function mostAlive<T extends { readonly state: string }>(apps: T[]): T[] {
  if (apps.length <= MOST_REPORTED.apps) return apps;
  const isStopped = ({ state }: T): boolean => state === "stopped";
  return [...apps.filter((app) => !isStopped(app)), ...apps.filter(isStopped)].slice(0, MOST_REPORTED.apps);
}

function instancesOf(rows: readonly InstanceRow[], context: AppContext): Report["instances"] {
  return rows.flatMap((row, n) => {
    if (!isReleaseId(row.release)) return [];
    const {
      app,
      environment: env,
      release,
      commit,
      process,
      socket,
      protocol,
      host,
      port,
      path,
      state,
      since,
    } = row;
    const pid = row.pid === 0 ? null : row.pid;
    const current = state === "serving" && currentOf(context.records.get(app), env) === release;
    const address = { socket, protocol, host, port, ...(path === null ? {} : { path }) };
    const shared = { app, env, release, commit, process, ...address, pid, state, since, current };
    const isFurther = socket !== null && rows.findIndex(({ key }) => key === row.key) !== n;
    return [{ ...shared, instance: isFurther ? `${instanceId(row)}:${socket}` : instanceId(row) }];
  });
}

async function appOf(
  worker: AppWorker,
  rows: readonly InstanceRow[],
  { context, replaced, untaken }: Pick<ReportInput, "context" | "replaced" | "untaken">,
): Promise<Report["apps"]> {
  const { record, reached, moved } = worker;
  if (record === undefined) return [];
  const { app, env } = record;
  const head = context.store.state.apps[`${app}/${env}`]?.head?.digest ?? null;
  const runs = reached !== null && reached.state === "run" ? reached.release : null;
  const sources = moved === undefined || moved.order !== head ? {} : { sources: moved.sources };
  const own = rows.filter((row) => row.app === app && row.environment === env);
  const serving = own.filter(({ release }) => release === runs);
  const state = runs === null && worker.progress === undefined ? "stopped" : stateOf(worker, serving);
  const staged = await stagedOf(context, { app, env }, runs);
  const health = {
    ...notesOf({ rows: own, serving, stuck: untaken.noteOf(app, worker.progress) }),
    ...unwellOf(serving, replaced, worker.served),
  };
  return [{ app, env, release: runs, state, head, ...sources, ...staged, ...health }];
}

/** An instance that is not started again any more has failed, whatever runs beside it. */
function stateOf({ progress, isFailing }: AppWorker, serving: readonly InstanceRow[]): string {
  if (progress !== undefined) return "deploying";
  return isFailing || serving.some(({ state }) => state === "failed") ? "failed" : "running";
}

/** Those that are here whole, and do not run. */
async function stagedOf(
  { staged, releases }: AppContext,
  { app, env }: AppEnv,
  runs: ReleaseId | null,
): Promise<Pick<Report["apps"][number], "staged">> {
  const own = staged.all().filter((one) => one.app === app && one.env === env && one.release !== runs);
  const here = await Promise.all(own.map(async ({ release }) => await releases.isInstalled(app, release)));
  const placed = own.filter((_, n) => here[n] === true).map(({ release }) => release);
  return placed.length === 0 ? {} : { staged: placed };
}

type Noted = Pick<InstanceRow, "unenforced" | "state" | "instance">;

/**
 * What the app's instances have less of than they should, which of those that should serve somebody stopped, and what
 * its order waits for: nobody would see it otherwise.
 */
export function notesOf(
  {
    rows,
    serving,
    stuck,
  }: Readonly<{ rows: readonly Noted[]; serving: readonly Noted[]; stuck: string | null }>,
  isRoot: boolean = process.getuid?.() === 0,
): Pick<Report["apps"][number], "notes"> {
  const unenforced = [...new Set(rows.flatMap((row) => row.unenforced))];
  const stopped = [...new Set(serving.flatMap((row) => (row.state === "stopped" ? row.instance : [])))];
  const notes = [
    ...(stuck === null ? [] : [`stuck: ${stuck}`.slice(0, NOTE_CHARS)]),
    ...(stopped.length === 0 ? [] : [`stopped by name: ${stopped.join(", ")}`.slice(0, NOTE_CHARS)]),
    ...(rows.length > 0 && !isRoot ? ["not isolated"] : []),
    ...(unenforced.length > 0 ? [`limits not enforced: ${unenforced.join(", ")}`] : []),
  ];
  return notes.length === 0 ? {} : { notes };
}

async function headsOf({ context, kept }: ReportInput): Promise<ReportedHead[]> {
  const heads: ReportedHead[] = [];
  for (const { app, env, head, standing } of Object.values(context.store.state.apps)) {
    for (const held of new Set([head, standing])) {
      const roster = held === null ? undefined : await kept.roster(orderOf(held).roster);
      if (held === null || roster === undefined) continue;
      const { settle } = held;
      heads.push({
        app,
        env,
        order: held.order,
        roster,
        settle: settle?.document ?? null,
        receipts: [...(settle?.receipts ?? [])],
        releases: await releasesOf(orderOf(held), kept),
      });
    }
  }
  return heads.slice(0, MOST_REPORTED.heads);
}

/** A hub that forgot a release could take no order that goes back to it. */
async function releasesOf(order: Order, kept: KeptDocuments): Promise<Envelope[]> {
  const named = new Set([
    order.release,
    ...order.beside,
    ...(order.fallback === null ? [] : [order.fallback]),
  ]);
  const found = await Promise.all([...named].map(async (id) => await kept.release(id)));
  return found.filter((release) => release !== undefined);
}
