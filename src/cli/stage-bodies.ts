import { httpDepot } from "../depot/http.ts";
import { shortRelease } from "../lib/ids.ts";
import { formatBytes } from "../lib/units.ts";
import type { StagedNode } from "../operator/events.ts";
import { stage as stageRelease, STAGE_WITHIN_MS } from "../operator/stage.ts";
import { sourcesText } from "./board.ts";
import { HELPER_DIR, type Context, type Result } from "./context.ts";
import { deployWords, durationFlag, usage } from "./grammar.ts";
import { columns } from "./io.ts";
import { progress } from "./progress.ts";
import type { StageFlags } from "./stage-commands.ts";

export async function stage(context: Context, words: readonly string[], flags: StageFlags): Promise<Result> {
  const operator = await context.operator();
  const { globals, env, cwd, signal } = context;
  const wish = deployWords(words, {
    app: globals.app,
    on: globals.on,
    version: flags.version,
    from: flags.from,
  });
  const shown = progress(context.io);
  context.comeBack("The nodes go on without you. Run it again to see how far they are.");
  const staged = await stageRelease(operator, {
    ...wish,
    env,
    cwd,
    full: flags.full === true,
    throughCache: flags.throughCache === true,
    withinMs: withinOf(flags),
    depot: httpDepot(operator.client),
    helperDir: HELPER_DIR,
    tell: shown.tell,
    signal,
  });
  const { app, release, nodes } = staged;
  context.io.print(
    `${shortRelease(app, release)} is placed on ${countOf(nodes, "staged")} of ${nodes.length} nodes`,
  );
  for (const line of columns(nodes.map((node) => [`  ${node.node}`, outcomeText(node)])))
    context.io.print(line);
  return { ...staged };
}

function withinOf({ applyWithin }: StageFlags): number {
  const ms = applyWithin === undefined ? STAGE_WITHIN_MS.usual : durationFlag(applyWithin);
  if (ms <= STAGE_WITHIN_MS.longest) return ms;
  throw usage(`${applyWithin ?? ""} is too long to wait for a node`, "At most --apply-within 7d.");
}

const countOf = (nodes: readonly StagedNode[], outcome: StagedNode["outcome"]): number =>
  nodes.filter((node) => node.outcome === outcome).length;

function outcomeText({ outcome, already, bytesFetched, sources }: StagedNode): string {
  if (outcome === "later") return "absent: it gets the release when it comes";
  return already ? "was there already" : `${formatBytes(bytesFetched)} fetched${sourcesText(sources)}`;
}
