import { LEFT, type RolloutNode, type RolloutView } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { membersOf, type Plan } from "../../rollout/plan.ts";
import { gateOf, phaseOf, verdictOf, type Rollout } from "../../rollout/rollout.ts";
import type { Case } from "./rollout-case.ts";

/** What people and the CLI see of a rollout: its nodes in the order in which they are done. */
export function viewOf(one: Case): RolloutView {
  const { rollout, plan, order } = one;
  const nodes = plan === undefined ? one.members : membersOf(plan);
  const batches = batchNumbers(plan);
  return {
    order: one.digest,
    app: order.app,
    env: order.env,
    release: order.release,
    phase: rollout === undefined ? "pending" : phaseOf(rollout),
    nodes: nodes.map((node) => nodeView(one, rollout, node, batches.get(node) ?? 0)),
    verdict: rollout === undefined ? null : verdictOf(rollout),
    revision: one.version,
  };
}

const NOT_HEARD = { bytesDone: 0, bytesTotal: null, note: null };
const NO_RECEIPT = { verdict: null, code: null, message: null, hint: null, cut: 0 };

function nodeView(one: Case, rollout: Rollout | undefined, node: KeyId, batch: number): RolloutNode {
  const { verdict, code, message, hint = null, cut } = one.receipt(node) ?? NO_RECEIPT;
  const progress = one.progress(node);
  const { bytesDone, bytesTotal, note } = progress ?? NOT_HEARD;
  const gate = rollout === undefined ? "hold" : gateOf(rollout, node, one.serving(node));
  const name = one.nameOf(node) ?? node.slice(0, 8);
  const told = gate === "go" ? "starting" : "waiting";
  const doing = one.meant(node) ? (progress?.stage ?? told) : LEFT;
  const state = verdict === null ? doing : stateOf(verdict);
  const said = { verdict, code, message, hint, bytesDone, bytesTotal, note, cut };
  const shown = { node, name, batch, present: one.present(node), gate, state, ...said };
  const sources = one.sources(node);
  return sources === undefined ? shown : { ...shown, sources };
}

function stateOf(verdict: string): string {
  return verdict === "ok" ? "done" : verdict;
}

/** Those that were away at the start are a last batch of their own. */
function batchNumbers(plan: Plan | undefined): Map<KeyId, number> {
  const numbers = new Map<KeyId, number>();
  if (plan === undefined) return numbers;
  for (const [number, batch] of [...plan.batches, plan.absent].entries()) {
    for (const node of batch) numbers.set(node, number);
  }
  return numbers;
}
