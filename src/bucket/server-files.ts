import type { S3Bucket } from "../depot/s3/bucket.ts";
import { DOWNLOAD, download } from "../depot/s3/download.ts";
import { pagesOf } from "../depot/s3/listing.ts";
import { UPLOAD, upload } from "../depot/s3/upload.ts";
import type { BucketFiles } from "./files.ts";

/** Files at the top of a bucket on a server, after its prefix. */
export function serverFiles(bucket: S3Bucket): BucketFiles {
  return {
    async list(prefix, signal) {
      const names: string[] = [];
      for await (const page of pagesOf(bucket, prefix, signal)) {
        for (const { key } of page) if (!key.includes("/") && !key.startsWith(".")) names.push(key);
      }
      return names.sort();
    },
    get: (name, signal) => download(bucket, name, signal, undefined, DOWNLOAD),
    delete: async (name, signal) => {
      await bucket.tell({ method: "DELETE", key: name, accept: [404], signal });
    },
    put: async (name, file, signal) => await upload(bucket, name, file, signal, UPLOAD),
  };
}
