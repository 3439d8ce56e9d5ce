import type { DocumentStore } from "../depot/seam/documents.ts";
import { isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import type { Digest } from "../lib/text/ids.ts";
import { nextCharter, openCharter } from "../trust/charter/charter.ts";
import type { Charter } from "../trust/document/documents.ts";
import { digestOfEnvelope, type Envelope } from "../trust/document/envelope.ts";
import { readCharters } from "./entries.ts";
import { charterName } from "./layout.ts";

/** What a bucket has after a charter that is known. */
export interface Followed {
  /** Those that follow, each checked against the one before. */
  readonly envelopes: readonly Envelope[];
  /** The last one that is good. */
  readonly charter: Charter;
  /** Why what lies after that one does not follow. */
  readonly trouble: SkeinError | undefined;
}

/**
 * Follows a chain of charters as far as it is good: whoever can write the bucket can put anything in the next one's
 * place, and holds nobody up with it. @param newest the last version that the bucket is said to have
 */
export async function followCharters(
  documents: DocumentStore,
  known: Charter,
  newest: number,
  { now, signal }: { readonly now: number; readonly signal: AbortSignal },
): Promise<Followed> {
  const envelopes: Envelope[] = [];
  let charter = known;
  while (charter.version < newest) {
    try {
      const [next] = await readCharters(documents, charter.version, charter.version + 1, signal);
      if (next === undefined) break;
      charter = nextCharter(charter, next, now).body;
      envelopes.push(next);
    } catch (err) {
      if (!isSkeinError(err, ...VOID, "DOC_FROM_FUTURE")) throw err;
      return { envelopes, charter, trouble: told(charterName(charter.version + 1), "charter", err) };
    }
  }
  return { envelopes, charter, trouble: undefined };
}

/**
 * The chain from the first charter on, as far as it is good. undefined: the bucket has none.
 * @param pin undefined: the first one is taken as it is, for somebody else to check
 * @throws SkeinError CHARTER_PIN, DOC_*
 */
export async function charterChain(
  documents: DocumentStore,
  pin: Digest | undefined,
  newest: number,
  options: { readonly now: number; readonly signal: AbortSignal },
): Promise<Followed | undefined> {
  const [first] = newest === 0 ? [] : await readCharters(documents, 0, 1, options.signal);
  if (first === undefined) return undefined;
  const { body } = openCharter(first, pin ?? digestOfEnvelope(first));
  const { envelopes, ...rest } = await followCharters(documents, body, newest, options);
  return { envelopes: [first, ...envelopes], ...rest };
}

/** What a document's reader says when nobody of the cluster can have made it what it is named. */
export const VOID = [
  "DOC_MALFORMED",
  "DOC_TOO_BIG",
  "DOC_WRONG_TYPE",
  "DOC_UNSIGNED",
  "WRONG_CLUSTER",
  "CHARTER_ROLLBACK",
  "NOT_AUTHORISED",
] as const;

/** What whoever looks for the newest document passes over: beside void ones what is not in force, here and now. */
export const NOT_IN_FORCE = [...VOID, "DOC_FROM_FUTURE", "CHARTER_EXPIRED"] as const;

/** The same, with what it is about and what to do. */
export function told(name: string, type: string, { code, message, data }: SkeinError): SkeinError {
  return new SkeinError(code, `${name} in the bucket is no ${type} of this cluster's: ${message}`, {
    hint: "Find out who wrote it. The next order that an operator signs for this bucket removes it or goes past it.",
    data: { ...data, document: name },
  });
}
