import { openBucket } from "../../bucket/bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { importRelease } from "./release-file.ts";
import { bucketShelf } from "./shelf.ts";

/** For tests: imports a file into a bucket. Arguments: bucket, file, fingerprint. */
const [address = "", file = "", pin = ""] = process.argv.slice(2);
const { signal } = new AbortController();
using bucket = await openBucket(address, { env: process.env, writing: true, signal });
await importRelease(bucketShelf(bucket, systemClock), {
  file,
  pin: pin as Digest,
  clock: systemClock,
  signal,
});
