import { type ReleaseId, shortRelease } from "../../lib/text/ids.ts";
import { ask, nodesOf, type Answer, type AppSelection } from "./ask.ts";
import { numberOf, wordOf, type NamedLine } from "./commands.ts";
import type { Order } from "../../trust/document/documents.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import type { Operator } from "../identity/operator.ts";
import { orderInForce } from "../order/order.ts";

const ASK_MS = 15 * 60_000;

export interface DriftWish extends AppSelection {
  /** Read every installed file, too. */
  readonly files: boolean;
  /** Ask every instance how it is, too. */
  readonly health: boolean;
}

/** How one node differs from what it should be. */
export interface NodeDrift {
  readonly node: string;
  readonly outcome: Answer["outcome"];
  /** One sentence each; empty where all is as it should be. */
  readonly differs: readonly string[];
  readonly files: readonly FileDifference[];
  /** Differing files in all: no more than 1000 of a release are named. */
  readonly filesDiffering: number;
}

interface FileDifference {
  readonly release: string;
  readonly path: string;
  readonly reason: string;
}

/** Asks each node of an app what it has, and compares with the order in force. Changes nothing. */
export async function drift(
  operator: Operator,
  wish: DriftWish,
  signal: AbortSignal,
): Promise<readonly NodeDrift[]> {
  const { line, nodes } = await nodesOf(operator, wish, signal);
  const args = { files: wish.files, health: wish.health };
  const command = { kind: "drift", app: wish.app, env: wish.env, args, nodes, validMs: ASK_MS };
  const answers = await ask(operator, command, signal);
  const order = orderInForce(line)?.order;
  const selector = order === undefined ? undefined : parseSelector(order.selector);
  const meant = nodes.filter(({ identity }) => selector !== undefined && matches(selector, identity));
  const names = new Set(meant.map(({ identity }) => identity.name));
  // One that the order does not mean was told something else: whether it keeps to that is its own to say.
  return answers.map((answer) => driftOf(answer, names.has(answer.node) ? order : undefined));
}

/** The installed files of one release on each node, against its signed tree. */
export async function compareFiles(
  operator: Operator,
  wish: AppSelection & { readonly release: ReleaseId | null },
  signal: AbortSignal,
): Promise<{ readonly release: ReleaseId; readonly nodes: readonly NodeDrift[] }> {
  const { line, nodes } = await nodesOf(operator, wish, signal);
  const release = wish.release ?? (orderInForce(line) ?? line.head)?.order.release;
  if (release === undefined) throw new TypeError("an app that has nodes has an order");
  const args = { files: true, release };
  const command = { kind: "drift", app: wish.app, env: wish.env, args, nodes, validMs: ASK_MS };
  const answers = await ask(operator, command, signal);
  return { release, nodes: answers.map((answer) => driftOf(answer, undefined)) };
}

/** @param order what it should run; undefined: only its files are judged. Pure. */
export function driftOf(answer: Answer, order: Order | undefined): NodeDrift {
  const { node, outcome, lines, unkept, code, message } = answer;
  const failed = outcome === "failed" ? [`${code ?? ""} ${message ?? ""}`.trim()] : [];
  const of = (type: string): NamedLine[] => lines.filter((line) => line.type === type);
  const files = of("difference").map((line) => ({
    release: wordOf(line, "release"),
    path: wordOf(line, "path"),
    reason: wordOf(line, "reason"),
  }));
  const filesDiffering = of("compared").reduce((sum, line) => sum + numberOf(line, "differences"), 0);
  const [running] = of("running");
  const differs = [
    ...failed,
    ...(order === undefined || running === undefined ? [] : againstOrder(running, order)),
    ...of("missing").map(
      (line) =>
        `${numberOf(line, "serving")} of ${numberOf(line, "wanted")} ${wordOf(line, "process")} serve`,
    ),
    ...of("surplus").map(
      (line) =>
        `${numberOf(line, "instances")} ${wordOf(line, "process")} too many, which this node's labels do not ask for`,
    ),
    ...of("ailing").map((line) => `${wordOf(line, "instance")} is not well: ${wordOf(line, "why")}`),
    ...(unkept > 0
      ? [`more than is shown: it said ${unkept} lines beyond the ${lines.length} that are kept`]
      : []),
  ];
  return { node, outcome, differs, files, filesDiffering };
}

function againstOrder(running: NamedLine, order: Order): string[] {
  const { app, release, state, generation } = order;
  const name = (id: string): string => (id === "" ? "nothing" : shortRelease(app, id as ReleaseId));
  const has = wordOf(running, "release");
  const current = wordOf(running, "current");
  const found: string[] = [];
  if (running["busy"] === true) found.push("an order is under way");
  if (has !== release) found.push(`${name(has)} where ${name(release)} was ordered`);
  else if (wordOf(running, "state") !== state)
    found.push(`${wordOf(running, "state")} where ${state} was ordered`);
  else if (numberOf(running, "generation") < generation)
    found.push("a restart that was ordered is still due");
  // What is stopped may never have been here.
  if (current !== has && wordOf(running, "state") === "run")
    found.push(`current is ${name(current)} where ${name(has)} was activated`);
  return found;
}
