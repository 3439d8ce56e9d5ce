import { shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import { limitsOf } from "../../rollout/limits.ts";
import type { Order } from "../../trust/document/documents.ts";
import type { Deed } from "../tell/dry-run.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import { orderInForce, type Draft, type Line } from "./order.ts";

/** What an order would make of one node. */
interface NodeChange {
  readonly node: string;
  readonly present: boolean;
  /** What serves there by the node's own word; null: nothing. */
  readonly from: ReleaseId | null;
  /** null: nothing. */
  readonly to: ReleaseId | null;
  readonly change: boolean;
}

/** A drafted order as it is told in a dry run. Pure. */
export function orderDeed({ order, nodes }: Draft, line: Line): Deed {
  const anew = isAnew(order, orderInForce(line)?.order);
  const changes = nodes.map((node) => changeOf(order, node, anew));
  const { app, env, seq, release, state, beside, fallback, selector, generation, strategy, hooks } = order;
  const said = { app, env, seq, release, state, generation, beside, fallback, selector, strategy, hooks };
  return {
    text: `order #${seq} of ${app}/${env}: ${textOf(order, anew)} ${whereOf(selector, nodes.length)}${paceOf(order, nodes.length)}`,
    rows: changes.map((one) => rowOf(app, one, anew)),
    data: { deed: "order", ...said, nodes: changes },
  };
}

const isAnew = (order: Order, before: Order | undefined): boolean =>
  order.state === "run" && before?.release === order.release && order.generation > before.generation;

function changeOf({ app, env, release, state }: Order, node: KnownNode, anew: boolean): NodeChange {
  const from = node.apps.find((one) => one.app === app && one.env === env)?.release ?? null;
  const to = state === "run" ? release : null;
  return { node: node.identity.name, present: node.present, from, to, change: anew || from !== to };
}

function rowOf(app: string, { node, present, from, to, change }: NodeChange, anew: boolean): string[] {
  const named = (release: ReleaseId | null): string =>
    release === null ? "nothing" : shortRelease(app, release);
  const goal = !change ? "as it is" : to === null ? "-> stopped" : `-> ${anew ? "new instances" : named(to)}`;
  return [`  ${node}`, named(from), goal, present ? "" : "absent"];
}

function textOf({ app, release, state, beside }: Order, anew: boolean): string {
  const doing = state === "stopped" ? "be stopped" : anew ? "be restarted" : "run";
  const others =
    beside.length === 0 ? "" : `, beside ${beside.map((id) => shortRelease(app, id)).join(", ")},`;
  return `${shortRelease(app, release)} would ${doing}${others}`;
}

/** Without a hub nobody knows who is meant: each node sees for itself. */
const whereOf = (selector: string, nodes: number): string =>
  nodes === 0 ? `where ${selector} is true` : `on ${nodes} node${nodes === 1 ? "" : "s"}`;

/** How many go at a time; nothing of it where all do. */
function paceOf({ strategy, state }: Order, nodes: number): string {
  if (strategy.type !== "rolling" && strategy.type !== "all_at_once") return "";
  const { batch } = limitsOf(strategy, nodes, state);
  return batch >= nodes ? "" : `, ${batch} at a time`;
}
