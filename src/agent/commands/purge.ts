import { SkeinError } from "../../lib/errors/errors.ts";
import { shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { namedRelease } from "./command-args.ts";
import type { Line } from "./command-lines.ts";
import { inUse, removeRelease } from "../installs/gc.ts";
import { troubles } from "./troubles.ts";
import type { AppRecord } from "../plan/records.ts";

/**
 * Removes one release from this node, also one that was staged. With `dry` it only says whether it would.
 * @throws SkeinError REVISION_ACTIVE when it runs, is ordered, may be gone back to, or is pinned
 */
export async function* purge(
  context: AppContext,
  record: AppRecord,
  args: Command["args"],
): AsyncGenerator<Line, void> {
  const { app } = record;
  const id = namedRelease(args);
  if ((await inUse(context, record)).has(id))
    throw refused(app, id, "is active, was ordered lately, or is what this node goes back to");
  if (context.staged.pins(app).includes(id)) throw refused(app, id, "is pinned");
  if (!(await context.releases.isInstalled(app, id))) return;
  const told = troubles(context);
  if (args["dry"] !== true) {
    await context.staged.forget(app, [id]);
    const isGone = await removeRelease(told.context, record, id);
    if (!isGone) throw refused(app, id, "came into use meanwhile");
  }
  yield { type: "removed", release: id };
  yield* told.lines();
}

/** Keeps a release of an app from every gc, or lets it go again. It need not be here yet. */
export async function pin({ staged }: AppContext, { app }: AppRecord, args: Command["args"]): Promise<void> {
  await staged.pin(app, namedRelease(args), args["pinned"] === true);
}

function refused(app: string, id: ReleaseId, why: string): SkeinError {
  return new SkeinError("REVISION_ACTIVE", `${shortRelease(app, id)} ${why}; it was not purged`, {
    hint: `Deploy another version first, or unpin it: skein releases unpin ${app} ${id.slice(0, 8)}`,
    data: { app, release: id },
  });
}
