import path from "node:path";
import { appNameFrom, MANIFEST_FILE } from "../../app/conventions.ts";
import type { GitObjects } from "../../source/git-objects.ts";
import { filesNamed } from "../../source/git.ts";

export interface SoughtApp {
  readonly app: string;
  readonly repo: string;
  readonly commit: string;
}

/** In which folder of a commit lies the manifest that names this app? Empty: at the top. The first by name of several. */
export async function folderOfApp(
  objects: GitObjects,
  { app, repo, commit }: SoughtApp,
  signal: AbortSignal,
): Promise<string | undefined> {
  const manifests = await filesNamed(objects, commit, MANIFEST_FILE, signal);
  if (manifests.length === 0) return undefined;
  const { appIn } = await import("../../app/parse.ts");
  const texts = await objects.readWhole(
    manifests.map(({ id }) => id),
    signal,
  );
  const folders = manifests
    .map((entry) => path.posix.dirname(entry.path))
    .map((at) => (at === "." ? "" : at));
  return folders.find((at, i) => {
    const fallback = appNameFrom(path.basename(at === "" ? repo : at));
    return appIn(texts[i]?.bytes.toString("utf8") ?? "", fallback) === app;
  });
}
