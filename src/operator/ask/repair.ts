import { ask, nodesOf, type Answer, type AppSelection } from "./ask.ts";
import { announce } from "../tell/dry-run.ts";
import { namesOf } from "../tell/names-of.ts";
import { numberOf, wordOf, type NamedLine } from "./commands.ts";
import { drift, type NodeDrift } from "./drift.ts";
import type { Operator } from "../identity/operator.ts";

const REPAIR_MS = 2 * 3_600_000;

export interface RepairWish extends AppSelection {
  /** Fetch and replace every file of what runs, on every node. */
  readonly full: boolean;
}

/** What was done on one node. */
export interface RepairedNode {
  readonly node: string;
  /** `well`: there was nothing to do. `silent`: it is away, or did not answer. */
  readonly outcome: "well" | "repaired" | "failed" | "silent";
  /** One sentence each. */
  readonly done: readonly string[];
  readonly code: string | null;
  readonly message: string | null;
}

/**
 * Looks at all nodes of an app at once, then mends those that need it one after the other, so that what one node loses
 * by it is served by the others. Tells each node as it ends.
 */
export async function repair(
  operator: Operator,
  wish: RepairWish,
  options: { readonly signal: AbortSignal; readonly tell: (node: RepairedNode) => void },
): Promise<readonly RepairedNode[]> {
  const { signal, tell } = options;
  const { nodes } = await nodesOf(operator, wish, signal);
  const looked = await drift(operator, { ...wish, files: true, health: true }, signal);
  announceRepair(operator, wish, looked);
  const done: RepairedNode[] = [];
  for (const node of nodes) {
    const { name } = node.identity;
    const found = looked.find((one) => one.node === name);
    const idle = whyIdle(found, wish.full);
    const row = idle === null ? await repairNode(operator, wish, node, signal) : untouched(name, idle);
    tell(row);
    done.push(row);
  }
  return done;
}

function announceRepair(
  operator: Operator,
  { app, env, full }: RepairWish,
  looked: readonly NodeDrift[],
): void {
  const nodes = looked.filter((one) => whyIdle(one, full) === null);
  if (nodes.length === 0) return;
  announce(operator, () => ({
    text: `${app} would be mended on ${namesOf(nodes.map(({ node }) => node))}`,
    rows: nodes.flatMap(({ node, differs, files }) => [
      ...differs.map((text) => [`  ${node}`, text]),
      ...files.map(({ reason, path }) => [`  ${node}`, `${reason} ${path}`]),
    ]),
    data: { deed: "repair", app, env, full, nodes },
  }));
}

/** null: something is to be done there. */
function whyIdle(found: NodeDrift | undefined, full: boolean): "silent" | "well" | null {
  if (found === undefined || found.outcome === "silent") return "silent";
  const isWell = found.outcome === "ok" && found.differs.length === 0 && found.filesDiffering === 0;
  return isWell && !full ? "well" : null;
}

async function repairNode(
  operator: Operator,
  { app, env, full }: RepairWish,
  node: Awaited<ReturnType<typeof nodesOf>>["nodes"][number],
  signal: AbortSignal,
): Promise<RepairedNode> {
  const wish = { kind: "repair", app, env, args: { full }, nodes: [node], validMs: REPAIR_MS };
  const [answer] = await ask(operator, wish, signal);
  return answer === undefined ? untouched(node.identity.name, "silent") : repairedOf(answer);
}

const untouched = (node: string, outcome: "silent" | "well"): RepairedNode => ({
  node,
  outcome,
  done: [],
  code: null,
  message: null,
});

/** Pure. */
export function repairedOf({ node, outcome, lines, unkept, code, message }: Answer): RepairedNode {
  const more = unkept > 0 ? [`more than is shown: it said ${unkept} lines beyond those`] : [];
  const done = [...lines.flatMap(sentenceOf), ...more];
  if (outcome !== "ok") return { node, outcome, done, code, message };
  return { node, outcome: done.length === 0 ? "well" : "repaired", done, code: null, message: null };
}

const SENTENCES: Readonly<Record<string, (line: NamedLine) => string>> = {
  mended: (line) => `${wordOf(line, "path") || "the release"} (${wordOf(line, "reason")}) was set right`,
  files: (line) => {
    const shared = numberOf(line, "shared");
    const more = shared === 0 ? "" : `, and ${shared} in other releases that shared them`;
    const files = numberOf(line, "files");
    return `${files} ${files === 1 ? "file was" : "files were"} replaced${more}`;
  },
  current: () => "current was pointed at what runs",
  started: (line) => `${numberOf(line, "instances")} ${wordOf(line, "process")} came back`,
  ended: (line) =>
    `${numberOf(line, "instances")} ${wordOf(line, "process")} ended, which this node's labels do not ask for`,
  ailing: (line) => `${wordOf(line, "instance")} was not well: ${wordOf(line, "why")}`,
  replaced: (line) => `${wordOf(line, "instance")} was replaced`,
};

function sentenceOf(line: NamedLine): string[] {
  const sentence = SENTENCES[line.type];
  return sentence === undefined ? [] : [sentence(line)];
}
