import { SkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId, type ReleaseId } from "../../lib/text/ids.ts";
import type { Command } from "../../trust/document/documents.ts";
import { parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";

/** The release that a command names. @throws SkeinError DOC_MALFORMED */
export function namedRelease({ release }: Command["args"]): ReleaseId {
  if (typeof release === "string" && isReleaseId(release)) return release;
  throw new SkeinError("DOC_MALFORMED", "the command names no release");
}

/** The release that a command names with its document, which this node may not have. @throws SkeinError DOC_MALFORMED */
export function broughtRelease({ app, args }: Pick<Command, "app" | "args">): {
  readonly app: string;
  readonly id: ReleaseId;
  readonly document: Envelope;
} {
  const id = namedRelease(args);
  const { document } = args;
  if (app === null || typeof document !== "string")
    throw new SkeinError("DOC_MALFORMED", "the command names no app, or brings no document of its release");
  return { app, id, document: parseEnvelope(parsed(document)) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SkeinError("DOC_MALFORMED", "the command's document is not JSON", { cause });
  }
}
