import type { Bucket } from "../../bucket/bucket.ts";
import { readRoot, type Look } from "../../bucket/entries.ts";
import { charterChain, followCharters } from "../../bucket/following.ts";
import type { PublishTools } from "../../bucket/publish.ts";
import type { Root } from "../../bucket/root.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { nextCharter, openChain } from "../../trust/charter/charter.ts";
import type { Charter } from "../../trust/document/documents.ts";
import type { Signer } from "../../trust/keys/keys.ts";
import { signerIn, type Doer } from "../tell/dry-run.ts";
import {
  keepCharter,
  readCharters as keptCharters,
  readConfig,
  type OperatorConfig,
} from "../identity/home.ts";
import { signerFor } from "../identity/signer-and-hubs.ts";

/** An operator of a cluster that has a bucket and need not have a hub. */
export interface BucketOperator extends Doer {
  readonly paths: Paths;
  readonly config: OperatorConfig;
  readonly charter: Charter;
  readonly signer: Signer;
  readonly bucket: Bucket;
  /** The bucket's root as it was when this began. */
  readonly root: Root;
  readonly clock: Clock;
  /** Told of what was found in the bucket and mended. */
  readonly note: (text: string) => void;
}

export interface BucketOperatorOptions extends Doer {
  readonly paths: Paths;
  readonly bucket: Bucket;
  readonly clock: Clock;
  /** Default: nobody is told. */
  readonly note?: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Opens the identity of this machine and brings its charter up to date from the bucket.
 * @throws SkeinError NO_CLUSTER, KEY_UNREADABLE, CHARTER_PIN where the bucket is another cluster's, CHARTER_*
 */
export async function openBucketOperator(options: BucketOperatorOptions): Promise<BucketOperator> {
  const { paths, bucket, clock, signal, dryRun } = options;
  const config = await readConfig(paths);
  const signer = signerIn(options, await signerFor(paths, config));
  const chain = await keptCharters(paths);
  let charter = openChain(chain, config.pin, clock.now()).body;
  const { root } = await lookAt(bucket, signal);
  await refuseOther(bucket, root, config.pin, clock, signal);
  const note = options.note ?? ((): void => undefined);
  const now = clock.now();
  const { envelopes, trouble } = await followCharters(bucket.documents, charter, root.charter, {
    now,
    signal,
  });
  for (const envelope of envelopes) {
    charter = nextCharter(charter, envelope, now).body;
    await keepCharter(paths, charter.version, envelope);
  }
  if (trouble?.code === "DOC_FROM_FUTURE") throw trouble;
  if (trouble !== undefined) note(trouble.message);
  return { paths, config, charter, signer, bucket, root, clock, note, dryRun };
}

export const publishTools = ({ bucket, clock }: BucketOperator, signal: AbortSignal): PublishTools => ({
  documents: bucket.documents,
  clock,
  signal,
});

export async function lookAt(bucket: Bucket, signal: AbortSignal): Promise<Look> {
  const look = await readRoot(bucket.documents, undefined, signal);
  if (look !== "same") return look;
  throw new SkeinError("INTERNAL", `${bucket.name} answered a first read as unchanged`);
}

/** The charter in force by what the bucket shows, for whoever knows its fingerprint. @throws SkeinError CHARTER_* */
export async function charterIn(
  bucket: Bucket,
  root: Root,
  pin: Digest,
  now: number,
  signal: AbortSignal,
): Promise<Charter> {
  const chain = await charterChain(bucket.documents, pin, root.charter, { now, signal });
  if (chain === undefined) throw noCluster(bucket);
  return chain.charter;
}

async function refuseOther(
  bucket: Bucket,
  root: Root,
  pin: Digest,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (root.charter === 0) throw noCluster(bucket);
  await charterIn(bucket, { ...root, charter: 1 }, pin, clock.now(), signal);
}

function noCluster(bucket: Bucket): SkeinError {
  return new SkeinError("CHARTER_PIN", `${bucket.name} has no charter`, {
    hint: `Make it a cluster's: skein init --bucket ${bucket.name}`,
  });
}
