/** What was signed about a node since it joined, as nodes remember it for each other. */
import type { KeyId } from "../../lib/text/ids.ts";
import { readUnverified, type Envelope } from "../document/envelope.ts";

export interface Change {
  /** The newest one; null: none is known. */
  readonly label: Envelope | null;
  readonly revoke: Envelope | null;
}

export const NO_CHANGE: Change = { label: null, revoke: null };

/** Whom it is about; undefined where it is about nobody, or its parts are about two. @throws SkeinError DOC_* */
export function subjectOf({ label, revoke }: Change): KeyId | undefined {
  const labelled = label === null ? undefined : readUnverified(label, "label.1").node;
  const ended = revoke === null ? undefined : readUnverified(revoke, "revoke.1").node;
  return labelled !== undefined && ended !== undefined && labelled !== ended
    ? undefined
    : (labelled ?? ended);
}

/** 0: no label. @throws SkeinError DOC_* */
export const labelSerial = ({ label }: Change): number =>
  label === null ? 0 : readUnverified(label, "label.1").serial;

/** Both together: a revocation stays, and of two labels the one with the higher serial counts. */
export function merged(a: Change, b: Change): Change {
  return { label: labelSerial(b) > labelSerial(a) ? b.label : a.label, revoke: a.revoke ?? b.revoke };
}

/** Does `one` say what `other` does not? */
export function saysMore(one: Change, other: Change): boolean {
  return labelSerial(one) > labelSerial(other) || (one.revoke !== null && other.revoke === null);
}
