import fs from "node:fs/promises";
import path from "node:path";
import type { PrunableDepot } from "../depot/seam/depot.ts";
import { directoryDepot } from "../depot/directory/directory.ts";
import { directoryDocuments } from "../depot/directory/directory-documents.ts";
import type { DocumentStore } from "../depot/seam/documents.ts";
import { isInBucket } from "../depot/open-depot.ts";
import type { S3Bucket } from "../depot/s3/bucket.ts";
import { systemClock } from "../lib/time/clock.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import { folderFiles, type BucketFiles } from "./files.ts";
import { withLateListing } from "./late-listing.ts";

/** All of a cluster that needs no server: blobs of releases, and the documents that say what is to run. */
export interface Bucket extends Disposable {
  /** For messages: `dir:/srv/bucket`, `s3://bucket/prefix`. */
  readonly name: string;
  /** As it may be named again, from anywhere: `s3://bucket/prefix?endpoint=https://s3.example.org`. */
  readonly address: string;
  readonly depot: PrunableDepot;
  readonly documents: DocumentStore;
  readonly files: BucketFiles;
}

export interface BucketOptions {
  /** Where a server's address and credentials come from (depot/s3/settings.ts). */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Something is to be written: whether the server keeps conditions is found out, for two or three requests. */
  readonly writing: boolean;
  /** It will not come to that: nothing is tried out. Default: it will. */
  readonly dry?: boolean;
  /** Nothing is to be made of a folder that is not there: what is there is tidied. Default: who writes makes it. */
  readonly isThere?: boolean;
  readonly signal: AbortSignal;
}

const DIR = "dir:";
const PRESIGNED = "presigned:";

/**
 * A bucket by its address: `s3://BUCKET/PREFIX`; `presigned:FILE` is a list of addresses that may be read; `dir:PATH`,
 * or a path, is a folder.
 * @throws SkeinError USAGE, DEPOT_SETTINGS; where it is to be written, also what the server refuses with
 */
export async function openBucket(address: string, options: BucketOptions): Promise<Bucket> {
  const dir = folderOf(address);
  if (dir !== undefined) return inFolder(dir, options);
  if (isInBucket(address)) {
    const { openBucket: openServer } = await import("../depot/s3/bucket.ts");
    return await onServer(address, await openServer(address, options.env), options);
  }
  if (address.startsWith(PRESIGNED)) {
    const { openPresigned } = await import("../depot/s3/presigned.ts");
    const named = absoluteAddress(address);
    const server = await openPresigned(named.slice(PRESIGNED.length), options.env, { clock: systemClock });
    return await onServer(named, server, { ...options, writing: false });
  }
  throw new SkeinError("USAGE", `${address} is no bucket`, {
    hint: "Write s3://BUCKET/PREFIX, or dir:PATH for a folder.",
    data: { bucket: address },
  });
}

/** The same address as it may be named from any folder: a unit's, for example. */
export function absoluteAddress(address: string): string {
  if (address.startsWith(PRESIGNED)) return PRESIGNED + path.resolve(address.slice(PRESIGNED.length));
  const dir = folderOf(address);
  return dir === undefined ? address : `dir:${dir}`;
}

function inFolder(dir: string, { writing, isThere = false }: BucketOptions): Bucket {
  const name = `dir:${dir}`;
  const there: Pick<Bucket, "documents" | "files"> = {
    documents: directoryDocuments(dir),
    files: folderFiles(dir),
  };
  return {
    name,
    address: name,
    depot: directoryDepot(dir, { isShared: true }),
    ...(writing && !isThere ? there : whereThereIs(dir, there)),
    [Symbol.dispose]: () => undefined,
  };
}

/**
 * A folder that is to be read and is not there has another name, or its disk is not mounted: it is no empty bucket.
 * Whoever writes makes it.
 */
function whereThereIs(
  dir: string,
  { documents, files }: Pick<Bucket, "documents" | "files">,
): Pick<Bucket, "documents" | "files"> {
  const check = async (): Promise<void> => {
    if (await isFolder(dir)) return;
    throw new SkeinError("BUCKET_NOT_FOUND", `there is no folder ${dir}`, {
      hint: "Check its name, and that its disk is mounted.",
      data: { path: dir },
    });
  };
  return {
    documents: {
      ...documents,
      async read(name, etag, signal) {
        const found = await documents.read(name, etag, signal);
        if (found === undefined) await check();
        return found;
      },
      async *list(prefix, signal) {
        await check();
        yield* documents.list(prefix, signal);
      },
    },
    files: {
      ...files,
      async list(prefix, signal) {
        await check();
        return await files.list(prefix, signal);
      },
    },
  };
}

const isFolder = async (dir: string): Promise<boolean> =>
  await fs.stat(dir).then(
    (stat) => stat.isDirectory(),
    () => false,
  );

/** Loaded where it is used: a machine without a server need not read the client. */
async function onServer(
  address: string,
  server: S3Bucket,
  { writing, dry = false, signal }: BucketOptions,
): Promise<Bucket> {
  const { s3Depot } = await import("../depot/s3/s3-depot.ts");
  const { keepsConditions, s3Documents } = await import("../depot/s3/s3-documents.ts");
  const { serverFiles } = await import("./server-files.ts");
  try {
    const conditional = writing && !dry && (await keepsConditions(server, "", signal));
    return {
      name: server.name,
      address,
      depot: s3Depot(server, ""),
      documents: withLateListing(s3Documents(server, "", { conditional })),
      files: serverFiles(server),
      [Symbol.dispose]: () => server[Symbol.dispose](),
    };
  } catch (err) {
    server[Symbol.dispose]();
    throw err;
  }
}

function folderOf(address: string): string | undefined {
  if (address === DIR) throw nameless(address);
  if (address.startsWith(DIR)) return path.resolve(address.slice(DIR.length));
  const isPath = address.startsWith("/") || address.startsWith("./") || address.startsWith("../");
  return isPath ? path.resolve(address) : undefined;
}

/** A variable that was to stand there is empty, mostly: it is not the folder one is in. */
function nameless(address: string): SkeinError {
  return new SkeinError("USAGE", `${address} names nothing`, {
    hint: "Write dir:PATH; dir:. is the folder here.",
    data: { bucket: address },
  });
}
