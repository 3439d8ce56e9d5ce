import { httpDepot } from "../../depot/http/http-depot.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { ask, nodesOf, type AppSelection } from "../ask/ask.ts";
import { wordOf } from "../ask/commands.ts";
import type { Operator } from "../identity/operator.ts";
import { findRelease } from "../release/release.ts";
import { manifestOfRelease } from "../release/release-manifest.ts";

const VERSION_MS = 2 * 60_000;

/**
 * What the manifest's `version` prints on each node, by the node's name. Nothing is asked where none of these releases
 * has such a command; who is away, or cannot say, is not in it.
 */
export async function saidVersions(
  operator: Operator,
  selection: AppSelection,
  running: readonly (ReleaseId | null)[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const releases = [...new Set(running)].filter((release) => release !== null);
  const have = await Promise.all(
    releases.map(async (id) => await hasVersion(operator, selection, id, signal)),
  );
  if (!have.includes(true)) return new Map();
  const { nodes } = await nodesOf(operator, selection, signal);
  const wish = {
    kind: "version",
    app: selection.app,
    env: selection.env,
    args: {},
    nodes,
    validMs: VERSION_MS,
  };
  const answers = await ask(operator, wish, signal);
  return new Map(
    answers.flatMap(({ node, outcome, lines }) => {
      const said = lines.find(({ type }) => type === "version");
      return outcome === "ok" && said !== undefined ? [[node, wordOf(said, "version")] as const] : [];
    }),
  );
}

async function hasVersion(
  operator: Operator,
  { app, env }: AppSelection,
  release: ReleaseId,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await findRelease(operator, app, release, signal);
  if (found === undefined) return false;
  const manifest = await manifestOfRelease(found, { depot: httpDepot(operator.client), env, signal });
  return manifest.version !== null;
}
