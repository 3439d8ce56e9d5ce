import type { ReleaseId } from "../lib/ids.ts";
import { commitOf, workTreeOf } from "../operator/git.ts";
import type { FoundRelease } from "../operator/release.ts";
import { releaseOfVersion } from "../operator/views.ts";
import type { Context } from "./context.ts";

/** The published release that a version means: a release, or a commit of the repository here. @throws SkeinError RELEASE_NOT_FOUND */
export async function foundNamed(context: Context, app: string, version: string): Promise<FoundRelease> {
  const repo = await workTreeOf(context.cwd, context.signal);
  const commit = repo === undefined ? undefined : await commitOf(repo, version, context.signal);
  return await releaseOfVersion(await context.operator(), app, version, commit, context.signal);
}

export async function releaseNamed(context: Context, app: string, version: string): Promise<ReleaseId> {
  return (await foundNamed(context, app, version)).id;
}
