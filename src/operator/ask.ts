import { fromWire, SkeinError, type WireError } from "../lib/errors.ts";
import { isSilence, runCommand, whyOf, wordOf, type CommandWish, type NamedLine } from "./commands.ts";
import { isHere, knownNodes, selectNodes, type KnownNode } from "./nodes.ts";
import { noApp, readLine, selectorOf, type Line } from "./order.ts";
import type { Operator } from "./operator.ts";
import { isSkewed } from "../trust/charter.ts";

/** What one node answered to a command. */
export interface Answer {
  readonly node: string;
  /** `silent`: it is away, or said nothing before the command's time was over. */
  readonly outcome: "ok" | "failed" | "silent";
  /** All but the result; at most `LINES_KEPT`. */
  readonly lines: readonly NamedLine[];
  readonly code: string | null;
  readonly message: string | null;
}

const LINES_KEPT = 5000;

export interface Place {
  readonly app: string;
  readonly env: string;
  /** null: the nodes of the last order. */
  readonly selector: string | null;
}

export interface Asked {
  readonly line: Line;
  readonly nodes: readonly KnownNode[];
}

/** The nodes that questions about an app go to, the absent ones too. @throws SkeinError APP_NOT_FOUND, SELECTION_EMPTY */
export async function nodesOf(operator: Operator, place: Place, signal: AbortSignal): Promise<Asked> {
  const { app, env, selector } = place;
  const [line, known] = await Promise.all([
    readLine(operator, app, env, signal),
    knownNodes(operator, signal),
  ]);
  if (line.head === null) throw noApp(line);
  return { line, nodes: selectNodes(known, selector ?? selectorOf(line) ?? "all").nodes };
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
  const answers = new Map<string, Answer>();
  const lines = new Map<string, NamedLine[]>(asked.map(({ identity }) => [identity.name, []]));
  if (asked.length > 0) {
    for await (const line of runCommand(operator, { ...wish, nodes: asked }, signal)) {
      const own = lines.get(line.name) ?? [];
      if (line.type === "result") answers.set(line.name, answerOf(line, own));
      else if (own.length < LINES_KEPT) own.push(line);
      onLine(line);
    }
  }
  return wish.nodes.map(({ identity: { name } }) => answers.get(name) ?? silent(name, lines.get(name) ?? []));
}

/** @param line its result */
export function answerOf(line: NamedLine, lines: readonly NamedLine[]): Answer {
  const { name: node } = line;
  if (line["ok"] === true) return { node, outcome: "ok", lines, code: null, message: null };
  const code = wordOf(line, "code");
  const outcome = isSilence(line) ? "silent" : "failed";
  return { node, outcome, lines, code, message: whyOf(line) };
}

export const silent = (node: string, lines: readonly NamedLine[]): Answer => ({
  node,
  outcome: "silent",
  lines,
  code: null,
  message: null,
});

/**
 * To be thrown when what the others did was told: NODES_SILENT, or what the first node that failed said; null: all did
 * it.
 */
export function troubleIn(answers: readonly Answer[]): SkeinError | null {
  const done = answers.filter(({ outcome }) => outcome === "ok").length;
  const others = done === 0 ? "" : `; the other ${done === 1 ? "node" : `${done} nodes`} did it`;
  const failed = answers.find(({ outcome }) => outcome === "failed");
  if (failed !== undefined) {
    const { node, code, message } = failed;
    const wire = {
      code: code ?? "IO",
      message: `${node}: ${message ?? "it failed"}${others}`,
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
