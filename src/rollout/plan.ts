import { SkeinError } from "../lib/errors/errors.ts";
import type { KeyId } from "../lib/text/ids.ts";
import { factsOf, GRACE_MS, type Facts } from "./facts.ts";
import type { Limits } from "./limits.ts";

/** Made once, when a rollout starts; the same facts give the same plan. */
export interface Plan {
  /** In the order in which they are done. */
  readonly batches: readonly (readonly KeyId[])[];
  /** Away when it was made: they come last, if they come. */
  readonly absent: readonly KeyId[];
}

/** Which processes of the release run where, and which of them look up which. */
export interface Layout {
  /** Process → those that it waits for (`after` in the manifest). */
  readonly after: Readonly<Record<string, readonly string[]>>;
  processesOn(node: KeyId): readonly string[];
}

export const NO_LAYOUT: Layout = { after: {}, processesOn: () => [] };

/** Is it known who is there? A hub that was just started waits a moment for those it has not heard from. */
export function canPlan(members: readonly KeyId[], facts: Facts): boolean {
  return facts.now >= facts.since + GRACE_MS || members.every((node) => factsOf(facts, node).present);
}

/**
 * Nodes whose processes others look up come first, then those where the app serves, then by name. A batch never
 * holds nodes of two ranks, so that nobody waits for somebody of its own or a later batch.
 * @throws SkeinError MANIFEST_INVALID when the processes wait for each other in a circle
 */
export function planOf(members: readonly KeyId[], facts: Facts, limits: Limits, layout: Layout): Plan {
  const depths = depthsOf(layout.after);
  const ranked = members.map((node) => {
    const { name, present, serving } = factsOf(facts, node);
    const rank = Math.max(0, ...layout.processesOn(node).map((process) => depths.get(process) ?? 0));
    return { node, name, present, serving, rank };
  });
  ranked.sort(
    (a, b) =>
      a.rank - b.rank ||
      Number(b.serving) - Number(a.serving) ||
      compareText(a.name, b.name) ||
      compareText(a.node, b.node),
  );
  const batches: KeyId[][] = [];
  let rank = -1;
  for (const entry of ranked.filter(({ present }) => present)) {
    const batch = batches.at(-1);
    if (batch === undefined || entry.rank !== rank || batch.length >= limits.batch)
      batches.push([entry.node]);
    else batch.push(entry.node);
    rank = entry.rank;
  }
  return { batches, absent: ranked.filter(({ present }) => !present).map(({ node }) => node) };
}

/** Process → how many others must be there before it: 0 for one that waits for none. */
function depthsOf(after: Layout["after"]): ReadonlyMap<string, number> {
  const depths = new Map<string, number>();
  const depthOf = (process: string, path: readonly string[]): number => {
    const known = depths.get(process);
    if (known !== undefined) return known;
    if (path.includes(process)) {
      const circle = [...path.slice(path.indexOf(process)), process].join(" → ");
      throw new SkeinError("MANIFEST_INVALID", `Processes wait for each other: ${circle}.`, {
        data: { circle },
      });
    }
    const depth =
      Math.max(-1, ...(after[process] ?? []).map((other) => depthOf(other, [...path, process]))) + 1;
    depths.set(process, depth);
    return depth;
  };
  for (const process of Object.keys(after)) depthOf(process, []);
  return depths;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Every node of the plan, in its order. */
export function membersOf(plan: Plan): KeyId[] {
  return [...plan.batches.flat(), ...plan.absent];
}
