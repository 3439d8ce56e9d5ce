import type { Bucket } from "../../bucket/bucket.ts";
import type { RevisionWord } from "../../bucket/layout.ts";
import { unpinned } from "../../agent/node/join-bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { charterIn, lookAt } from "../../operator/bucket/bucket-operator.ts";
import { meantRelease, type BucketRelease } from "../../operator/bucket/bucket-releases.ts";
import type { Context } from "../command/context.ts";
import { hasRoot, pinHere, rootHere } from "./ftl-settings.ts";

/**
 * A release that the bucket has, checked under the charter that this machine pins: no key is needed.
 * @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS, CHARTER_PIN, and what the bucket throws
 */
export async function releaseInBucket(
  context: Context,
  { package: { app, name }, revision }: RevisionWord,
  bucket: Bucket,
): Promise<BucketRelease> {
  const { signal } = context;
  const pin = await pinHere(context, hasRoot({}) ? rootHere({}) : undefined);
  if (pin === null) throw unpinned();
  const { root } = await lookAt(bucket, signal);
  const charter = await charterIn(bucket, root, pin, systemClock.now(), signal);
  return await meantRelease({ bucket, charter, clock: systemClock }, { app, name, revision }, signal);
}
