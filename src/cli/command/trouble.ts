import { shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import { wordOf, type NamedLine } from "../../operator/ask/commands.ts";

/** What was asked for is done, and yet something failed on the way: somebody has to look. */
export const TROUBLED_EXIT = 5;

/** `web1  pre-remove of shop@3f9c2ab1 failed: exit status 6 (HOOK_FAILED)`. */
export function troubleText(app: string, line: NamedLine): string {
  const release = shortRelease(app, wordOf(line, "release") as ReleaseId);
  const message = wordOf(line, "message").replace(/^pre-remove: /, "");
  return `${line.name}  ${wordOf(line, "step")} of ${release} failed: ${message} (${wordOf(line, "code")})`;
}
