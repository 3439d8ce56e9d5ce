import path from "node:path";
import type { Manifest } from "../../app/manifest.ts";
import type { AppEnv, ReleaseId } from "../../lib/text/ids.ts";
import type { Release } from "../../trust/document/documents.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import type { Identity } from "../../trust/members/identity.ts";
import type { RunAs } from "../programs/command.ts";
import type { HookPlace } from "../programs/hooks.ts";
import type { Caller } from "../registry/registry.ts";
import type { ReleasePlan } from "../runtime/release-plan.ts";
import type { AppFolders } from "./folders.ts";

/** A release that is installed here, with all that is needed to run it. */
export interface LoadedRelease {
  readonly id: ReleaseId;
  readonly document: Release;
  readonly manifest: Manifest;
  readonly user: RunAs | undefined;
  readonly dir: string;
  plan(generation: number): ReleasePlan;
  place(previous: ReleaseId | null): HookPlace;
}

interface Loaded extends Pick<LoadedRelease, "id" | "document" | "manifest" | "user" | "dir"> {
  readonly name: AppEnv;
  readonly folders: AppFolders;
  readonly self: Identity;
  readonly registryUrl: (caller: Caller) => string | null;
}

/** Says how a release runs on this node, and what its hooks are told. */
export function loadedRelease(loaded: Loaded): LoadedRelease {
  const { name, id, document, manifest, user, dir, folders, self } = loaded;
  const of = { app: name.app, release: id, commit: document.commit, dir, data: folders.data };
  return {
    id,
    document,
    manifest,
    user,
    dir,
    plan: (generation) => ({
      ...of,
      generation,
      environment: name.env,
      repo: name.app,
      user: user ?? null,
      env: manifest.env,
      processes: processesHere(loaded),
    }),
    place: (previous) => ({
      ...of,
      env: name.env,
      previous,
      node: self.name,
      root: folders.root,
      package: path.basename(folders.app),
      user,
      manifest,
    }),
  };
}

/** Those that this node's labels ask for. */
function processesHere({ name, id, manifest, self, registryUrl }: Loaded): ReleasePlan["processes"] {
  return Object.entries(manifest.processes)
    .filter(([, { on }]) => on === null || matches(parseSelector(on), self))
    .map(([process, spec]) => {
      const uses = [...new Set([...manifest.uses, ...spec.uses])].sort();
      const registry = registryUrl({ app: name.app, env: name.env, release: id, uses });
      return { ...spec, name: process, uses, registry };
    });
}
