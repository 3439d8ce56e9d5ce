import { instanceName, type ProcessPlan } from "./release-plan.ts";
import type { InstanceRow } from "./instance-rows.ts";

/** Processes of a release, as this node is to run them. */
type Processes = readonly Pick<ProcessPlan, "name" | "count">[];

export interface Lack {
  readonly process: string;
  /** How many of its instances serve, and how many should. */
  readonly serving: number;
  readonly wanted: number;
}

/** Processes of which fewer instances serve than should. Pure. @param rows those of the release */
export function lacking(rows: readonly InstanceRow[], processes: Processes): Lack[] {
  return processes.flatMap(({ name, count }) => {
    const own = rows.filter(({ process, state }) => process === name && state === "serving");
    const serving = new Set(own.map(({ key }) => key)).size;
    return serving < count ? [{ process: name, serving, wanted: count }] : [];
  });
}

/** Instances that run and that this node is not to have: its labels were other ones when they started. Pure. */
export function surplus(rows: readonly InstanceRow[], processes: Processes): InstanceRow[] {
  const names = new Set(
    processes.flatMap(({ name, count }) =>
      Array.from({ length: count }, (_, n) => instanceName(name, n + 1)),
    ),
  );
  const found = rows.filter(
    ({ instance, state }) => !names.has(instance) && (state === "serving" || state === "waiting"),
  );
  return [...new Map(found.map((row) => [row.key, row])).values()];
}
