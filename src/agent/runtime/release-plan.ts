import type { Command, Environment, Process } from "../../app/manifest.ts";
import { expandArgv } from "../../app/command.ts";

/** A process of a release, as the expanded manifest has it, with its name. */
export interface ProcessPlan extends Process {
  readonly name: string;
  /** All services of other apps that it may look up, sorted. */
  readonly uses: readonly string[];
  /** URL of the local registry with the capability of this release's process, or null. */
  readonly registry: string | null;
}

/** Which set of instances is meant. A restart is a new generation of the same release. */
export interface RunRef {
  readonly app: string;
  readonly release: string;
  readonly generation: number;
}

/** All that is needed to run a release on this node, without asking anybody. Plain JSON. */
export interface ReleasePlan extends RunRef {
  /** The environment's name (`default`). */
  readonly environment: string;
  /** Source commit, 40 hex digits, or null. */
  readonly commit: string | null;
  /** For the ancestors' REPO; usually the app's name. */
  readonly repo: string;
  /** `revs/<id>`: working directory. */
  readonly dir: string;
  /** `apps/<app>/data`: HOME and SKEIN_DATA. */
  readonly data: string;
  /** null: the agent's own user (unisolated). */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** The manifest's `env`, for all processes. */
  readonly env: Environment;
  /** Only those that this node is to run. */
  readonly processes: readonly ProcessPlan[];
}

/** Names a run in keys: release and generation, short enough to read. */
export function runKey(run: RunRef): string {
  return `${run.app}/${run.release.slice(0, 12)}.${run.generation}`;
}

/** `web.1`, `web.2` ... */
export function instanceName(process: string, index: number): string {
  return `${process}.${index}`;
}

export function instanceKey(run: RunRef, process: string, index: number): string {
  return `${runKey(run)}/${instanceName(process, index)}`;
}

export const sameRun = (a: RunRef, b: RunRef): boolean =>
  a.app === b.app && a.release === b.release && a.generation === b.generation;

/** What is executed: `$NAME` expanded from the instance's own environment, or the shell's text. */
export function argvOf(command: Command, env: Environment): string[] {
  return "sh" in command ? ["/bin/sh", "-c", command.sh] : expandArgv(command.argv, env);
}

/** Processes in the order of their `after`: each group may start when those before it are ready. */
export function startOrder(processes: readonly ProcessPlan[]): ProcessPlan[][] {
  const groups: ProcessPlan[][] = [];
  const names = new Set(processes.map((process) => process.name));
  const done = new Set<string>();
  let left = [...processes];
  while (left.length > 0) {
    const ready = left.filter((p) => p.after.every((name) => done.has(name) || !names.has(name)));
    const group = ready.length > 0 ? ready : left; // the manifest refuses cycles; never hang on one
    groups.push(group);
    for (const process of group) done.add(process.name);
    left = left.filter((process) => !group.includes(process));
  }
  return groups;
}

export const indexes = (process: ProcessPlan): number[] =>
  Array.from({ length: process.count }, (_, n) => n + 1);

export const gateIsOff = (process: ProcessPlan): boolean =>
  Object.values(process.listen).some((listen) => listen.gate === "off");

/** Does this instance belong to the plan as it stands? A count may have shrunk, the node's labels be other ones. */
export function belongs(
  plan: ReleasePlan,
  instance: RunRef & { readonly process: string; readonly index: number },
): boolean {
  if (!sameRun(plan, instance)) return false;
  return plan.processes.some(({ name, count }) => name === instance.process && instance.index <= count);
}
