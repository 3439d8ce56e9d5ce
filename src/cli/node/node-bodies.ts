import { shortRelease } from "../../lib/text/ids.ts";
import * as nodes from "../../operator/nodes/nodes.ts";
import type { FormerNode } from "../../operator/nodes/node-identity.ts";
import { DROPPED } from "../../operator/order/order.ts";
import { appsOf } from "../../operator/view/views.ts";
import { isSkewed } from "../../trust/charter/charter.ts";
import { labelKey, labelValue } from "../../trust/document/fields.ts";
import { confirmName } from "../command/confirm.ts";
import type { Context, Result } from "../command/context.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { durationFlag, labelWords, usage } from "../command/grammar.ts";
import { refuseNodeName } from "../command/node-name.ts";
import type { InviteFlags } from "../command/verb-flags.ts";
import { columns } from "../terminal/io.ts";

export async function invite(
  context: Context,
  name: string | undefined,
  flags: InviteFlags,
): Promise<Result> {
  const labels = labelsOf(flags.label ?? []);
  refuseNodeName(name);
  const validMs = durationFlag(flags.valid);
  if (validMs === 0) throw usage("a line that may be used for no time lets nobody in", "--valid 1h");
  const given = Object.entries(labels).filter((entry): entry is [string, string] => entry[1] !== null);
  if (given.length < Object.keys(labels).length)
    throw usage("an invitation has no label to take away", "--label role=web");
  if (hasBucket({})) {
    const { invite: inviteHere } = await import("../bucket/bucket-bodies.ts");
    return await inviteHere(context, name, Object.fromEntries(given), flags);
  }
  const operator = await context.operator();
  if (flags.replace !== undefined) {
    await nodes.endableNode(operator, flags.replace, context.signal);
    await confirmName(context, `This ends the identity of node ${flags.replace}`, flags.replace);
  }
  const invitation = await nodes.invite(
    operator,
    {
      name: name ?? null,
      labels: Object.fromEntries(given),
      validMs,
      replace: flags.replace ?? null,
    },
    context.signal,
  );
  context.io.say(`Run this on the new node until ${invitation.expires}. It works once; keep it to yourself.`);
  context.io.print(`skein agent --join ${invitation.line}`);
  return { ...invitation, command: `skein agent --join ${invitation.line}` };
}

/** @throws SkeinError USAGE for what could not be signed as labels */
function labelsOf(words: readonly string[]): Record<string, string | null> {
  const changes = labelWords(words);
  for (const [key, value] of Object.entries(changes)) {
    const isRight =
      labelKey.safeParse(key).success && (value === null || labelValue.safeParse(value).success);
    if (!isRight) {
      throw usage(
        `${key}${value === null ? "" : `=${value}`} is no label`,
        "Write a-z, 0-9, - and _ before the =, letters, digits, - _ . : after it: role=web.",
      );
    }
  }
  return changes;
}

export async function list(context: Context, selector: string | undefined): Promise<Result> {
  const operator = await context.operator();
  const { members: all, former: out } = await nodes.membersAndFormer(operator, context.signal);
  const wanted = selector ?? context.globals.on;
  const shown = wanted === undefined ? all : nodes.selectNodes(all, wanted).nodes;
  const former = wanted === undefined ? out : [];
  for (const line of [...nodeLines(shown), ...former.map(formerLine)]) context.io.print(line);
  if (all.length + former.length === 0) context.io.say("There is no node yet: skein node invite");
  return { nodes: shown, ...(former.length === 0 ? {} : { former }) };
}

/** The table of nodes: name, whether it is there, address, labels, what it runs. */
export function nodeLines(shown: readonly nodes.KnownNode[]): string[] {
  if (shown.length === 0) return [];
  return columns([
    ["NODE", "STATE", "ADDRESS", "LABELS", "APPS"],
    ...shown.map((node) => [
      node.identity.name,
      stateOf(node),
      node.address ?? "-",
      nodes.labelText(node.identity.labels) || "-",
      appsText(node) || "-",
    ]),
  ]);
}

/** What runs there goes on. */
const formerLine = ({ identity: { name }, invitedBy }: FormerNode): string =>
  `${name} is no member: ${invitedBy}, ${DROPPED}, had invited it. skein node invite --replace ${name} lets it in anew, skein node rm ${name} takes the name off`;

function stateOf(node: nodes.KnownNode): string {
  if (node.duplicate) return "DUPLICATE";
  if (isSkewed(node.skewMs)) return "CLOCK_SKEW";
  return node.present ? "present" : "absent";
}

const appsText = ({ apps }: nodes.KnownNode): string =>
  apps
    .map(({ app, release, state }) => (release === null ? `${app} (${state})` : shortRelease(app, release)))
    .join(" ");

export async function show(context: Context, name: string): Promise<Result> {
  const operator = await context.operator();
  const node = nodes.nodeNamed(await nodes.knownNodes(operator, context.signal), name);
  const apps = await appsOf(operator, node, context.signal);
  const rows = [
    ["node", node.identity.name],
    ["key", node.identity.node],
    ["state", stateOf(node)],
    ["address", node.address ?? "-"],
    ["labels", nodes.labelText(node.identity.labels) || "-"],
    ["last seen", node.lastSeen ?? "never"],
    ["version", node.version ?? "-"],
    ["clock", node.skewMs === null ? "-" : `${node.skewMs} ms off the hub's`],
    ...apps.map(({ app, env, release, state, beside }) => [
      `${app}/${env}`,
      [
        release === null ? "nothing" : shortRelease(app, release),
        state,
        ...beside.map((id) => `beside ${shortRelease(app, id)}`),
      ].join("  "),
    ]),
  ];
  for (const line of columns(rows)) context.io.print(line);
  return { node: { ...node, apps } };
}

export async function remove(context: Context, name: string): Promise<Result> {
  const operator = await context.operator();
  // Nobody is to type the name of what is not there.
  await nodes.endableNode(operator, name, context.signal);
  await confirmName(context, `This ends the membership of node ${name}`, name);
  const node = await nodes.removeNode(operator, name, context.signal);
  context.io.print(
    `${node.identity.name} is no member any more; what runs there goes on until it is stopped there`,
  );
  return { node: node.identity.node, name };
}

export async function label(context: Context, name: string, words: readonly string[]): Promise<Result> {
  const changes = labelsOf(words);
  const identity = await nodes.labelNode(await context.operator(), name, changes, context.signal);
  context.io.print(`${identity.name}  ${nodes.labelText(identity.labels) || "-"}`);
  return { node: identity.node, name: identity.name, labels: identity.labels };
}
