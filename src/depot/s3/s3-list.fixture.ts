import { isSkeinError } from "../../lib/errors.ts";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";

/** For tests: says which blobs the bucket has that is named, or the code of what went wrong, by this process's own settings. */
try {
  using bucket = await openBucket(process.argv[2] ?? "", process.env);
  const names = await Array.fromAsync(s3Depot(bucket, "").list("", new AbortController().signal));
  process.stdout.write(names.join(" "));
} catch (err) {
  process.stdout.write(isSkeinError(err) ? `${err.code} ${err.message}` : String(err));
}
