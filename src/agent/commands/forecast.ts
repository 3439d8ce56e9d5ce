import fs from "node:fs";
import { freedBytes } from "../../release/install/freed.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { broughtRelease } from "./command-args.ts";
import type { Line } from "./command-lines.ts";
import { collect } from "../installs/gc.ts";
import { newRecord } from "../plan/records.ts";

/**
 * What placing a release here would fetch and take, what would be free after, and what gc would free now. Changes
 * nothing. The command brings the release's document, which this node may not have.
 * @throws SkeinError ORDER_UNKNOWN_RELEASE, and what reading the release's tables throws
 */
export async function forecast(
  context: AppContext,
  command: Pick<Command, "app" | "env" | "args">,
  signal: AbortSignal,
): Promise<Line> {
  const { app, id, document } = broughtRelease(command);
  const record = context.records.get(app) ?? newRecord(app, command.env ?? "default");
  const measured = await context.releases.measure(record, id, document, context.depots(), signal);
  const { revs, root } = context.folders(app);
  const gone = fs.existsSync(revs) ? await collect(context, record, { dry: true }) : [];
  const { bavail, bsize } = fs.statfsSync(fs.existsSync(root) ? root : context.paths.lib);
  return {
    type: "forecast",
    ...measured,
    freeBytes: Math.max(0, bavail * bsize - KEPT_FREE_BYTES),
    gcReleases: gone.length,
    gcBytes: freedBytes(revs, gone),
  };
}
