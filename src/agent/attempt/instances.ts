import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { Addresses } from "../programs/hooks.ts";
import { addressVariables } from "../runtime/address.ts";
import { sameRun, type ReleasePlan, type RunRef } from "../runtime/release-plan.ts";
import type { AppRuntime, Outcome } from "../runtime/runtime.ts";
import { lacking, surplus } from "../runtime/lacking.ts";
import type { Warning } from "../runtime/warning.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";

/** One set of instances, with its release's id checked. */
export interface Run extends RunRef {
  readonly release: ReleaseId;
  /** All that runs of it is reached through the port table alone. */
  readonly tableOnly: boolean;
}

/** What came of a change to instances. */
export interface Change {
  /** Client connections that were cut. */
  readonly cut: number;
  /** What the user should hear although nothing failed. */
  readonly warnings: readonly Warning[];
}

/** Refuses a judged release by throwing. */
type Verify = (addresses: Addresses, signal: AbortSignal) => Promise<void>;

/** What a worker asks of whoever runs instances. Everything here may be called again after a crash. */
export interface Instances {
  /** The runs of an app that serve, or that served while this agent lived and were given up (RESTART_LIMIT) or stopped by name. */
  running(app: string): Promise<readonly Run[]>;
  /**
   * Starts a release where no client sees it, waits until it is ready, and verifies it. Where two versions may not
   * run at once, the old runs in `replaces` stop first. On failure everything is as before.
   */
  judge(plan: ReleasePlan, replaces: readonly Run[], verify: Verify, signal: AbortSignal): Promise<Change>;
  /** Gives a release the public sockets, starting what of it does not run. */
  serve(plan: ReleasePlan, signal: AbortSignal): Promise<Change>;
  /** Drains and stops; with `spare` not what is reached through the port table alone. */
  retire(run: RunRef, spare: boolean): Promise<Change>;
  /** Whether all of a run serves, and nothing else of its release. */
  fits(plan: ReleasePlan): Promise<boolean>;
  /** Drains and stops what a run has besides its plan. */
  trim(plan: ReleasePlan): Promise<Change>;
  /** Ends a run that is not wanted after all, but for what `served` before, and brings back what made way for it. */
  drop(run: RunRef, served: boolean): Promise<Change>;
  /** The run is there to stay. */
  settle(run: RunRef): void;
  /** Where a run that serves is reached. */
  addresses(run: RunRef): Promise<Addresses>;
}

export function runtimeInstances(runtime: AppRuntime): Instances {
  /** Keys that served while this agent lived: when they fail, that is the keeper's last word. */
  const seen = new Set<string>();
  const counts = (row: InstanceRow): boolean => {
    if (row.state === "serving" || row.state === "waiting") seen.add(row.key);
    // What is being stopped or was, by its name, or crashed too often, stays so until somebody orders something.
    const isLeft = row.state === "failed" || row.state === "stopped" || row.state === "draining";
    return row.state === "serving" || row.state === "waiting" || (isLeft && seen.has(row.key));
  };
  return {
    async running(app) {
      const runs = new Map<string, Run>();
      for (const row of await runtime.list()) {
        if (row.app !== app || !isReleaseId(row.release) || !counts(row)) continue;
        const { release, generation } = row;
        const key = `${release}.${generation}`;
        const tableOnly = row.tableOnly && runs.get(key)?.tableOnly !== false;
        runs.set(key, { app, release, generation, tableOnly });
      }
      return [...runs.values()];
    },
    judge: async (plan, replaces, verify, signal) =>
      changeOf(await runtime.judge(plan, { replaces, verify }, signal)),
    serve: async (plan, signal) => changeOf(await runtime.attach(plan, signal)),
    async retire(run, spare) {
      const { cut, warnings } = await runtime.retire(run, spare);
      return { cut, warnings };
    },
    async fits(plan) {
      const rows = (await runtime.list()).filter((row) => sameRun(row, plan));
      return lacking(rows, plan.processes).length === 0 && surplus(rows, plan.processes).length === 0;
    },
    async trim(plan) {
      const { cut, warnings } = await runtime.trim(plan);
      return { cut, warnings };
    },
    async drop(run, served) {
      await runtime.abandon(run, served);
      return { cut: 0, warnings: [] };
    },
    settle: (run) => {
      runtime.settle(run);
    },
    async addresses(run) {
      const rows = (await runtime.list()).filter(
        (row) => row.app === run.app && row.release === run.release && row.generation === run.generation,
      );
      return addressVariables(
        rows.flatMap(({ process, socket, host, port, path }) =>
          socket === null ? [] : [{ process, name: socket, host: host ?? "", port: port ?? 0, path }],
        ),
      );
    },
  };
}

function changeOf({ warnings }: Outcome): Change {
  const cut = warnings.reduce(
    (sum, { data }) => sum + (typeof data["cut"] === "number" ? data["cut"] : 0),
    0,
  );
  return { cut, warnings };
}
