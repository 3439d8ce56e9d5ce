import { manifestOfTree } from "../../app/conventions.ts";
import type { Manifest } from "../../app/manifest.ts";
import { readerOfTree } from "../../app/tree-readers.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { Fetcher } from "../../release/fetch/fetcher.ts";
import { loadTree } from "../../release/fetch/tree-blobs.ts";
import type { FoundRelease } from "./release.ts";

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
