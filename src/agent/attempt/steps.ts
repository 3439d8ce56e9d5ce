import { faultPoint } from "../../lib/process/fault.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { InstallProgress } from "../../release/install/install-progress.ts";
import type { AppContext } from "./app-context.ts";
import { flipCurrent } from "../installs/folders.ts";
import { ownData } from "../installs/own-data.ts";
import { isSynced, noteSynced } from "../installs/synced.ts";
import { runHook, runVerify, type Addresses, type HookTools, type HookWord } from "../programs/hooks.ts";
import type { Change, Run } from "./instances.ts";
import { oldServes, sparesTableOnly, type Attempt, type StepName } from "../plan/plan.ts";
import type { LoadedRelease } from "../installs/loaded-release.ts";
import type { ReleasePlan } from "../runtime/release-plan.ts";
import type { AppRecord } from "../plan/records.ts";
import { generationOf } from "./actual.ts";

/** What one step of an attempt works on. */
interface StepInput {
  readonly context: AppContext;
  readonly record: AppRecord;
  readonly attempt: Attempt;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: InstallProgress) => void;
}

/** What a step adds to what is written down. */
export interface StepResult extends Partial<Change> {
  readonly synced?: ReleaseId;
  /** There was nothing to do, or a look after a crash finds it done: not worth a flush of its own. */
  readonly evident?: boolean;
}

type Step = (input: StepInput) => Promise<StepResult>;

/** Steps that only an attempt has, without its end; each may be run again after a crash in the middle of it. */
export type AttemptStep = Exclude<
  StepName,
  "finish" | "begin" | "turn" | "adopt" | "mend" | "revive" | "tidy"
>;

export const STEPS: Readonly<Record<AttemptStep, Step>> = {
  install: async ({ context, record, attempt, signal, onProgress }) => {
    if (attempt.release === null) return {};
    faultPoint("agent.install");
    await context.releases.ensure(record, attempt.release, context.depots(), signal, onProgress);
    await context.releases.load(record, attempt.release);
    faultPoint("agent.installed");
    return { evident: true };
  },
  "post-sync": async (input) => {
    const { context, record, attempt } = input;
    if (attempt.release === null || isSynced(context, record, attempt.release)) return { evident: true };
    const done = await hook("post-sync", attempt.release, attempt.previous, input);
    noteSynced(context, record.app, attempt.release);
    return { ...done, synced: attempt.release };
  },
  judge: async (input) => {
    if (input.attempt.release === null) return {};
    const change = await judge(await load(input, input.attempt.release), input);
    // What was judged well and runs is judged again in no time.
    return { ...change, evident: change.cut === 0 };
  },
  "pre-jump": async (input) => {
    return await hook("pre-jump", input.attempt.release, input.attempt.previous, input);
  },
  "un-jump": async (input) => {
    await hook("un-jump", input.attempt.previous, input.attempt.release, input);
    // Written down also where there was no hook: from here on no other order takes the attempt's place.
    return {};
  },
  flip: async ({ context, record, attempt }) => {
    faultPoint("agent.flip");
    await flipCurrent(context.folders(record.app), attempt.release);
    faultPoint("agent.flipped");
    // Done once more it leads to the same. Without an un-jump on the disk it is what keeps other orders from its place.
    return { evident: attempt.done.includes("un-jump") };
  },
  attach: async (input) => {
    const { context, attempt, signal } = input;
    if (attempt.release === null) return {};
    const loaded = await load(input, attempt.release);
    faultPoint("agent.attach");
    await own(input, loaded);
    const change = await context.instances.serve(loaded.plan(attempt.generation), signal);
    faultPoint("agent.attached");
    // What serves is left alone: done once more it is done in no time.
    return { ...change, evident: change.cut === 0 };
  },
  "post-jump": async (input) => {
    return await hook("post-jump", input.attempt.release, input.attempt.previous, input);
  },
  beside: async (input) => {
    const { context, record, attempt, signal, onProgress } = input;
    if (attempt.beside.length === 0) return { evident: true };
    const running = await context.instances.running(record.app);
    for (const id of attempt.beside) {
      // Of a release that only its callers elsewhere keep alive, the rest is missing.
      const runs = attempt.mode !== "start" && running.some((run) => run.release === id && !run.tableOnly);
      if (id === attempt.release || runs) continue;
      await context.releases.ensure(record, id, context.depots(), signal, onProgress);
      const loaded = await load(input, id);
      await context.instances.serve(loaded.plan(generationOf(id, { reached: attempt }, running)), signal);
    }
    return {};
  },
  retire: async (input) => {
    const { context, record, attempt } = input;
    faultPoint("agent.retire");
    const changes: Change[] = [];
    for (const run of await context.instances.running(record.app)) {
      const isNew = run.release === attempt.release && run.generation === attempt.generation;
      const isBeside = run.release !== attempt.release && attempt.beside.some((id) => id === run.release);
      if (isNew || isBeside) {
        if (attempt.mode === "start") changes.push(await context.instances.trim(await planOf(input, run)));
        continue;
      }
      const spare = run.release !== attempt.release && sparesTableOnly(attempt);
      changes.push(await context.instances.retire(run, spare));
    }
    faultPoint("agent.retired");
    return sumOf(changes);
  },
  halt: async ({ context, record }) => {
    faultPoint("agent.halt");
    const changes: Change[] = [];
    for (const run of await context.instances.running(record.app)) {
      changes.push(await context.instances.retire(run, false));
    }
    faultPoint("agent.halted");
    return sumOf(changes);
  },
  "back-un-jump": async (input) => {
    return await hook("un-jump", input.attempt.release, input.attempt.previous, input);
  },
  "back-pre-jump": async (input) => {
    return await hook("pre-jump", input.attempt.previous, input.attempt.release, input);
  },
  "back-flip": async ({ context, record, attempt }) => {
    faultPoint("agent.back-flip");
    await flipCurrent(context.folders(record.app), attempt.previous);
    faultPoint("agent.back-flipped");
    return {};
  },
  "back-attach": async (input) => {
    const { context, attempt, signal } = input;
    if (attempt.previous === null || !oldServes(attempt)) return {};
    const loaded = await load(input, attempt.previous);
    faultPoint("agent.back-attach");
    await own(input, loaded);
    await context.instances.serve(loaded.plan(attempt.before?.generation ?? 0), signal);
    faultPoint("agent.back-attached");
    return {};
  },
  "back-post-jump": async (input) => {
    return await hook("post-jump", input.attempt.previous, input.attempt.release, input);
  },
  "back-drop": async ({ context, record, attempt }) => {
    if (attempt.release === null) return {};
    const run = { app: record.app, release: attempt.release, generation: attempt.generation };
    faultPoint("agent.back-drop");
    const { before } = attempt;
    const served = before?.release === attempt.release && before.generation === attempt.generation;
    const change = await context.instances.drop(run, served);
    faultPoint("agent.back-dropped");
    return change;
  },
};

/** The version that `verify` gets and `check` compares: the commit, else the release's id. */
export function versionOf(loaded: LoadedRelease): string {
  return loaded.document.commit ?? loaded.id;
}

function toolsOf({ context, record, signal }: Pick<StepInput, "context" | "record" | "signal">): HookTools {
  return { clock: context.clock, signal, log: context.logOf(record.app), groups: context.groups };
}

async function judge(loaded: LoadedRelease, input: StepInput): Promise<Change> {
  const { context, record, attempt, signal } = input;
  const others = (await context.instances.running(record.app)).filter(
    ({ release, generation }) =>
      !attempt.beside.includes(release) && (release !== attempt.release || generation !== attempt.generation),
  );
  const plan = loaded.plan(attempt.generation);
  if (waitsForOthers(plan.processes)) await context.neighbours?.refresh(signal);
  faultPoint("agent.judge");
  await own(input, loaded);
  const verify = async (addresses: Addresses, within: AbortSignal): Promise<void> => {
    const tools = { ...toolsOf(input), signal: within };
    await runVerify(loaded.place(attempt.previous), versionOf(loaded), addresses, tools);
    faultPoint("agent.verified");
  };
  const change = await context.instances.judge(plan, others, verify, signal);
  faultPoint("agent.judged");
  return change;
}

/** Whether a process here starts after one that runs elsewhere, and will look it up. */
function waitsForOthers(processes: ReleasePlan["processes"]): boolean {
  const here = new Set(processes.map(({ name }) => name));
  return processes.some(({ after }) => after.some((name) => !here.has(name)));
}

function sumOf(changes: readonly Change[]): Change {
  const cut = changes.reduce((sum, change) => sum + change.cut, 0);
  return { cut, warnings: changes.flatMap(({ warnings }) => warnings) };
}

async function hook(
  word: HookWord,
  release: ReleaseId | null,
  other: ReleaseId | null,
  input: StepInput,
): Promise<StepResult> {
  if (release === null) return { evident: true };
  const loaded = await load(input, release);
  // Who leaves finds the data whose it is by then.
  if (word !== "un-jump") await own(input, loaded);
  const found = await runHook(word, loaded.place(other), toolsOf(input));
  if (found) faultPoint(`agent.hooked-${word}`);
  return { evident: !found };
}

async function own(input: StepInput, { user }: LoadedRelease): Promise<void> {
  await ownData(input.context.folders(input.record.app), user, toolsOf(input));
}

async function planOf(input: StepInput, { release, generation }: Run): Promise<ReleasePlan> {
  return (await load(input, release)).plan(generation);
}

async function load({ context, record }: StepInput, id: ReleaseId): Promise<LoadedRelease> {
  return await context.releases.load(record, id);
}
