import { SkeinError } from "../lib/errors/errors.ts";
import { blockedIn } from "../release/tree/own-place.ts";

/**
 * What is writable is a folder of the app's data. In the place of something that the release has it would hide that.
 * @param entries all that is in the release; folders may be missing
 * @throws SkeinError MANIFEST_INVALID
 */
export function refuseBlocked(
  { app, writable }: { readonly app: string; readonly writable: readonly string[] },
  entries: Parameters<typeof blockedIn>[0],
): void {
  const [first] = blockedIn(entries, writable);
  if (first === undefined) return;
  const { path, kind } = first;
  const named = first.writable === path ? path : `${first.writable}: ${path}`;
  throw new SkeinError(
    "MANIFEST_INVALID",
    `writable: ${named} is a ${kind} in this release of ${app}, not a folder`,
    {
      hint:
        kind === "link"
          ? "Name the folder that it leads to, or leave one of the two out."
          : "Name a folder, and let the app keep the file in it: it is empty at first. Or leave one of the two out.",
      data: { app, path, writable: first.writable },
    },
  );
}
