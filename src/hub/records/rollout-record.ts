/**
 * How a rollout and its plan are written down. Sets of nodes are bits over the order's roster, which never changes, so
 * that writing one more gate of ten thousand nodes costs two kilobytes; nodes that came later are named.
 */
import type { ErrorCode } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import type { Plan } from "../../rollout/plan.ts";
import { phaseOf, type Phase, type Rollout } from "../../rollout/rollout.ts";

interface NodeSet {
  /** base64url; bit i of byte i / 8 is the i-th node of the roster. */
  readonly roster: string;
  readonly late: readonly KeyId[];
}

export interface RolloutRecord {
  /** Follows from the rest; for those who watch. */
  readonly phase: Phase;
  readonly direction: Rollout["direction"];
  readonly paused: boolean;
  readonly stuck: boolean;
  readonly ended: Rollout["ended"];
  readonly cause: { readonly code: ErrorCode; readonly message: string } | null;
  readonly bakingSince: number | null;
  readonly movedAt: number;
  /** Absent in records of earlier versions. */
  readonly away?: boolean;
  readonly forgiven: number;
  /** Absent in records of earlier versions. */
  readonly said?: string | null;
  readonly go: NodeSet;
  readonly back: NodeSet;
  readonly lost: NodeSet;
}

/** Numbers are places in the roster. */
export interface PlanRecord {
  readonly batches: readonly (readonly number[])[];
  readonly absent: readonly number[];
}

export function recordOfRollout(rollout: Rollout, roster: readonly KeyId[]): RolloutRecord {
  const { go, back, lost, ...rest } = rollout;
  const write = (nodes: ReadonlySet<KeyId>): NodeSet => writeSet(nodes, roster);
  return { phase: phaseOf(rollout), ...rest, go: write(go), back: write(back), lost: write(lost) };
}

export function rolloutOfRecord(record: RolloutRecord, roster: readonly KeyId[]): Rollout {
  const { phase: _, away = false, said = null, go, back, lost, ...rest } = record;
  const read = (set: NodeSet): ReadonlySet<KeyId> => readSet(set, roster);
  return { ...rest, away, said, go: read(go), back: read(back), lost: read(lost) };
}

export function recordOfPlan(plan: Plan, roster: readonly KeyId[]): PlanRecord {
  const places = new Map(roster.map((node, place) => [node, place]));
  const placesOf = (nodes: readonly KeyId[]): number[] => nodes.flatMap((node) => places.get(node) ?? []);
  return { batches: plan.batches.map(placesOf), absent: placesOf(plan.absent) };
}

export function planOfRecord(record: PlanRecord, roster: readonly KeyId[]): Plan {
  const nodesAt = (places: readonly number[]): KeyId[] => places.flatMap((place) => roster[place] ?? []);
  return { batches: record.batches.map(nodesAt), absent: nodesAt(record.absent) };
}

function writeSet(nodes: ReadonlySet<KeyId>, roster: readonly KeyId[]): NodeSet {
  const bits = Buffer.alloc(Math.ceil(roster.length / 8));
  const known = new Set<KeyId>();
  for (const [place, node] of roster.entries()) {
    if (!nodes.has(node)) continue;
    known.add(node);
    bits[place >> 3] = (bits[place >> 3] ?? 0) | (1 << (place & 7));
  }
  return { roster: bits.toString("base64url"), late: [...nodes.difference(known)].sort() };
}

function readSet(set: NodeSet, roster: readonly KeyId[]): ReadonlySet<KeyId> {
  const bits = Buffer.from(set.roster, "base64url");
  const known = roster.filter((_, place) => ((bits[place >> 3] ?? 0) & (1 << (place & 7))) !== 0);
  return new Set([...known, ...set.late]);
}
