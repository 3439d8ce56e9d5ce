import { messageOf } from "../../lib/errors/errors.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { orderOf, type NodeState } from "../../trust/node/node-state.ts";
import type { KeptDocuments } from "../node/kept-documents.ts";
import type { AppRecord } from "../plan/records.ts";
import type { AppFolders } from "./folders.ts";
import type { Staged } from "./staged.ts";

/** What held orders, this node's own records, staged releases and pins lead to. */
export function namedDocuments(
  state: NodeState,
  records: readonly AppRecord[],
  staged: Pick<Staged, "releases">,
): ReadonlySet<ReleaseId | Digest> {
  const orders = Object.values(state.apps)
    .flatMap(({ head, standing, prior }) => [head, standing, prior])
    .flatMap((held) => (held === null ? [] : [orderOf(held)]));
  const ordered = orders.flatMap(({ release, fallback, beside, roster }) => [
    release,
    fallback,
    roster,
    ...beside,
  ]);
  const own = records.flatMap(({ reached, attempt, good, synced }) => {
    const now = [reached?.release, attempt?.release, attempt?.previous, ...(reached?.beside ?? [])];
    return [...now, ...good, ...synced];
  });
  return new Set(
    [...ordered, ...own, ...staged.releases()].filter((name) => name !== null && name !== undefined),
  );
}

/**
 * An agent may take thousands of orders before it is started again. What is installed is named by its folder: its
 * pre-remove still has to run. A failing disk only keeps more.
 */
export async function forgetUnnamed(kept: KeptDocuments, context: NamingContext): Promise<void> {
  if (!kept.isDue) return;
  const { store, records, staged, folders, log } = context;
  try {
    const held = [...records.all(), ...Object.values(store.state.apps)];
    const apps = [...new Set(held.map(({ app }) => app))];
    const installed = await Promise.all(apps.map(async (app) => await listInstalls(folders(app).revs)));
    kept.keepOnly(new Set([...namedDocuments(store.state, records.all(), staged), ...installed.flat()]));
  } catch (err) {
    log.warn("documents that nobody needs stay", { "err.message": messageOf(err) });
  }
}

interface NamingContext {
  readonly store: { readonly state: NodeState };
  readonly records: { all(): readonly AppRecord[] };
  readonly staged: Pick<Staged, "releases">;
  readonly folders: (app: string) => Pick<AppFolders, "revs">;
  readonly log: Log;
}
