import { MOST_REPORTED } from "../../api/field-schemas.ts";
import type { AppOnNode, NodeView, PortEntry, RolloutNode } from "../../api/schemas.ts";
import type { AppEnv, ReleaseId } from "../../lib/text/ids.ts";
import { isSkewed } from "../../trust/charter/charter.ts";
import { matches, type Selector } from "../../trust/document/selector.ts";
import { readReason } from "../order/follow.ts";

/** One app on one node, as the node says itself, beside what was ordered. */
export interface NodeStatus {
  readonly node: string;
  readonly present: boolean;
  readonly release: ReleaseId | null;
  readonly state: string;
  /** Other releases that serve there as well. */
  readonly beside: readonly ReleaseId[];
  /** What waits there for its deployment. */
  readonly staged: readonly ReleaseId[];
  /** Does it run what is in force? True, too, of a node that the newest order does not mean. */
  readonly current: boolean;
  readonly note: string | null;
}

interface Ordered {
  readonly place: AppEnv;
  readonly inForce: ReleaseId | null;
  /** Whom that is for; undefined: for all. */
  readonly selector: Selector | undefined;
  /** What serves of the app, on any node. */
  readonly serving: readonly PortEntry[];
}

const NOTHING = "nothing yet";

export function nodeStatus(node: NodeView, { place, inForce, selector, serving }: Ordered): NodeStatus {
  const own = ownOf(node, place);
  const there = own?.release ?? null;
  const isMeant = selector === undefined || matches(selector, node);
  return {
    node: node.name,
    present: node.present,
    release: there,
    state: own?.state ?? NOTHING,
    beside: otherReleases(serving, node.node, there),
    staged: own?.staged ?? [],
    current: !isMeant || there === inForce,
    note: noteOf(node, isMeant, own),
  };
}

/** The same of a node that answered the newest order with no: without a word of it nobody knew why nothing is there. */
export function withAnswer(status: NodeStatus, answer: RolloutNode | undefined): NodeStatus {
  const verdict = answer?.verdict;
  if (answer === undefined || (verdict !== "refused" && verdict !== "failed")) return status;
  const reason = answer.message === null ? null : readReason(answer.message).reason;
  const why = [answer.code, reason].filter((part) => part !== null).join(" ");
  const isFirst = status.state === NOTHING;
  const note = [isFirst ? why : `${verdict}: ${why}`, ...(status.note === null ? [] : [status.note])];
  return { ...status, state: isFirst ? verdict : status.state, note: note.join(", ") };
}

/** Is there anything of the app? Of one that has too many for its report nobody knows. */
export const holds = (node: NodeView, place: AppEnv): boolean =>
  ownOf(node, place) !== undefined || node.apps.length >= MOST_REPORTED.apps;

const ownOf = ({ apps }: NodeView, { app, env }: AppEnv): AppOnNode | undefined =>
  apps.find((one) => one.app === app && one.env === env);

export function otherReleases(
  serving: readonly PortEntry[],
  on: string,
  current: ReleaseId | null,
): readonly ReleaseId[] {
  const there = serving.filter(({ node }) => node === on);
  return [...new Set(there.map(({ release }) => release))].filter((release) => release !== current);
}

function noteOf(
  node: Pick<NodeView, "duplicate" | "skewMs">,
  isMeant: boolean,
  own: AppOnNode | undefined,
): string | null {
  const notes = [
    ...(isMeant ? [] : ["not meant by the newest order"]),
    ...(node.duplicate ? ["DUPLICATE"] : []),
    ...(isSkewed(node.skewMs) ? ["CLOCK_SKEW"] : []),
    ...(own?.notes ?? []),
    ...(own?.unwell === undefined ? [] : [own.unwell.message]),
  ];
  return notes.length === 0 ? null : notes.join(", ");
}
