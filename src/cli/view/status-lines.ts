import { appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { DROPPED } from "../../operator/order/order.ts";
import type { AppStatus } from "../../operator/view/views.ts";
import { columns } from "../terminal/io.ts";

/** It is under way, or will never stand. */
const NEEDS_NO_SETTLE: ReadonlySet<string> = new Set([
  "pending",
  "running",
  "paused",
  "baking",
  "undoing",
  "undone",
  "failed",
]);

/** How an app is, and what of it needs somebody. */
export function statusLines(one: AppStatus): string[] {
  const { app, env, release, inForce, phase, unsettled, nodes } = one;
  const settled = unsettled && !NEEDS_NO_SETTLE.has(phase) ? "  UNSETTLED" : "";
  const back = phase === "undone" && inForce !== null ? `, ${shortRelease(app, inForce)} is in force` : "";
  const head = `${shortRelease(app, release)}  ${env}  ${howItIs(one)}${back}${settled}`;
  const rows = nodes.map((node) => [
    `  ${node.node}`,
    node.release === null ? "-" : shortRelease(app, node.release),
    node.current ? node.state : `${node.state} (differs)`,
    [
      node.present ? "" : "absent",
      ...node.beside.map((id) => `beside ${shortRelease(app, id)}`),
      node.note ?? "",
    ]
      .filter((text) => text !== "")
      .join(" "),
  ]);
  return [head, ...settleLines(one), ...signerLines(one), ...columns(rows)];
}

/** The same of many, a line each. */
export function appLines(apps: readonly AppStatus[]): string[] {
  if (apps.length === 0) return [];
  return columns([
    ["APP", "ENV", "RELEASE", "STATE", "NODES", "SINCE"],
    ...apps.map((one) => [
      one.app,
      one.env,
      shortRelease(one.app, one.inForce ?? one.release),
      // What became of another release says nothing of the one that serves.
      other(one) + howItIs(one),
      `${one.nodes.filter(({ current }) => current).length}/${one.nodes.length}`,
      one.issued,
    ]),
  ]).flatMap((line, i) => [line, ...signerLines(apps[i - 1])]);
}

/** A stop that was taken back stopped nothing. */
const howItIs = ({ state, phase }: AppStatus): string =>
  state === "stopped" && phase !== "undone" ? "stopped" : phase;

const other = ({ app, inForce, release }: AppStatus): string =>
  inForce === null || inForce === release ? "" : `${shortRelease(app, release)} `;

/** Its order stands; whoever orders next signs what nodes that come later can take. */
const signerLines = (one: AppStatus | undefined): readonly string[] =>
  one?.droppedSigner === undefined
    ? []
    : [`  its order was signed by ${one.droppedSigner}, ${DROPPED}: ${sameAgain(one)} signs it anew`];

/** Whoever was to sign, once all had ended well, that it stands was gone by then: nodes keep what ran before at hand. */
const settleLines = (one: AppStatus): readonly string[] =>
  one.unsettled && one.phase === "ok"
    ? [`  nobody has signed that it stands: ${sameAgain(one)} does, skein rollback ${typed(one)} goes back`]
    : [];

const typed = ({ app, env }: AppStatus): string => appAsTyped(app, env);

/** What orders the same once more. */
const sameAgain = (one: AppStatus): string =>
  one.state === "stopped"
    ? `skein stop ${typed(one)}`
    : `skein deploy ${typed(one)} ${(one.inForce ?? one.release).slice(0, 8)}`;
