import type { Depot } from "../../depot/seam/depot.ts";
import type { TreeSource } from "../../release/tree/tree-source.ts";
import type { Operator } from "../identity/operator.ts";
import { beginRelease, lookAhead, type BegunRelease } from "./release.ts";

/** Publishes a source as a release of an app, and is back when the hub has it. */
export async function makeRelease(
  operator: Operator,
  { source, app, depot, signal }: MakeWish,
): Promise<BegunRelease> {
  const ahead = lookAhead(operator, app, depot, signal);
  const begun = await beginRelease(operator, { source, ahead, signal });
  await begun.posted;
  return begun;
}

interface MakeWish {
  readonly source: TreeSource;
  readonly app: string;
  readonly depot: Depot;
  readonly signal: AbortSignal;
}
