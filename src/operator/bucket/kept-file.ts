import path from "node:path";
import { digestOf, type AppEnv } from "../../lib/text/ids.ts";
import { operatorDir } from "../identity/home.ts";
import type { BucketOperator } from "./bucket-operator.ts";

/** Where this machine keeps something about one line of a bucket. */
export function keptFile(
  { paths, bucket }: Pick<BucketOperator, "paths" | "bucket">,
  { app, env }: AppEnv,
  folder: "sent-to-bucket" | "in-bucket",
): string {
  return path.join(operatorDir(paths), folder, digestOf(bucket.name).slice(0, 16), `${app}.${env}.json`);
}
