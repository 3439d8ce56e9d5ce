import type { ReleaseId } from "../lib/ids.ts";
import type { Strategy } from "../trust/documents.ts";
import { selectorFor, type DeployOptions } from "./deploy.ts";
import { knownNodes, selectNodes } from "./nodes.ts";
import { readLine } from "./order.ts";
import type { Operator } from "./operator.ts";
import { findRelease } from "./release.ts";
import { resolveVersion } from "./resolve.ts";
import { originOf, readManifest, type Origin } from "./source.ts";
import { manifestOfRelease } from "./release-manifest.ts";
import type { Manifest } from "../app/manifest.ts";

/** What a deployment would do. */
export interface Plan {
  readonly app: string;
  readonly env: string;
  /** null: it would have to be made first. */
  readonly release: ReleaseId | null;
  readonly commit: string | null;
  readonly selector: string;
  readonly strategy: Strategy;
  readonly nodes: readonly {
    readonly node: string;
    readonly present: boolean;
    readonly from: ReleaseId | null;
    readonly change: boolean;
  }[];
  readonly changes: number;
}

interface Found {
  readonly manifest: Manifest;
  readonly release: ReleaseId | null;
  readonly commit: string | null;
}

/** Looks, and changes nothing: nothing is built, published or signed. */
export async function planDeploy(operator: Operator, options: DeployOptions): Promise<Plan> {
  const { env, signal } = options;
  const { manifest, release, commit } = await find(operator, options);
  const line = await readLine(operator, manifest.app, env, signal);
  const wanted = selectorFor(options.selector, manifest, line).selector;
  const { selector, nodes: chosen } = selectNodes(await knownNodes(operator, signal), wanted);
  const nodes = chosen.map((node) => {
    const from = node.apps.find((one) => one.app === manifest.app && one.env === env)?.release ?? null;
    return {
      node: node.identity.name,
      present: node.present,
      from,
      change: release === null || from !== release,
    };
  });
  const changes = nodes.filter(({ change }) => change).length;
  const strategy = { ...manifest.strategy, ...options.strategy };
  return { app: manifest.app, env, release, commit, selector, strategy, nodes, changes };
}

async function find(operator: Operator, options: DeployOptions): Promise<Found> {
  const { app, version, from, env, signal } = options;
  const read = { env, signal };
  if (from !== null)
    return { manifest: await readManifest({ kind: "path", path: from }, read), release: null, commit: null };
  if (version === null) {
    const { origin } = await originOf(options.cwd, signal);
    return await ofOrigin(operator, origin, app === null ? read : { ...read, app }, signal);
  }
  await using stack = new AsyncDisposableStack();
  const found = await resolveVersion(operator, {
    app: app ?? "",
    version,
    cwd: options.cwd,
    helperDir: options.helperDir,
    stack,
    signal,
  });
  if (found.kind === "commit") return await ofOrigin(operator, found.origin, read, signal);
  const manifest = await manifestOfRelease(found.found, { depot: options.depot, env, signal });
  return { manifest, release: found.found.id, commit: found.found.release.commit };
}

async function ofOrigin(
  operator: Operator,
  origin: Origin,
  read: Parameters<typeof readManifest>[1],
  signal: AbortSignal,
): Promise<Found> {
  const manifest = await readManifest(origin, read);
  if (origin.kind === "path") return { manifest, release: null, commit: null };
  const made = await findRelease(operator, manifest.app, origin.commit, signal);
  return { manifest, release: made?.id ?? null, commit: origin.commit };
}
