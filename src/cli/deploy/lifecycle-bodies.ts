import { SkeinError } from "../../lib/errors/errors.ts";
import { refusedBy, runCommand, wordOf } from "../../operator/ask/commands.ts";
import * as lifecycle from "../../operator/deploy/lifecycle.ts";
import type { ReorderOptions } from "../../operator/deploy/reorder.ts";
import { ownersOf } from "../../operator/view/instance-owners.ts";
import { knownNodes, nodeNamed, type KnownNode } from "../../operator/nodes/nodes.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import type { PublishedOrder } from "../../operator/order/publish-order.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { finish, isAttended, ordering } from "./deploy-bodies.ts";
import { hasBucket } from "../command/has-bucket.ts";
import { subject, usage, type Subject } from "../command/grammar.ts";
import type { StopFlags } from "../command/verb-flags.ts";
import { progress } from "../terminal/progress.ts";

const COMMAND_VALID_MS = 60_000;

export type How = "start" | "stop" | "restart";

/** start, stop, restart. */
export async function bring(
  context: Context,
  how: How,
  word: string | undefined,
  flags: StopFlags,
): Promise<Result | undefined> {
  if (hasBucket({}))
    return await (await import("../bucket/bucket-bodies.ts")).reorder(context, how, word, flags);
  const what = subject(word, context.globals.app);
  if (what.kind === "app") return await order(context, what, how, flags);
  refuseWhole(what.instance, flags);
  return await instance(context, what, how);
}

/** What is for an app would be passed over where one instance is meant. @throws SkeinError USAGE */
function refuseWhole(named: string, { all, now, attended }: StopFlags): void {
  const given = { "--all": all, "--now": now, "--attended": attended };
  const [flag] = Object.entries(given).find(([, isGiven]) => isGiven === true) ?? [];
  if (flag === undefined) return;
  throw usage(`${flag} is for an app, and ${named} is one instance`, `Leave ${flag} out, or name the app.`);
}

type Publish = (operator: Operator, options: ReorderOptions, flags: StopFlags) => Promise<PublishedOrder>;

const PUBLISH: Readonly<Record<How, Publish>> = {
  start: lifecycle.start,
  restart: lifecycle.restart,
  stop: async (operator, options, { all, now }) =>
    await lifecycle.stop(operator, { ...options, all: all === true, now: now === true }),
};

async function order(
  context: Context,
  what: Subject & { readonly kind: "app" },
  how: How,
  flags: StopFlags,
): Promise<Result | undefined> {
  const operator = await context.operator();
  const shown = progress(context.io);
  const options = {
    app: await appHere(context, what.app),
    env: context.env,
    release: what.release,
    selector: context.globals.on ?? null,
    attended: isAttended(context, flags),
    tell: ordering(context, shown),
    signal: context.signal,
  };
  const published = await PUBLISH[how](operator, options, flags);
  return await finish(context, operator, published, shown);
}

const DONE = { start: "runs", stop: "is stopped", restart: "was restarted" } as const;

async function instance(
  context: Context,
  what: Subject & { readonly kind: "instance" },
  how: How,
): Promise<Result> {
  const operator = await context.operator();
  const node = nodeNamed(await knownNodes(operator, context.signal), what.node);
  const app = await appOfInstance(context, operator, node, what);
  // One that runs already is left alone.
  const args = { instance: what.instance, ...(how === "start" ? { idle: true } : {}) };
  const kind = how === "stop" ? "stop-instance" : "restart-instance";
  const command = { kind, app, env: context.env, args, nodes: [node], validMs: COMMAND_VALID_MS };
  for await (const line of runCommand(operator, command, context.signal)) {
    if (line.type === "line") context.io.say(`${line.name}  ${wordOf(line, "line")}`);
    if (line.type !== "result" || line["ok"] === true) continue;
    throw refusedBy(line, "NOT_FOUND");
  }
  context.io.print(`${what.instance}@${what.node} ${DONE[how]}`);
  return { app, instance: what.instance, node: what.node };
}

/** The app that was named, else the only one on the node, else the one of the manifest here. */
async function appOfInstance(
  context: Context,
  operator: Operator,
  node: KnownNode,
  what: Subject & { readonly kind: "instance" },
): Promise<string> {
  if (context.globals.app !== undefined) return context.globals.app;
  const apps = node.apps.filter(({ env }) => env === context.env).map(({ app }) => app);
  const [only, ...others] = apps;
  if (only !== undefined && others.length === 0) return only;
  const here = await appHere(context, undefined).catch(() => undefined);
  if (here !== undefined && apps.includes(here)) return here;
  if (only !== undefined) {
    const { ports } = await operator.client.ports({ env: context.env }, context.signal);
    const owners = ownersOf(apps, ports, node.identity.node, what.instance);
    throw usage(`whose instance is ${what.instance}?`, `Say --app: ${owners.join(", ")}`);
  }
  throw new SkeinError("NOT_FOUND", `${what.node} has nothing of environment ${context.env}`, {
    hint: `skein status --on ${what.node} shows what it has.`,
  });
}
