import { hash } from "node:crypto";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** SHA-256 in 64 lower-case hex digits. */
export type Digest = Branded<"Digest">;
/** Digest of a chunk's raw bytes. */
export type ChunkId = Branded<"ChunkId">;
/** Digest of a tree's label and rows. */
export type TreeId = Branded<"TreeId">;
/** First 32 hex digits of the digest of {app, tree, source commit}. */
export type ReleaseId = Branded<"ReleaseId">;
/** Digest of a node's or operator's public key, 32 hex digits. */
export type KeyId = Branded<"KeyId">;

const HEX64 = /^[0-9a-f]{64}$/;
const HEX32 = /^[0-9a-f]{32}$/;

export const isDigest = (text: string): text is Digest => HEX64.test(text);
export const isReleaseId = (text: string): text is ReleaseId => HEX32.test(text);
export const isKeyId = (text: string): text is KeyId => HEX32.test(text);

/** SHA-256 of bytes or of UTF-8 text. */
export function digestOf(data: string | Uint8Array): Digest {
  return hash("sha256", data, "hex") as Digest;
}

/** An app in one of its environments. */
export interface AppEnv {
  readonly app: string;
  readonly env: string;
}

/** How a command is told of an app: `shop`, elsewhere than in the default environment `shop --env prod`. */
export function appAsTyped(app: string, env: string): string {
  return env === "default" ? app : `${app} --env ${env}`;
}

/** `web@3f9c2ab1`: how people read a release. */
export function shortRelease(app: string, id: ReleaseId): string {
  return `${app}@${id.slice(0, 8)}`;
}
