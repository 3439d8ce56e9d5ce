import type { Question } from "../../api/hub-caller.ts";
import { firstPage } from "../../depot/http/http-depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { idIn, newestOf, WITH_TREE } from "../release/release.ts";
import { hereIfItIs, manifestOf, type Here, type HereOptions, type Wish } from "./resolve-wish.ts";
import { commitHere } from "./resolve-version.ts";

/** What a deployment begins with, as far as it is known before a hub is asked. */
export interface Beginning {
  /** What is here, where the wish means that. */
  readonly here?: Here;
  /** What it will ask for, at once: one request in place of many. */
  readonly ahead: readonly Question[];
}

/** Looks at this machine alone. What is amiss here is told later, in its turn: it is looked at again then. */
export async function beginningOf(wish: Wish & HereOptions): Promise<Beginning> {
  try {
    return await begin(wish);
  } catch (err) {
    if (err instanceof SkeinError) return { ahead: [] };
    throw err;
  }
}

async function begin(wish: Wish & HereOptions): Promise<Beginning> {
  const { app, version, from, env, cwd, signal } = wish;
  if (from !== null) return { ahead: questionsOf(app, env, undefined) };
  if (version === null) {
    const found = await hereIfItIs(app, wish);
    if (found === undefined) return { ahead: questionsOf(app, env, undefined) };
    const here = { ...found, manifest: found.manifest ?? (await manifestOf(found.origin, wish)) };
    const { origin, manifest } = here;
    return {
      here,
      ahead: questionsOf(manifest.app, env, origin.kind === "commit" ? origin.commit : undefined),
    };
  }
  if (app === null) return { ahead: [] };
  const id = idIn(app, version) ?? (await commitHere(cwd, version, signal))?.commit;
  return { ahead: questionsOf(app, env, id) };
}

/** @param id of the release, or of its commit, where there may be one */
function questionsOf(app: string | null, env: string, id: string | undefined): readonly Question[] {
  const nodes: Question = { name: "nodes" };
  if (app === null) return [nodes];
  const query = { app, ...WITH_TREE };
  return [
    nodes,
    { name: "app", params: { app }, query: { env } },
    { name: "releases", query: newestOf(app) },
    { name: "depotList", query: firstPage("packs/") },
    ...(id === undefined ? [] : [{ name: "release", params: { id }, query } as const]),
  ];
}
