/** What befalls whoever speaks with a hub that is stopped, started anew or restored meanwhile. */
import { isSkeinError, type ErrorCode } from "../lib/errors/errors.ts";

const PASSING: readonly ErrorCode[] = ["HUB_UNREACHABLE", "TOO_MANY", "HUB_CATCHING_UP"];

/** Is it said by, or of, a hub that may be well again by itself? */
export const isPassing = (err: unknown): boolean => isSkeinError(err, ...PASSING);

/** The same of what a hub tells for as long as it lasts: one that stops ends it with a word of that. */
export const isPassingEnd = (err: unknown, signal: AbortSignal): boolean =>
  isPassing(err) || (isSkeinError(err, "INTERRUPTED") && !signal.aborted);
