import { createHash } from "node:crypto";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";

/** For tests: puts a blob of five parts into the bucket that is named, and prints how many parts were read anew. */
const bytes = Buffer.alloc(450_000, 7);
const bucket = await openBucket(process.argv[2] ?? "", process.env);
const options = {
  upload: { singleBytes: 100_000, partBytes: 100_000, atOnce: 1 },
  download: { partBytes: 100_000, atOnce: 1 },
};
let from = 0;
await s3Depot(bucket, "", options).put(
  "packs/a",
  {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open(offset) {
      from = offset;
      for (let at = offset; at < bytes.length; at += 50_000) yield bytes.subarray(at, at + 50_000);
    },
  },
  new AbortController().signal,
);
process.stdout.write(String((bytes.length - from) / 100_000));
