import fs from "node:fs";
import { refuseMounts, removeTree } from "./remove-tree.ts";
import type { Layout } from "./install-plan.ts";
import { isOurs } from "./placer.ts";

type Places = Pick<Layout, "stage" | "files" | "folders" | "links">;
const FOLDERS_PER_TURN = 32;

type Kind = "folder" | "file" | "link";

/**
 * Removes what lies in a staging directory and has no place in the plan, or is something else there, and takes its
 * folders back from whoever they were given to. Follows no link.
 * @throws SkeinError MOUNTED
 * @param rest called after some folders each, and awaited: others get their turn
 */
export async function removeStrays(plan: Places, rest: () => Promise<void>): Promise<void> {
  refuseMounts(plan.stage);
  const places = new Map<string, Kind>();
  for (const folder of plan.folders) if (folder !== plan.stage) places.set(folder, "folder");
  for (const { file } of plan.files) places.set(file, "file");
  for (const { file } of plan.links) places.set(file, "link");
  const folders = [plan.stage];
  for (let n = 1; folders.length > 0; n++) {
    folders.push(...clear(folders.pop() ?? "", places));
    if (n % FOLDERS_PER_TURN === 0) await rest();
  }
}

/** @returns the folders that stay in a folder */
function clear(dir: string, places: ReadonlyMap<string, Kind>): readonly string[] {
  takeBack(dir, places.has(dir) ? 0o755 : 0o700);
  const folders: string[] = [];
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const at = `${dir}/${entry.name}`;
    if (places.get(at) !== kindOf(entry)) removeTree(at);
    else if (entry.isDirectory()) folders.push(at);
  }
  return folders;
}

/** First, so that nobody else puts anything into it any more: a hook may have given it to its app. */
function takeBack(dir: string, mode: number): void {
  if (!isOurs(fs.lstatSync(dir))) fs.lchownSync(dir, process.geteuid?.() ?? -1, process.getegid?.() ?? -1);
  fs.chmodSync(dir, mode);
}

function kindOf(entry: fs.Dirent): Kind | undefined {
  if (entry.isDirectory()) return "folder";
  if (entry.isFile()) return "file";
  return entry.isSymbolicLink() ? "link" : undefined;
}
