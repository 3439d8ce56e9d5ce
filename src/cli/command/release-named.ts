import type { ReleaseId } from "../../lib/text/ids.ts";
import { publishedRelease } from "../../operator/deploy/resolve-version.ts";
import type { FoundRelease } from "../../operator/release/release.ts";
import { HELPER_DIR, type Context } from "./context.ts";

/** The published release that a version means here. @throws SkeinError RELEASE_NOT_FOUND */
export async function foundNamed(context: Context, app: string, version: string): Promise<FoundRelease> {
  const { cwd, signal } = context;
  const operator = await context.operator();
  return await publishedRelease(operator, { app, version, cwd, helperDir: HELPER_DIR, signal });
}

export async function releaseNamed(context: Context, app: string, version: string): Promise<ReleaseId> {
  return (await foundNamed(context, app, version)).id;
}
