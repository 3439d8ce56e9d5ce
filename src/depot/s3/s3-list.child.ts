import { writeFileSync } from "node:fs";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";

/**
 * For tests: `node s3-list.child.ts BUCKET [FILE TEXT]` says which blobs the bucket has, or the code of what went wrong,
 * by this process's own settings; then it writes the text to the file and says it again.
 */
const [location = "", file, text = ""] = process.argv.slice(2);
try {
  using bucket = await openBucket(location, process.env);
  const look = async (): Promise<string> =>
    (await Array.fromAsync(s3Depot(bucket, "").list("", new AbortController().signal))).join(" ");
  process.stdout.write(await look().catch(said));
  if (file !== undefined) {
    writeFileSync(file, text);
    process.stdout.write(`, then ${await look().catch(said)}`);
  }
} catch (err) {
  process.stdout.write(said(err));
}

function said(err: unknown): string {
  return isSkeinError(err) ? `${err.code} ${err.message}` : String(err);
}
