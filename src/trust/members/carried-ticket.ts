import * as z from "zod";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { envelopeSchema, type Envelope } from "../document/envelope.ts";
import { digest, isBase64Url } from "../document/fields.ts";

/**
 * What a person carries to a node that joins without a hub: the ticket itself, since nobody could be asked for it.
 * Nobody counts its uses either, so it is a secret until it expires.
 */
export interface CarriedTicket {
  /** Digest of the cluster's first charter. */
  readonly pin: Digest;
  /** 32 bytes: the private half of the key that the ticket names. */
  readonly seed: Uint8Array;
  readonly ticket: Envelope;
}

const PREFIX = "skjb1_";
const MAX_CHARS = 64 * 1024;
const schema = z.strictObject({
  pin: digest,
  seed: z.string().length(43).refine(isBase64Url),
  ticket: envelopeSchema,
});

/** `skjb1_<base64url of JSON>` */
export function formatCarriedTicket({ pin, seed, ticket }: CarriedTicket): string {
  const text = JSON.stringify({ pin, seed: Buffer.from(seed).toString("base64url"), ticket });
  return `${PREFIX}${Buffer.from(text).toString("base64url")}`;
}

/** @throws SkeinError TICKET_BAD; the text itself is in no message, for it is a secret */
export function parseCarriedTicket(text: string): CarriedTicket {
  const [, packed = ""] = /^skjb1_([A-Za-z0-9_-]+)$/.exec(text.trim()) ?? [];
  try {
    if (packed.length > MAX_CHARS) throw new Error("too long");
    const value: unknown = JSON.parse(Buffer.from(packed, "base64url").toString("utf8"));
    const { pin, seed, ticket } = schema.parse(value);
    return { pin, seed: Uint8Array.from(Buffer.from(seed, "base64url")), ticket };
  } catch {
    throw new SkeinError("TICKET_BAD", "that is no ticket for a bucket: it begins with skjb1_", {
      hint: "Make one with SKEIN_BUCKET set: skein node invite.",
    });
  }
}
