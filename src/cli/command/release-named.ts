import type { ReleaseId } from "../../lib/ids.ts";
import { placedCommit } from "../../operator/git.ts";
import type { FoundRelease } from "../../operator/release.ts";
import { releaseOfVersion } from "../../operator/views.ts";
import type { Context } from "./context.ts";

/** The published release that a version means: a release, or a commit of the repository here. @throws SkeinError RELEASE_NOT_FOUND */
export async function foundNamed(context: Context, app: string, version: string): Promise<FoundRelease> {
  const placed = await placedCommit(context.cwd, version, context.signal);
  const operator = await context.operator();
  return await releaseOfVersion(operator, app, version, placed?.commit, context.signal);
}

export async function releaseNamed(context: Context, app: string, version: string): Promise<ReleaseId> {
  return (await foundNamed(context, app, version)).id;
}
