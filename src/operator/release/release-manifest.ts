import { manifestOfTree } from "../../app/conventions.ts";
import type { Manifest } from "../../app/manifest.ts";
import { readerOfTree } from "../../app/tree-readers.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { Fetcher } from "../../release/fetch/fetcher.ts";
import { loadTree } from "../../release/fetch/tree-blobs.ts";
import { nearTree, type FoundRelease } from "./release.ts";
import type { Operator } from "../identity/operator.ts";

export interface ReleaseManifestOptions {
  readonly depot: DepotReader;
  readonly env: string;
  readonly signal: AbortSignal;
}

/** The manifest of a release that lies in a depot, proved against the release's signed tree. */
export async function manifestOfRelease(
  found: FoundRelease,
  options: ReleaseManifestOptions,
): Promise<Manifest> {
  const { app, tree, rows, since } = found.release;
  const loaded = await loadTree(new Fetcher([options.depot], options.signal), { tree, rows, since });
  return await manifestOfTree(readerOfTree(loaded), { app, env: options.env });
}

/** The same of a release in the hub's depot, where what this machine keeps of it is not asked for. */
export async function publishedManifest(
  operator: Operator,
  found: FoundRelease,
  { depot, env, signal }: ReleaseManifestOptions & { readonly depot: Depot },
): Promise<Manifest> {
  return await manifestOfRelease(found, { depot: nearTree(operator, found, depot, signal), env, signal });
}
