import type { AppOnNode } from "../../api/schemas.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Strategy } from "../../trust/document/documents.ts";
import { besideFor } from "../order/beside.ts";
import { selectorFor, type DeployOptions } from "./deploy.ts";
import { forecast, refuseUnfitting, type Forecast, type ForecastWish } from "./forecast.ts";
import { membersAndFormer, selectNodes, tellFormer, type KnownNode } from "../nodes/nodes.ts";
import { readLine, refuseUnauthorised, type Line } from "../order/order.ts";
import { otherEnvOn } from "../order/other-env.ts";
import { tellNowhere } from "./nowhere.ts";
import type { Operator } from "../identity/operator.ts";
import { plannedTarget, type PlannedTarget } from "./planned-target.ts";
import { refuseHeld } from "../order/publish-order.ts";

/** What a deployment would do. */
export interface Plan {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  /** It would have to be made and published first. */
  readonly isNew: boolean;
  readonly commit: string | null;
  readonly selector: string;
  readonly strategy: Strategy;
  readonly nodes: readonly PlannedNode[];
  readonly changes: number;
}

interface PlannedNode {
  readonly node: string;
  readonly present: boolean;
  readonly from: ReleaseId | null;
  /** Another release, or the same one started anew where it failed. */
  readonly change: boolean;
  /** Another environment, of which the app runs there: the node would refuse this one (ENV_CONFLICT). */
  readonly holds: string | null;
  /** null: it is away, could not tell, or has the release. */
  readonly cost: Cost | null;
}

/** In bytes. */
export interface Cost extends Pick<Forecast, "fetchBytes" | "atMost" | "diskBytes"> {
  /** It may take less of the disk, and leave more: no node can tell what it has of what is not published. */
  readonly diskAtMost: boolean;
  /** Left after it; negative: it does not fit. null: unknown. */
  readonly freeAfter: number | null;
  /** What gc on the node would free now; null: unknown. */
  readonly gcBytes: number | null;
}

/**
 * Looks, and changes nothing: nothing is published or signed. A source that was not released yet is built and cut as
 * it would be, so that its id tells whether anything would change.
 */
export async function planDeploy(operator: Operator, options: DeployOptions): Promise<Plan> {
  const { env, signal } = options;
  const found = await plannedTarget(operator, options);
  const { manifest, release, commit, unpublished } = found;
  const { app } = manifest;
  const line = await readLine(operator, app, env, signal);
  const wanted = selectorFor(options.selector, manifest, line).selector;
  const { members, former } = await membersAndFormer(operator, signal);
  if (options.selector === null) tellFormer(former, options.tell);
  const { selector, nodes: chosen } = selectNodes(members, wanted);
  if (options.selector === null) tellNowhere(manifest, chosen, options.tell);
  besideFor(line, found, { keepOld: options.keepOld, selector });
  if (operator.dryRun !== undefined) await refuseAsDeploy(operator, found, { line, nodes: chosen }, signal);
  const own = (node: KnownNode): AppOnNode | undefined =>
    node.apps.find((one) => one.app === app && one.env === env);
  const moving = chosen.filter((node) => own(node)?.release !== release);
  // Of what is nowhere yet nodes tell as of what was ordered last: what is free, and what gc would free.
  const known = unpublished === null ? release : line.head?.order.release;
  const told = await askedOf(operator, { app, env, release: known, nodes: moving }, signal);
  const nodes = chosen.map((node): PlannedNode => {
    const { name } = node.identity;
    const from = own(node)?.release ?? null;
    const change = from !== release || own(node)?.state === "failed";
    const cost = unpublished === null ? exact(told.get(name)) : guessed(unpublished, from, told.get(name));
    const holds = otherEnvOn(node, { app, env });
    return { node: name, present: node.present, from, change, holds, cost };
  });
  const changes = nodes.filter(({ change }) => change).length;
  const strategy = { ...manifest.strategy, ...options.strategy };
  const isNew = unpublished !== null;
  return { app, env, release, isNew, commit, selector, strategy, nodes, changes };
}

/** A plan may be made at any time, by anybody; `deploy --dry-run` fails where `deploy` would. */
async function refuseAsDeploy(
  operator: Operator,
  { release, size, unpublished }: PlannedTarget,
  { line, nodes }: { readonly line: Line; readonly nodes: readonly KnownNode[] },
  signal: AbortSignal,
): Promise<void> {
  const { app, env } = line;
  refuseUnauthorised(operator, line);
  // No node can tell what it would take of a release that is nowhere yet.
  if (unpublished === null) await refuseUnfitting(operator, { app, env, release, size, nodes }, signal);
  await refuseHeld(operator, line, signal);
}

/** What nodes themselves say, by name. */
async function askedOf(
  operator: Operator,
  { release, ...wish }: Omit<ForecastWish, "release"> & { readonly release: ReleaseId | undefined },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Forecast>> {
  if (release === undefined || wish.nodes.length === 0) return new Map();
  return await forecast(operator, { ...wish, release }, signal);
}

function exact(told: Forecast | undefined): Cost | null {
  if (told === undefined) return null;
  const { fetchBytes, atMost, diskBytes, freeBytes, gcBytes } = told;
  return { fetchBytes, atMost, diskBytes, diskAtMost: false, freeAfter: freeBytes - diskBytes, gcBytes };
}

/** No node knows what is not published. Whoever has a release of the app will fetch about what storing it takes. */
function guessed(
  { storedBytes, bytes }: NonNullable<PlannedTarget["unpublished"]>,
  from: ReleaseId | null,
  told: Forecast | undefined,
): Cost {
  const fetchBytes = from === null ? bytes : storedBytes;
  const freeAfter = told === undefined ? null : told.freeBytes - bytes;
  const gcBytes = told?.gcBytes ?? null;
  return { fetchBytes, atMost: true, diskBytes: bytes, diskAtMost: true, freeAfter, gcBytes };
}
