import { shortRelease } from "../../lib/text/ids.ts";
import { formatBytes, sourcesText } from "../../lib/text/units.ts";
import type { StagedNode } from "../../operator/tell/events.ts";
import type { StageResult } from "../../operator/deploy/stage.ts";
import { columns, type Io } from "../terminal/io.ts";

/** Where a release was placed, node by node. */
export function sayStaged(io: Io, { app, release, nodes }: StageResult): void {
  const placed = nodes.filter(({ outcome }) => outcome === "staged").length;
  io.print(`${shortRelease(app, release)} is placed on ${placed} of ${nodes.length} nodes`);
  for (const line of columns(nodes.map((node) => [`  ${node.node}`, outcomeText(node)]))) io.print(line);
}

function outcomeText({ outcome, already, bytesFetched, sources }: StagedNode): string {
  if (outcome === "later") return "absent: it gets the release when it comes";
  return already ? "was there already" : `${formatBytes(bytesFetched)} fetched${sourcesText(sources)}`;
}
