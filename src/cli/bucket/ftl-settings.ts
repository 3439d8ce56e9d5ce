import path from "node:path";
import { loadNodeStore } from "../../agent/node/node-store.ts";
import { openBucket, type Bucket } from "../../bucket/bucket.ts";
import { isDigest, type Digest } from "../../lib/text/ids.ts";
import { configIfThere } from "../../operator/identity/home.ts";
import type { Context } from "../command/context.ts";
import { usage } from "../command/grammar.ts";
import { first, type Environment, type PlaceFlags } from "../command/has-bucket.ts";

/** A plain name is a bucket's, as with FTL. @throws SkeinError USAGE */
export function bucketAddress(flags: PlaceFlags, env: Environment = process.env): string {
  const named = first(flags.bucket, env["SKEIN_BUCKET"], env["FTL_BUCKET"]);
  if (named === undefined) {
    throw usage(
      "which bucket?",
      "Set FTL_BUCKET (or SKEIN_BUCKET) to a bucket's name, s3://BUCKET/PREFIX or dir:PATH.",
    );
  }
  return /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(named) ? `s3://${named}` : named;
}

/** To be disposed of: connections that stay open would keep the command from ending. */
export async function bucketHere(
  flags: PlaceFlags,
  { signal, dryRun }: Context,
  why: "reading" | "writing" | "tidying",
): Promise<Bucket> {
  return await openBucket(bucketAddress(flags), {
    env: process.env,
    writing: why !== "reading",
    isThere: why === "tidying",
    dry: dryRun !== undefined,
    signal,
  });
}

const rootNamed = (flags: PlaceFlags): string | undefined =>
  first(flags.root, process.env["SKEIN_ROOT"], process.env["FTL_ROOT"]);

export const hasRoot = (flags: PlaceFlags): boolean => rootNamed(flags) !== undefined;

/** @throws SkeinError USAGE */
export function rootHere(flags: PlaceFlags): string {
  const named = rootNamed(flags);
  if (named === undefined)
    throw usage("which root?", "Set FTL_ROOT (or SKEIN_ROOT) to the folder of the packages.");
  return path.resolve(named);
}

/**
 * The fingerprint that everything is believed because of: as told, else that of the cluster which this machine
 * operates or has joined, else what the packages of `root` were pinned to; null: as it was pinned before.
 * @throws SkeinError USAGE
 */
export async function pinHere({ paths }: Context, root?: string): Promise<Digest | null> {
  const told = first(process.env["SKEIN_CHARTER"]);
  if (told !== undefined) {
    if (isDigest(told)) return told;
    throw usage("SKEIN_CHARTER is no fingerprint", "Set it to the 64 digits that skein init printed.");
  }
  const operated = (await configIfThere(paths))?.pin;
  const joined = await loadNodeStore(path.join(paths.lib, "state")).catch(() => undefined);
  const known = operated ?? joined?.state.pin ?? null;
  if (known !== null || root === undefined) return known;
  const { pinnedHere } = await import("../../agent/subscriber/listing.ts");
  return await pinnedHere(root).catch(() => null);
}
