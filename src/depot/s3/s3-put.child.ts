import { putByPieces } from "../seam/put-by-pieces.fixture.ts";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";

/** For tests: puts a blob of five parts into the bucket that is named, and prints how many parts were read anew. */
const SIZE = 450_000;
const PART = 100_000;
const bucket = await openBucket(process.argv[2] ?? "", process.env);
const depot = s3Depot(bucket, "", {
  upload: { singleBytes: PART, partBytes: PART, atOnce: 1 },
  download: { partBytes: PART, atOnce: 1 },
});
const from = await putByPieces(depot, SIZE, PART / 2);
process.stdout.write(String((SIZE - from) / PART));
