/** One report of a node, taken apart: heads, receipts, instances, progress, presence. */
import type { Report, Reported, ReportedHead } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { timeOf } from "../../trust/document/fields.ts";
import type { CatchUp } from "../cluster/catch-up.ts";
import type { Op } from "../../store/store.ts";
import { nodeLane, write, type Core } from "../records/core.ts";
import { envelopeText } from "../records/envelopes.ts";
import type { Rollouts } from "../orders/gates.ts";
import type { Reminders } from "../cluster/reminders.ts";
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
  readonly reminders: Reminders;
  readonly rollouts: Rollouts;
  readonly wanted: WantedDesk;
}

export async function takeReport(parts: ReportParts, node: KeyId, report: Report): Promise<Reported> {
  const { core, presence, catchUp } = parts;
  const before = presence.duplicate(node);
  const said = presence.reported(node, report);
  const { duplicate } = said;
  parts.peers.note(node, report.endpoint ?? null);
  if (duplicate !== before) parts.wanted.wake(node);
  if (report.reminder !== undefined) await parts.reminders.take(node, report.reminder);
  await takeHeads(parts, node, report.heads ?? []);
  if (report.heads !== undefined && catchUp.on) {
    await catchUp.heardFrom(node);
    if (!catchUp.on) parts.wanted.wake();
  }
  const receipts = await core.lanes.run(nodeLane(node), async () => await keep(parts, node, report, said));
  parts.rollouts.progress(node, report.progress);
  return { receipts, duplicate, catchingUp: catchUp.on, hubTime: timeOf(core.clock.now()) };
}

/**
 * In one transaction: a report costs one flush, and one look at what it changes. Receipts come last where it takes
 * more: whoever's turn they bring finds in the table what came up here.
 * @returns the receipts that need not be sent again
 */
async function keep(
  { core, ports, receipts }: ReportParts,
  node: KeyId,
  report: Report,
  { duplicate, changes }: ReturnType<Presence["reported"]>,
): Promise<Digest[]> {
  // Two agents with one key would take turns in deleting each other's instances.
  const instances = duplicate ? [] : await ports.renew(node, report.instances);
  const { done, puts } = await receipts.take(node, report.receipts);
  if (puts.size > 0) faultPoint("hub.receipt");
  const kept = [...puts].map(([key, receipt]): Op => ({ op: "put", key, value: envelopeText(receipt) }));
  await write(core, [...changes(), ...instances, ...kept]);
  return [...done];
}

/**
 * What a node holds is believed for the operators' signatures on it; what does not verify is nobody's loss, and said
 * once for a report: there may be thousands.
 */
async function takeHeads(
  { core, orders }: ReportParts,
  node: KeyId,
  heads: readonly ReportedHead[],
): Promise<void> {
  const refused: { readonly app: string; readonly env: string; readonly code: string }[] = [];
  for (const held of heads) {
    try {
      await orders.restore(held);
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      refused.push({ app: held.app, env: held.env, code: err.code });
    }
  }
  const [first] = refused;
  if (first !== undefined)
    core.log.warn("a node's heads were not taken", { node, heads: refused.length, ...first });
}
