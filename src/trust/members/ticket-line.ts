import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { address as addressField } from "../document/fields.ts";

/** What a person carries from `skein node invite` to `skein agent --join`. The seed in it is a secret until it is used. */
export interface TicketLine {
  /** Digest of the cluster's first charter. */
  readonly pin: Digest;
  /** 32 bytes: the private half of the key that the ticket names. */
  readonly seed: Uint8Array;
  /** Where to ask for the ticket, and the key that must answer there. */
  readonly hub: { readonly spki: Digest; readonly address: string };
}

const PREFIX = "skj1_";
const PART_BYTES = 32;

/** `skj1_<base64url of pin, seed and the hub's key digest>@host:port` */
export function formatTicketLine(line: TicketLine): string {
  const bytes = Buffer.concat([Buffer.from(line.pin, "hex"), line.seed, Buffer.from(line.hub.spki, "hex")]);
  return `${PREFIX}${bytes.toString("base64url")}@${line.hub.address}`;
}

/** @throws SkeinError TICKET_BAD; the text itself is in no message, for it is a secret */
export function parseTicketLine(text: string): TicketLine {
  const [, packed, address] = /^skj1_([A-Za-z0-9_-]{128})@(\S+)$/.exec(text.trim()) ?? [];
  if (packed === undefined || address === undefined || !addressField.safeParse(address).success) {
    throw new SkeinError("TICKET_BAD", "that is no ticket: it begins with skj1_ and ends with @HOST:PORT");
  }
  const bytes = Buffer.from(packed, "base64url");
  const part = (n: number): Buffer => bytes.subarray(n * PART_BYTES, (n + 1) * PART_BYTES);
  const digest = (n: number): Digest => part(n).toString("hex") as Digest;
  return { pin: digest(0), seed: Uint8Array.from(part(1)), hub: { spki: digest(2), address } };
}
