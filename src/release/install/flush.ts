import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import { SkeinError } from "../../lib/errors/errors.ts";
import { syncDirectory } from "../../lib/disk/files.ts";

/** Up to so many files and folders are flushed by themselves: others' writes are not waited for. */
const FEW = 64;

/** So much is written before a flush on the way is worth it, in bytes. */
const EARLY_BYTES = 96 * 1024 * 1024;

/**
 * Flushes a file system while it is written to, so that the flush at the end finds little left: the disk works while
 * the rest is fetched. One at a time.
 */
export class EarlyFlushes {
  readonly #dir: string;
  readonly #signal: AbortSignal;
  #unflushed = 0;
  /** The one that runs, or failed: the system tells what it could not write to the first who asks, and nobody else. */
  #running: Promise<void> | undefined;

  constructor(dir: string, signal: AbortSignal) {
    this.#dir = dir;
    this.#signal = signal;
  }

  /** So many bytes more lie in files. */
  written(bytes: number): void {
    this.#unflushed += bytes;
    if (this.#unflushed < EARLY_BYTES || this.#running !== undefined) return;
    this.#unflushed = 0;
    const running = flushFileSystem(this.#dir, this.#signal);
    this.#running = running;
    running.then(
      () => (this.#running = undefined),
      () => undefined,
    );
  }

  /** Waits for the one that runs. @throws SkeinError IO when something could not be written */
  async end(): Promise<void> {
    await this.#running;
  }
}

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
