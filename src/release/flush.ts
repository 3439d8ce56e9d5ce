import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import { SkeinError } from "../lib/errors.ts";
import { syncDirectory } from "../lib/files.ts";

/** Up to so many files and folders are flushed by themselves: others' writes are not waited for. */
const FEW = 64;

/**
 * What was put down survives a power cut when this resolves.
 * @param folders all folders of `files`, and `dir`, which all of it lies in
 */
export async function flushPut(
  dir: string,
  files: readonly { readonly file: string }[],
  folders: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if (files.length + folders.length > FEW) return await flushFileSystem(dir, signal);
  signal.throwIfAborted();
  await Promise.all([...files.map(async ({ file }) => await syncFile(file)), ...folders.map(syncDirectory)]);
}

/** `sync -f`: one flush of the file system instead of one per file. */
export async function flushFileSystem(dir: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = spawn("sync", ["-f", dir], { stdio: "ignore" });
  const [code] = (await once(child, "close").catch(() => [null])) as [number | null];
  if (code !== 0) throw new SkeinError("IO", `sync -f ${dir} failed`, { data: { path: dir } });
}

async function syncFile(file: string): Promise<void> {
  await using handle = await fs.open(file, "r");
  await handle.sync();
}
