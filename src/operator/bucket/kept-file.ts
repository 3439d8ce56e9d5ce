import path from "node:path";
import { digestOf } from "../../lib/ids.ts";
import { operatorDir } from "../identity/home.ts";
import type { BucketOperator } from "./bucket-operator.ts";

/** Where this machine keeps something about one line of a bucket. */
export function keptFile(
  { paths, bucket }: Pick<BucketOperator, "paths" | "bucket">,
  { app, env }: { readonly app: string; readonly env: string },
  folder: "sent-to-bucket" | "in-bucket",
): string {
  return path.join(operatorDir(paths), folder, digestOf(bucket.name).slice(0, 16), `${app}.${env}.json`);
}
