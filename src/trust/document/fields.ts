import * as z from "zod";
import type { Digest, KeyId, ReleaseId, TreeId } from "../../lib/text/ids.ts";

/**
 * The scalars that signed documents are made of. Every one has exactly one spelling: lower-case hex,
 * unpadded base64url with zero trailing bits, RFC 3339 UTC with milliseconds, safe integers.
 */
const spelled = <T extends string>(pattern: RegExp, what: string): z.ZodType<T, string> =>
  z.string().regex(pattern, what) as unknown as z.ZodType<T, string>;

export const digest = spelled<Digest>(/^[0-9a-f]{64}$/, "not 64 lower-case hex digits");
export const treeId = spelled<TreeId>(/^[0-9a-f]{64}$/, "not 64 lower-case hex digits");
export const keyId = spelled<KeyId>(/^[0-9a-f]{32}$/, "not 32 lower-case hex digits");
export const releaseId = spelled<ReleaseId>(/^[0-9a-f]{32}$/, "not 32 lower-case hex digits");
/** Made once by `skein init`; every document carries it. */
export const clusterId = spelled<string>(/^[0-9a-f]{32}$/, "not 32 lower-case hex digits");
/** SHA-256 of a DER SubjectPublicKeyInfo: how TLS keys are named. */
export const spkiDigest = spelled<Digest>(/^[0-9a-f]{64}$/, "not 64 lower-case hex digits");
export const commit = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "not a git commit");

/** Is `text` the one unpadded base64url spelling of the bytes it stands for? */
export function isBase64Url(text: string): boolean {
  return /^[A-Za-z0-9_-]*$/.test(text) && Buffer.from(text, "base64url").toString("base64url") === text;
}

/** A raw 32-byte public key (Ed25519 or X25519) in base64url. */
export const publicKey = z.string().length(43).refine(isBase64Url, "not the base64url of 32 bytes");

/** Is `text` an existing moment in the form `2026-11-21T02:00:00.000Z`? */
function isTime(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/.test(text)) return false;
  const ms = Date.parse(text);
  return Number.isFinite(ms) && new Date(ms).toISOString() === text;
}
export const time = z.string().refine(isTime, "not a time like 2026-11-21T02:00:00.000Z");

/** Milliseconds since the epoch of a `time`. */
export const msOf = (at: string): number => Date.parse(at);
/** The `time` of milliseconds since the epoch. */
export const timeOf = (ms: number): string => new Date(ms).toISOString();

export const count = z.int().min(0);
export const serialNumber = z.int().min(1);

const NAME = /^[a-z][a-z0-9-]{0,38}$/;
export const appName = z.string().regex(NAME, "not a name like shop-2");
export const envName = z.string().regex(NAME, "not a name like prod");
/** `app/env`: the unit that serials are kept for. */
export const appEnv = z.string().regex(/^[a-z][a-z0-9-]{0,38}\/[a-z][a-z0-9-]{0,38}$/, "not app/env");
/** Node names are DNS labels, with dots: `web3`, `web3.fra`. */
export const nodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "not a node name like web3")
  .refine((name) => name !== "all", "`all` is every node");
/** `name` is how selectors call the node's own name, so no label may have it. */
export const labelKey = z
  .string()
  .regex(/^[a-z][a-z0-9_.-]{0,62}$/, "not a label like role")
  .refine((key) => key !== "name" && key !== "all", "`name` and `all` are reserved words");
export const labelValue = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$/, "not a label's value");
export const labels = z
  .record(labelKey, labelValue)
  .refine((all) => Object.keys(all).length <= 64, "more than 64 labels");

/** One line that a person reads; no control characters, so that it cannot redraw a terminal. */
export const text = (max: number): z.ZodType<string, string> =>
  z
    .string()
    .max(max)
    // oxlint-disable-next-line no-control-regex -- these are what is refused
    .regex(/^[^\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$/, "control characters");

/** A text that comes from anywhere in that form: what may not be in it becomes a space. */
export const asText = (words: string, max: number): string =>
  // oxlint-disable-next-line no-control-regex -- these are what must go
  words.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, " ").slice(0, max);

export const address = z
  .string()
  .regex(/^(\[[0-9a-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):\d{1,5}$/, "not host:port");
export const percent = z.string().regex(/^(100|[1-9]?\d)(\.\d{1,3})?%$/, "not a share like 25%");
