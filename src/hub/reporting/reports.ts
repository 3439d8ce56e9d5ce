/** One report of a node, taken apart: heads, receipts, instances, progress, presence. */
import type { Report, Reported, ReportedHead } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors.ts";
import type { KeyId } from "../../lib/ids.ts";
import { timeOf } from "../../trust/fields.ts";
import type { CatchUp } from "../cluster/catch-up.ts";
import type { Core } from "../records/core.ts";
import type { Rollouts } from "../orders/gates.ts";
import type { Orders } from "../orders/orders.ts";
import type { Peers } from "./peers.ts";
import type { PortTable } from "./port-table.ts";
import type { Presence } from "../cluster/presence.ts";
import type { Receipts } from "../orders/receipts.ts";
import type { WantedDesk } from "../wanted/wanted.ts";

export interface ReportParts {
  readonly core: Core;
  readonly orders: Orders;
  readonly receipts: Receipts;
  readonly ports: PortTable;
  readonly presence: Presence;
  readonly peers: Peers;
  readonly catchUp: CatchUp;
  readonly rollouts: Rollouts;
  readonly wanted: WantedDesk;
}

export async function takeReport(parts: ReportParts, node: KeyId, report: Report): Promise<Reported> {
  const { core, presence, catchUp } = parts;
  const before = presence.duplicate(node);
  const duplicate = await presence.reported(node, report);
  parts.peers.note(node, report.endpoint ?? null);
  if (duplicate !== before) parts.wanted.wake(node);
  for (const held of report.heads ?? []) await takeHead(parts, node, held);
  if (report.heads !== undefined && catchUp.on) {
    await catchUp.heardFrom(node);
    if (!catchUp.on) parts.wanted.wake();
  }
  // Before its receipts: whoever's turn they bring finds in the table what came up here. And two agents with one key
  // would take turns in deleting each other's instances.
  if (!duplicate) await parts.ports.renew(node, report.instances);
  const receipts = await parts.receipts.take(node, report.receipts);
  parts.rollouts.progress(node, report.progress);
  return { receipts, duplicate, catchingUp: catchUp.on, hubTime: timeOf(core.clock.now()) };
}

/** What a node holds is believed for the operators' signatures on it; what does not verify is nobody's loss. */
async function takeHead({ core, orders }: ReportParts, node: KeyId, held: ReportedHead): Promise<void> {
  try {
    await orders.restore(held);
  } catch (err) {
    if (!isSkeinError(err)) throw err;
    core.log.warn("a node's head was not taken", { node, app: held.app, env: held.env, code: err.code });
  }
}
