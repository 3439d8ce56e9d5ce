import type { Bucket } from "../../bucket/bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { openBucketOperator, type BucketOperator } from "../../operator/bucket/bucket-operator.ts";
import type { Context } from "../command/context.ts";

/** @throws SkeinError NOT_AUTHORISED with what to type on an operator's machine */
export async function operatorHere(
  { paths, signal, dryRun, io }: Context,
  bucket: Bucket,
  typed: string,
): Promise<BucketOperator> {
  try {
    const note = (text: string): void => io.say(text);
    return await openBucketOperator({ paths, bucket, clock: systemClock, signal, dryRun, note });
  } catch (err) {
    if (!isSkeinError(err, "NO_CLUSTER")) throw err;
    throw new SkeinError("NOT_AUTHORISED", "this machine has no operator's key, and this must be signed", {
      cause: err,
      hint: `On an operator's machine: ${typed}`,
    });
  }
}
