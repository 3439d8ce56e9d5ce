import { SkeinError } from "../lib/errors/errors.ts";

/** A refusal names the entry and the reason; both are in its data for scripts. */
export function refuse(
  code: "TREE_REFUSED" | "ARCHIVE_REFUSED",
  path: string,
  reason: string,
  hint?: string,
): SkeinError {
  return new SkeinError(code, `${JSON.stringify(path)} cannot be released: ${reason}`, {
    data: { path, reason },
    ...(hint === undefined ? {} : { hint }),
  });
}
