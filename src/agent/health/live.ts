import type { Live } from "../../app/manifest.ts";
import { isSkeinError, messageOf } from "../../lib/errors/errors.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { AppContext } from "../attempt/app-context.ts";
import type { AppRecord } from "../plan/records.ts";
import { askInstance } from "./health.ts";
import type { LoadedRelease } from "../installs/loaded-release.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";
import type { Replaced } from "../attempt/unwell.ts";
import { hasPassed } from "../../lib/time/clock.ts";

const TICK_MS = 500;

/** How one instance has been doing. */
interface Pulse {
  /** When it was asked last, or seen first. */
  askedAt: number;
  fails: number;
  busy: boolean;
}

/**
 * Asks instances whose manifest has a `health.live` how they are, each at its own pace, and replaces one that failed
 * its checks too often in a row. In mode `node` each is asked on its own private socket; in mode `socket` several
 * instances behind one socket answer for each other: then only a check that runs a command can tell them apart.
 */
export async function watchHealth(
  context: AppContext,
  runtime: AppRuntime,
  replaced: Replaced,
  signal: AbortSignal,
): Promise<void> {
  const pulses = new Map<string, Pulse>();
  let isTold = false;
  while (!signal.aborted) {
    await context.clock.sleep(TICK_MS, signal).catch(() => undefined);
    try {
      const releases = await withLive(context);
      if (releases.length === 0) {
        isTold = false;
        continue;
      }
      const all = await runtime.list();
      replaced.keep(new Set(all.map(({ key }) => key)));
      const rows = all.filter(({ state }) => state === "serving");
      for (const key of pulses.keys()) if (!rows.some((row) => row.key === key)) pulses.delete(key);
      for (const key of new Set(rows.map((row) => row.key))) {
        const own = rows.filter((row) => row.key === key);
        const due = dueCheck(own, releases, pulses, context.clock.now());
        if (due !== undefined) void beat({ ...due, replaced }, context, runtime, signal);
      }
      isTold = false;
    } catch (err) {
      if (!signal.aborted && !isTold)
        context.log.warn("live checks failed", { "err.message": messageOf(err) });
      isTold = true; // once, until it has passed
    }
  }
}

async function withLive(context: AppContext): Promise<readonly LoadedRelease[]> {
  const found: LoadedRelease[] = [];
  for (const record of context.records.all()) {
    const { reached } = record;
    if (reached === null || reached.state === "stopped") continue;
    for (const id of [reached.release, ...reached.beside]) {
      if (id === null) continue;
      const loaded = await readable(context, record, id);
      const isWatched = Object.values(loaded?.manifest.processes ?? {}).some(({ live }) => live !== null);
      if (loaded !== undefined && isWatched) found.push(loaded);
    }
  }
  return found;
}

/** What this node may not run any more is nobody's reason to leave other apps unwatched. */
async function readable(
  { releases }: AppContext,
  record: AppRecord,
  id: ReleaseId,
): Promise<LoadedRelease | undefined> {
  try {
    return await releases.load(record, id);
  } catch (err) {
    if (isSkeinError(err, "NOT_AUTHORISED", "USER_REFUSED")) return undefined;
    throw err;
  }
}

interface Due {
  readonly rows: readonly InstanceRow[];
  readonly loaded: LoadedRelease;
  readonly live: Live;
  readonly pulse: Pulse;
}

function dueCheck(
  rows: readonly InstanceRow[],
  releases: readonly LoadedRelease[],
  pulses: Map<string, Pulse>,
  now: number,
): Due | undefined {
  const [row] = rows;
  if (row === undefined || !isReleaseId(row.release)) return undefined;
  const loaded = releases.find(({ id, document }) => id === row.release && document.app === row.app);
  const live = loaded?.manifest.processes[row.process]?.live ?? null;
  if (loaded === undefined || live === null) return undefined;
  const pulse = pulses.get(row.key) ?? { askedAt: now, fails: 0, busy: false };
  pulses.set(row.key, pulse);
  const isDue = !pulse.busy && hasPassed(live.everyMs, pulse.askedAt, now);
  return isDue ? { rows, loaded, live, pulse } : undefined;
}

async function beat(
  { rows, loaded, live, pulse, replaced }: Due & { readonly replaced: Replaced },
  context: AppContext,
  runtime: AppRuntime,
  signal: AbortSignal,
): Promise<void> {
  const [row] = rows;
  if (row === undefined) return;
  pulse.busy = true;
  try {
    const why = await askInstance(rows, live.check, loaded, { clock: context.clock, signal });
    pulse.fails = why === null ? 0 : pulse.fails + 1;
    if (pulse.fails < live.fails) return;
    pulse.fails = 0;
    // What has ended meanwhile, or is being ended, answers nobody: that says nothing of what runs now.
    const isSame = ({ key, pid, state }: InstanceRow): boolean =>
      key === row.key && pid === row.pid && state === "serving";
    if (!(await runtime.list()).some(isSame)) return;
    context.log.warn("an instance is replaced: it failed its live checks", {
      app: row.app,
      instance: row.key,
      why,
    });
    replaced.note(row, why ?? "", context.clock.now());
    await runtime.bounce(row.key);
    context.onNews("now");
  } catch (err) {
    if (!signal.aborted)
      context.log.warn("a live check failed", { instance: row.key, "err.message": messageOf(err) });
  } finally {
    pulse.busy = false;
    pulse.askedAt = context.clock.now();
  }
}
