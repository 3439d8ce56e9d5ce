import fs, { existsSync } from "node:fs";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { installsDir, syncedFile } from "../../release/record/install-record.ts";
import { syncDirectory } from "../../lib/disk/files.ts";
import type { AppRecord } from "../plan/records.ts";
import type { AppFolders } from "./folders.ts";

interface Places {
  readonly folders: (app: string) => Pick<AppFolders, "revs">;
}

/** Did a release's post-sync run well, in the record's environment and for the very install that is here? */
export function isSynced({ folders }: Places, { app, synced }: AppRecord, id: ReleaseId): boolean {
  return synced.includes(id) && existsSync(syncedFile(folders(app).revs, id));
}

/** Notes it at the install. The record that says so too is flushed after it; lost alone, the hook runs once more. */
export function noteSynced({ folders }: Places, app: string, id: ReleaseId): void {
  fs.writeFileSync(syncedFile(folders(app).revs, id), "", { mode: 0o600 });
}

/** Before its pre-remove runs: whatever becomes of the removal, who comes to need the release has it run again. */
export async function forgetSynced({ folders }: Places, app: string, id: ReleaseId): Promise<void> {
  const { revs } = folders(app);
  if (!existsSync(syncedFile(revs, id))) return;
  fs.rmSync(syncedFile(revs, id));
  await syncDirectory(installsDir(revs));
}

/** The record with a release added to those whose post-sync ran well. */
export function withSynced(record: AppRecord, id: ReleaseId): AppRecord {
  return { ...record, synced: [...record.synced.filter((one) => one !== id), id].slice(-100) };
}
