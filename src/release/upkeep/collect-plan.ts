import type { BlobEntry } from "../../depot/seam/depot.ts";
import { begunMs, retiredName, type Retired, type Run } from "./ledger.ts";
import type { Marking } from "./marking.ts";

/** What a run will do, as a function of what it found. */
export interface PlanFacts {
  /** The run that plans. */
  readonly id: string;
  readonly runs: readonly Run[];
  /** Runs that were done by then are long enough ago, in ms since the epoch. */
  readonly settledBefore: number;
  /** Listed before the kept releases were asked for. */
  readonly found: readonly BlobEntry[];
  readonly retired: readonly Retired[];
  readonly marking: Pick<Marking, "needs">;
}

/** Gives a blob another name, or deletes it (`to` is null). */
export interface Step {
  readonly from: string;
  readonly to: string | null;
}

interface Count {
  readonly blobs: number;
  readonly bytes: number;
}

const OUTCOMES = ["kept", "noted", "retired", "waiting", "restored", "deleted"] as const;
type Outcome = (typeof OUTCOMES)[number];

/**
 * `kept`: in use. `noted`: unreferenced, left for the next run. `retired`: unreferenced twice, out of use from now on.
 * `waiting`: taken out of use before, not long enough ago. `restored`: back in use. `deleted`: gone.
 */
export type PlanCounts = Readonly<Record<Outcome, Count>>;

export interface Plan {
  readonly steps: readonly Step[];
  /** Names for the next run. */
  readonly noted: readonly string[];
  readonly counts: PlanCounts;
}

export function planOf(facts: PlanFacts): Plan {
  const { id, runs, settledBefore, found, retired, marking } = facts;
  const settled = runs.filter((run) => run.doneMs <= settledBefore);
  const notedBefore = new Set(settled.flatMap((run) => run.noted));
  const there = new Set(found.map(({ name }) => name));
  const counts: Record<Outcome, Count> = {
    kept: NONE,
    noted: NONE,
    retired: NONE,
    waiting: NONE,
    restored: NONE,
    deleted: NONE,
  };
  const count = (outcome: Outcome, { sizeBytes }: { readonly sizeBytes: number }): void => {
    const { blobs, bytes } = counts[outcome];
    counts[outcome] = { blobs: blobs + 1, bytes: bytes + sizeBytes };
  };
  const steps: Step[] = [];
  const known = { id, settledBefore, there, marking };
  const ages = {
    written: new Set(runs.map((run) => run.id)),
    settled: new Set(settled.map((run) => run.id)),
  };
  for (const blob of retired) {
    const { outcome, to } = fateOf(blob, { ...known, ...ages });
    count(outcome, blob);
    if (to !== undefined) steps.push({ from: retiredName(blob), to });
  }
  const noted: string[] = [];
  for (const blob of found) {
    const { name } = blob;
    const outcome = marking.needs(name) ? "kept" : notedBefore.has(name) ? "retired" : "noted";
    count(outcome, blob);
    if (outcome === "retired") steps.push({ from: name, to: retiredName({ run: id, name }) });
    if (outcome === "noted") noted.push(name);
  }
  return { steps, noted, counts };
}

const NONE: Count = { blobs: 0, bytes: 0 };

interface Known extends Pick<PlanFacts, "id" | "settledBefore" | "marking"> {
  readonly there: ReadonlySet<string>;
  /** Runs that were done at all. */
  readonly written: ReadonlySet<string>;
  readonly settled: ReadonlySet<string>;
}

/** What becomes of a blob that is out of use. `to`: its new name, null: none, undefined: it stays. */
function fateOf(
  { run, name }: Retired,
  known: Known,
): { readonly outcome: Outcome; readonly to: string | null | undefined } {
  // Stored again meanwhile: then this copy is nobody's.
  const isWanted = known.marking.needs(name) && !known.there.has(name);
  if (isWanted) return { outcome: "restored", to: name };
  if (known.settled.has(run)) return { outcome: "deleted", to: null };
  const isLeft = !known.written.has(run) && begunMs(run) <= known.settledBefore;
  // Its run was killed, and nobody knows when it took this out of use: as of now, for all that is known.
  return { outcome: "waiting", to: isLeft ? retiredName({ run: known.id, name }) : undefined };
}
