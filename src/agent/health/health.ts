import type { Check } from "../../app/manifest.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { hookEnvironment } from "../programs/hooks.ts";
import type { LoadedRelease } from "../installs/loaded-release.ts";
import type { AppRecord } from "../plan/records.ts";
import { runCheck } from "../runtime/checks.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { instanceId } from "../../lib/text/instance-id.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";
import { wantedOf } from "../attempt/actual.ts";
import { verifyServing } from "./verify.ts";

/** An instance that serves, as it seems, and fails its check. */
export interface Ailing {
  readonly row: InstanceRow;
  readonly why: string;
}

/**
 * Asks each serving instance of an app once how it is, by its `live` check, else by the one that made it ready. One
 * without any check is well.
 */
export async function ailingOf(
  { releases, clock }: Pick<AppContext, "releases" | "clock">,
  runtime: AppRuntime,
  record: AppRecord,
  signal: AbortSignal,
): Promise<readonly Ailing[]> {
  const rows = (await runtime.list()).filter(({ app, state }) => app === record.app && state === "serving");
  const found: Ailing[] = [];
  for (const key of new Set(rows.map((row) => row.key))) {
    const own = rows.filter((row) => row.key === key);
    const [row] = own;
    if (row === undefined || !isReleaseId(row.release)) continue;
    const why = await whyAiling(own, row, await releases.load(record, row.release), { clock, signal });
    if (why !== null) found.push({ row, why });
  }
  return found;
}

async function whyAiling(
  rows: readonly InstanceRow[],
  row: InstanceRow,
  loaded: LoadedRelease,
  how: AskOptions,
): Promise<string | null> {
  const spec = loaded.manifest.processes[row.process];
  const check = spec?.live?.check ?? spec?.ready.check ?? null;
  return check === null ? null : await askInstance(rows, check, loaded, how);
}

export interface AskOptions extends Pick<AppContext, "clock"> {
  readonly signal: AbortSignal;
}

/** Asks one instance once. @param rows all of its sockets @returns null: it is well; else one sentence on why not */
export async function askInstance(
  rows: readonly InstanceRow[],
  check: Check,
  loaded: LoadedRelease,
  how: AskOptions,
): Promise<string | null> {
  const [row] = rows;
  if (row === undefined) return null;
  const addresses = rows.flatMap(({ checked }) => checked ?? []);
  const env = { ...hookEnvironment(loaded.place(null)), SKEIN_INSTANCE: row.instance };
  return await runCheck(check, { plan: loaded.plan(row.generation), env, addresses, ...how });
}

/** What fails here, by whichever check. */
export interface Failing {
  readonly key: string;
  readonly instance: string;
  readonly release: ReleaseId;
  readonly why: string;
}

/** Instances that fail their own check; where there is none and the manifest's `verify` fails, all of the current release. */
export async function failingOf(
  context: AppContext,
  runtime: AppRuntime,
  record: AppRecord,
  signal: AbortSignal,
): Promise<readonly Failing[]> {
  const ailing = await ailingOf(context, runtime, record, signal);
  if (ailing.length > 0) return ailing.map(({ row, why }) => failing(row, why));
  const why = await whyUnverified(context, record, signal);
  if (why === null) return [];
  const found = new Map<string, Failing>();
  for (const row of await runtime.list()) {
    const isOwn =
      row.app === record.app && row.release === record.reached?.release && row.state === "serving";
    if (isOwn) found.set(row.key, failing(row, why));
  }
  return [...found.values()];
}

const failing = (row: InstanceRow, why: string): Failing => ({
  key: row.key,
  instance: instanceId(row),
  release: row.release as ReleaseId,
  why,
});

/** @returns null: the manifest's `verify` passed, or there is none */
async function whyUnverified(
  context: AppContext,
  record: AppRecord,
  signal: AbortSignal,
): Promise<string | null> {
  const [current] = wantedOf(record);
  if (current === undefined) return null;
  try {
    await verifyServing(context, record, current, signal);
    return null;
  } catch (err) {
    if (isSkeinError(err, "VERIFY_FAILED")) return err.message;
    throw err;
  }
}
