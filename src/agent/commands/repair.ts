import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, type ReleaseId } from "../../lib/text/ids.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { comesTrue } from "./comes-true.ts";
import { linesOf, type Line } from "./command-lines.ts";
import { readCurrent } from "../installs/folders.ts";
import { ailingOf, failingOf, type Failing } from "../health/health.ts";
import { NAMED, shapeOf, type Missing } from "./inspect.ts";
import type { AppRecord } from "../plan/records.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { isCurrentLost } from "../plan/plan.ts";
import { wantedOf } from "../attempt/actual.ts";

interface Patient {
  readonly context: AppContext;
  readonly runtime: AppRuntime;
  readonly record: AppRecord;
  readonly signal: AbortSignal;
}

/** Longest wait for instances to come back, and how often it is looked. */
const BACK = { withinMs: 60_000, eachMs: 200 } as const;

/**
 * Makes an app here what its order says: mends files under whatever runs from them, brings back instances that are
 * missing and a `current` that is lost, and where the app still fails its verification fetches its release anew and
 * replaces its instances, one at a time, with their sockets held: who calls meanwhile waits for the next one.
 * `full`: every file is fetched anew in any case. Tells each thing that was done. It gives way to an order that comes
 * meanwhile: what that leads to is not to be judged by what ran before.
 * @throws SkeinError CONFLICT (an order is under way, or came), VERIFY_FAILED, START_FAILED (an instance does not come
 *   back), and what `mendInstall` throws
 */
export async function* repair(patient: Patient, full: boolean): AsyncGenerator<Line, void> {
  giveWay(patient);
  try {
    yield* heal(patient, full);
  } catch (err) {
    // Whatever failed may have failed for that.
    giveWay(patient);
    throw err;
  }
}

/** @throws SkeinError CONFLICT */
function giveWay({ context, record: { app, env, reached } }: Patient): void {
  const now = context.records.get(app);
  if (now?.attempt === null && now.reached?.order === reached?.order) return;
  throw new SkeinError("CONFLICT", `an order for ${app} is under way on this node, or has just ended`, {
    hint: `Wait for its end: skein watch ${appAsTyped(app, env)}; then repair what is still to be repaired.`,
  });
}

async function* heal(patient: Patient, full: boolean): AsyncGenerator<Line, void> {
  const { context, runtime, record, signal } = patient;
  const laidAnew: ReleaseId[] = [];
  for (const id of wantedOf(record)) if (yield* mend(patient, id, full)) laidAnew.push(id);
  giveWay(patient);
  yield* bringBack(patient);
  yield* trim(patient);
  for (const one of await instancesOf(patient, laidAnew)) yield* replace(patient, one);
  const ailing = await failingOf(context, runtime, record, signal);
  if (ailing.length === 0) return;
  yield* ailing.map(({ instance, why }) => ({ type: "ailing", instance, why }));
  if (!full) for (const id of new Set(ailing.map(({ release }) => release))) yield* mend(patient, id, true);
  for (const one of ailing) yield* replace(patient, one);
  const [still] = await failingOf(context, runtime, record, signal);
  signal.throwIfAborted();
  if (still === undefined) return;
  throw new SkeinError("VERIFY_FAILED", `${still.instance} still fails: ${still.why}`, {
    data: { app: record.app, instance: still.instance },
  });
}

/** What runs from a folder that was lost sees nothing of the one that is there now. */
async function instancesOf({ runtime, record }: Patient, releases: readonly ReleaseId[]) {
  const rows = (await runtime.list()).filter(
    ({ app, release, state }) =>
      app === record.app && state === "serving" && releases.some((id) => id === release),
  );
  return rows.filter(({ key }, n) => rows.findIndex((row) => row.key === key) === n);
}

/** @returns whether all of it was put down anew, in another folder than what runs runs in */
async function* mend(patient: Patient, id: ReleaseId, full: boolean): AsyncGenerator<Line, boolean> {
  giveWay(patient);
  const { context, record, signal } = patient;
  const { releases, clock, log, depots } = context;
  const mending = yield* linesOf(
    async (onProgress) =>
      await releases.mend(record, id, { depots: depots(full ? "anew" : "near"), full, signal, onProgress }),
    clock,
  );
  const { differences, files, shared, bytesFetched, sources } = mending;
  for (const one of differences.slice(0, NAMED)) yield { type: "mended", release: id, ...one };
  if (differences.length === 0 && files === 0) return false;
  log.warn("files were mended", {
    app: record.app,
    release: id,
    differences: differences.length,
    files,
    shared,
  });
  yield { type: "files", release: id, differences: differences.length, files, shared, bytesFetched, sources };
  return differences[0]?.path === "";
}

/** The app's worker does it, as after a restart of the agent; nobody else starts what an order runs. */
async function* bringBack(patient: Patient): AsyncGenerator<Line, void> {
  const { context, runtime, record, signal } = patient;
  const folders = context.folders(record.app);
  const isLost = async (): Promise<boolean> =>
    record.reached !== null && isCurrentLost(record.reached, await readCurrent(folders));
  const lost = await isLost();
  const { missing } = await shapeOf(context, runtime, record);
  if (!lost && missing.length === 0) return;
  context.doubt(record.app);
  const isBack = async (): Promise<boolean> => {
    giveWay(patient);
    return !(await isLost()) && (await shapeOf(context, runtime, record)).missing.length === 0;
  };
  if (!(await comesTrue(isBack, { ...BACK, clock: context.clock, signal })))
    throw notBack(record, (await shapeOf(context, runtime, record)).missing);
  if (lost) yield { type: "current", release: record.reached?.release ?? null };
  for (const { release, process, serving, wanted } of missing)
    yield { type: "started", release, process, instances: wanted - serving };
}

/** Ends what runs by labels that the node had. */
async function* trim({ context, runtime, record }: Patient): AsyncGenerator<Line, void> {
  const { surplus } = await shapeOf(context, runtime, record);
  if (surplus.length === 0) return;
  const runs = await context.instances.running(record.app);
  for (const { release, generation } of runs.filter((run) =>
    surplus.some((one) => one.release === run.release),
  ))
    await runtime.trim((await context.releases.load(record, release)).plan(generation));
  yield* surplus.map((one) => ({ type: "ended", ...one }));
}

function notBack({ app }: AppRecord, missing: readonly Missing[]): SkeinError {
  const names = missing.map(({ process, serving, wanted }) => `${process} (${serving} of ${wanted})`);
  return new SkeinError("START_FAILED", `instances of ${app} do not come back: ${names.join(", ")}`, {
    data: { app, missing },
  });
}

/** Stops one instance, drained, starts it again, and waits until it serves and passes its check. */
async function* replace(
  patient: Patient,
  { key, instance }: Pick<Failing, "key" | "instance">,
): AsyncGenerator<Line, void> {
  giveWay(patient);
  const { context, runtime, record, signal } = patient;
  await runtime.bounce(key);
  const isWell = async (within: AbortSignal): Promise<boolean> => {
    giveWay(patient);
    const rows = (await runtime.list()).filter((row) => row.key === key);
    if (!rows.some(({ state }) => state === "serving")) return false;
    return !(await ailingOf(context, runtime, record, within)).some(({ row }) => row.key === key);
  };
  if (!(await comesTrue(isWell, { ...BACK, clock: context.clock, signal })))
    throw new SkeinError("START_FAILED", `${instance} does not come back`, { data: { instance } });
  yield { type: "replaced", instance };
}
