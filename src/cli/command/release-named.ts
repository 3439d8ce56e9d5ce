import type { ReleaseId } from "../../lib/ids.ts";
import { placedCommit } from "../../operator/source/git.ts";
import type { FoundRelease } from "../../operator/release/release.ts";
import { releaseOfVersion } from "../../operator/view/views.ts";
import { HELPER_DIR, type Context } from "./context.ts";

/** The published release that a version means, also as a revision of the repository here or of the hub's. @throws SkeinError RELEASE_NOT_FOUND */
export async function foundNamed(context: Context, app: string, version: string): Promise<FoundRelease> {
  const { cwd, signal } = context;
  const commit = (await placedCommit(cwd, version, signal))?.commit;
  const operator = await context.operator();
  return await releaseOfVersion(operator, { app, version, commit, helperDir: HELPER_DIR, signal });
}

export async function releaseNamed(context: Context, app: string, version: string): Promise<ReleaseId> {
  return (await foundNamed(context, app, version)).id;
}
