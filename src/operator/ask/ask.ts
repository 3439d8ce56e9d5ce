import { fromWire, SkeinError, type WireError } from "../../lib/errors/errors.ts";
import {
  hintOf,
  isSilence,
  runCommand,
  whyOf,
  wordOf,
  type CommandWish,
  type NamedLine,
} from "./commands.ts";
import { isHere, knownNodes, selectNodes, type KnownNode } from "../nodes/nodes.ts";
import { noApp, readLine, selectorOf, type Line } from "../order/order.ts";
import type { Operator } from "../identity/operator.ts";
import { isSkewed } from "../../trust/charter/charter.ts";

/** What one node answered to a command. */
export interface Answer {
  readonly node: string;
  /** `silent`: it is away, or said nothing before the command's time was over. */
  readonly outcome: "ok" | "failed" | "silent";
  /** All but the result; at most `LINES_KEPT`. */
  readonly lines: readonly NamedLine[];
  /** How many more there were. */
  readonly unkept: number;
  readonly code: string | null;
  readonly message: string | null;
  readonly hint: string | null;
}

const LINES_KEPT = 5000;

/** An app's nodes, or some of them. */
export interface AppSelection {
  readonly app: string;
  readonly env: string;
  /** null: the nodes of the last order. */
  readonly selector: string | null;
}

export interface AppNodes {
  readonly line: Line;
  readonly nodes: readonly KnownNode[];
}

/** The nodes that questions about an app go to, the absent ones too. @throws SkeinError APP_NOT_FOUND, SELECTION_EMPTY */
export async function nodesOf(
  operator: Operator,
  { app, env, selector }: AppSelection,
  signal: AbortSignal,
): Promise<AppNodes> {
  const [line, known] = await Promise.all([
    readLine(operator, app, env, signal),
    knownNodes(operator, signal),
  ]);
  if (line.head === null) throw noApp(line);
  return { line, nodes: selectNodes(known, selector ?? selectorOf(line) ?? "all").nodes };
}

/** Those of them that are present. @throws SkeinError NODES_ABSENT where none is, and as `nodesOf` */
export async function presentNodesOf(
  operator: Operator,
  selection: AppSelection,
  signal: AbortSignal,
): Promise<readonly KnownNode[]> {
  const { nodes } = await nodesOf(operator, selection, signal);
  const present = nodes.filter((node) => node.present);
  if (present.length > 0) return present;
  throw new SkeinError("NODES_ABSENT", `none of the ${nodes.length} nodes of ${selection.app} is present`, {
    data: { nodes: nodes.map(({ identity }) => identity.name) },
  });
}

/**
 * Asks nodes by one signed command and gathers what each says, in their order. Absent nodes are not waited for.
 * @param wish `silentToo`: the command names also those of whom nothing is heard; the hub answers for them
 */
export async function ask(
  operator: Operator,
  wish: CommandWish & { readonly silentToo?: boolean },
  signal: AbortSignal,
  onLine: (line: NamedLine) => void = () => undefined,
): Promise<readonly Answer[]> {
  const isSilent = (node: KnownNode): boolean => !node.present && !node.duplicate && !isSkewed(node.skewMs);
  const asked = wish.nodes.filter((node) => isHere(node) || (wish.silentToo === true && isSilent(node)));
  const heard = new Heard();
  if (asked.length > 0) {
    for await (const line of runCommand(operator, { ...wish, nodes: asked }, signal)) {
      heard.take(line);
      onLine(line);
    }
  }
  return wish.nodes.map(({ identity }) => heard.answer(identity.name));
}

interface Said {
  readonly lines: NamedLine[];
  unkept: number;
  result: NamedLine | undefined;
}

/** What nodes say, in any order. A node may say as much as it likes, and is kept to a bound. */
export class Heard {
  readonly #said = new Map<string, Said>();

  take(line: NamedLine): void {
    const said = this.#said.get(line.name) ?? { lines: [], unkept: 0, result: undefined };
    this.#said.set(line.name, said);
    if (line.type === "result") said.result = line;
    else if (said.lines.length < LINES_KEPT) said.lines.push(line);
    else said.unkept += 1;
  }

  /** What one of them has answered, as far as is known. */
  answer(node: string): Answer {
    const { lines = [], unkept = 0, result } = this.#said.get(node) ?? {};
    const told = { node, lines, unkept, code: null, message: null, hint: null };
    if (result === undefined) return { ...told, outcome: "silent" };
    if (result["ok"] === true) return { ...told, outcome: "ok" };
    const outcome = isSilence(result) ? "silent" : "failed";
    return {
      ...told,
      outcome,
      code: wordOf(result, "code"),
      message: whyOf(result),
      hint: hintOf(result),
    };
  }
}

/**
 * To be thrown when what the others did was told: NODES_SILENT, or what the first node that failed said; null: all did
 * it.
 */
export function troubleIn(answers: readonly Answer[]): SkeinError | null {
  const done = answers.filter(({ outcome }) => outcome === "ok").length;
  const others = done === 0 ? "" : `; the other ${done === 1 ? "node" : `${done} nodes`} did it`;
  const failed = answers.find(({ outcome }) => outcome === "failed");
  if (failed !== undefined) {
    const { node, code, message, hint } = failed;
    const wire = {
      code: code ?? "IO",
      message: `${node}: ${message ?? "it failed"}${others}`,
      ...(hint === null ? {} : { hint }),
      data: { node },
    };
    return fromWire(wire as WireError);
  }
  const silent = answers.filter(({ outcome }) => outcome === "silent").map(({ node }) => node);
  if (silent.length === 0) return null;
  return new SkeinError("NODES_SILENT", `no answer from ${silent.join(", ")}${others}`, {
    data: { nodes: silent },
  });
}
