import { isSkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import type { Charter } from "../document/documents.ts";

/** A document that holds by the charter in force, or held by an earlier one of its chain. */
export interface Upheld<T> {
  readonly opened: T;
  /** The newest charter by which it holds. */
  readonly charter: Charter;
}

/**
 * What was accepted stays, and its serial and digest stand, when a charter drops who signed it: reads a document by the
 * newest charter whose operators may have signed it.
 * @param chain newest first
 * @throws SkeinError what `open` throws by the first, where it holds by none
 */
export function underChain<T>([newest, ...earlier]: Chain, open: (charter: Charter) => T): Upheld<T> {
  try {
    return { opened: open(newest), charter: newest };
  } catch (err) {
    if (!isUnsigned(err)) throw err;
    for (const charter of earlier) {
      try {
        return { opened: open(charter), charter };
      } catch (other) {
        if (!isSkeinError(other)) throw other;
      }
    }
    throw err;
  }
}

export type Chain = readonly [Charter, ...Charter[]];

/** Whom the newest charter of a chain has dropped of those who signed a document; null: it holds by that one. */
export function droppedSigners(
  [newest]: Chain,
  { opened, charter }: Upheld<{ readonly signers: ReadonlySet<KeyId> }>,
): string | null {
  if (charter === newest) return null;
  return [...opened.signers]
    .map((kid) => (charter.operators[kid] ?? charter.builders[kid])?.name ?? kid)
    .join(" and ");
}

const isUnsigned = (err: unknown): boolean => isSkeinError(err, "DOC_UNSIGNED", "ORDER_UNKNOWN_RELEASE");
