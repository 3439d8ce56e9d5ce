import { isSkeinError } from "../../lib/errors/errors.ts";

/** A cut line to whoever has a release says nothing about the release: it is tried again. */
export function isPassing(err: unknown): boolean {
  return isSkeinError(err, "HUB_UNREACHABLE", "DEPOT_UNREACHABLE", "TIMEOUT", "TOO_MANY");
}
