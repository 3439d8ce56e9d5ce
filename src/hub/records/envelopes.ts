import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";

/** Of those that were written or read last, a kilobyte each. */
const KEPT = 512;
const KNOWN = new Map<string, Envelope>();

/**
 * The text of an envelope for the store. Whoever reads it there soon gets this very object again, with all that was
 * found out about it: a receipt is verified when it comes, not once more by each who counts it.
 */
export function envelopeText(envelope: Envelope): string {
  const text = JSON.stringify(envelope);
  keepNewest(KNOWN, KEPT, text, envelope);
  return text;
}

/** @throws SkeinError DOC_MALFORMED, DOC_TOO_BIG */
export function storedEnvelope(text: string): Envelope {
  const envelope = KNOWN.get(text) ?? parseEnvelope(text);
  keepNewest(KNOWN, KEPT, text, envelope);
  return envelope;
}

export const knownEnvelope = (text: string): Envelope | undefined => KNOWN.get(text);
