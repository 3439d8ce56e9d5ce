import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { Pauses } from "../../lib/async/pauses.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { EarlierFile } from "./earlier-content.ts";
import type { InstallPlan } from "./install-plan.ts";
import type { InstallMeter } from "./install-progress.ts";
import { isAsPut, type Placer } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";
import type { FreshContents } from "./reach-tree.ts";
import { makeFolder } from "./put-file.ts";
import type { FileRow } from "../tree/rows.ts";
import { removeStrays } from "./strays.ts";
import { comparePaths } from "../tree/tree-path.ts";

export interface LocalOptions {
  readonly link: boolean;
  /** An earlier try left something in the staging directory. */
  readonly resuming: boolean;
  readonly signal: AbortSignal;
  readonly meter: InstallMeter;
}

/** How many files came from where. */
export interface Counts {
  linked: number;
  copied: number;
  resumed: number;
}

export interface FilledFromHere {
  /** The files whose content is not on this machine. */
  readonly todo: readonly PlannedFile[];
  readonly counts: Readonly<Counts>;
  /** Resolves when all folders are there. */
  readonly folders?: Promise<void>;
}

/** Files looked at while those before them are linked, and before other work of the process gets its turn. */
const FILES_PER_TURN = 32;
/** The file has as many links as its file system allows, or cannot be linked to. */
const REFUSALS = ["EMLINK", "EXDEV", "EPERM", "ENOTSUP"];

/** Makes the folders, and puts down the files that came with a delta, that an earlier try left or earlier installs have. */
export async function fillFromHere(
  plan: InstallPlan,
  fresh: FreshContents,
  placer: Placer,
  options: LocalOptions,
): Promise<FilledFromHere> {
  // What an earlier try took as a spare may have been left as it was.
  if (options.resuming) await removeStrays(plan, setImmediate);
  const local = new LocalFiller(plan, fresh, placer, options);
  try {
    for (let at = 0; at < plan.files.length; at += FILES_PER_TURN) {
      await local.fill(plan.files.slice(at, at + FILES_PER_TURN));
    }
    local.makeFolders();
    return local;
  } finally {
    // Nothing is put down any more once this has ended, however it ended.
    await local.end();
  }
}

/** A file to be linked, and what it is linked to. */
interface Linking {
  readonly plan: PlannedFile;
  readonly earlier: EarlierFile;
}

/** Goes through the files in order. Links are made by the thread pool while this thread looks at the next files. */
class LocalFiller implements FilledFromHere {
  readonly #plan: InstallPlan;
  readonly #fresh: FreshContents;
  readonly #placer: Placer;
  readonly #options: LocalOptions;
  readonly todo: PlannedFile[] = [];
  readonly counts: Counts = { linked: 0, copied: 0, resumed: 0 };
  /** Content that came with a delta → the file that it was moved to. */
  readonly #moved = new Map<Digest, string>();
  readonly #pauses: Pauses;
  #foldersMade = 0;
  #linking: Promise<void> = Promise.resolve();

  constructor(plan: InstallPlan, fresh: FreshContents, placer: Placer, options: LocalOptions) {
    this.#plan = plan;
    this.#fresh = fresh;
    this.#placer = placer;
    this.#options = options;
    this.#pauses = new Pauses(options.signal);
  }

  async fill(files: readonly PlannedFile[]): Promise<void> {
    const { meter, signal } = this.#options;
    this.makeFolders(files.at(-1));
    const links: Linking[] = [];
    for (const file of files) await this.#place(file, links);
    await this.#linking;
    meter.tell();
    signal.throwIfAborted();
    this.#linking = this.#link(links);
    // A failure is told to whoever waits next.
    this.#linking.catch(() => undefined);
    await setImmediate();
  }

  /** The folders up to a file, in order; without one, all that are left. */
  makeFolders(last?: PlannedFile): void {
    const { folders, stage } = this.#plan;
    for (; this.#foldersMade < folders.length; this.#foldersMade++) {
      const folder = folders[this.#foldersMade] ?? "";
      if (last !== undefined && comparePaths(folder, last.file) > 0) return;
      if (folder !== stage) makeFolderAnyway(folder, this.#options.resuming);
    }
  }

  async end(): Promise<void> {
    await this.#linking;
  }

  async #place(file: PlannedFile, links: Linking[]): Promise<void> {
    const fresh = this.#fresh.get(file.row.sha256);
    if (fresh !== undefined) return await this.#placeFresh(file, fresh);
    const { resuming, link } = this.#options;
    if (resuming && (await this.#placer.isThere(file, this.#pauses))) return this.#count(file, "resumed");
    if (file.row.size === 0) return this.#placer.placeEmpty(file);
    const earlier = this.#plan.earlier.get(file.index);
    if (earlier === undefined || !isAsRecorded(file, earlier)) this.todo.push(file);
    else if (link && earlier.time === file.time) links.push({ plan: file, earlier });
    else await this.#copy(file, earlier);
  }

  /** Contents that came with a delta take their names; a second file of the same content is copied from the first. */
  async #placeFresh(file: PlannedFile, from: string): Promise<void> {
    const { resuming } = this.#options;
    const { sha256 } = file.row;
    if (resuming && (await this.#placer.isThere(file, this.#pauses))) return;
    if (resuming) fs.rmSync(file.file, { force: true });
    const first = this.#moved.get(sha256);
    if (first !== undefined) await this.#placer.copyFrom(first, file, this.#pauses);
    else this.#placer.moveFrom(from, file);
    this.#moved.set(sha256, first ?? file.file);
  }

  async #copy(file: PlannedFile, earlier: EarlierFile): Promise<void> {
    if (await this.#placer.copyFrom(earlier.file, file, this.#pauses)) this.#count(file, "copied");
    else this.todo.push(file);
  }

  async #link(links: readonly Linking[]): Promise<void> {
    const refused = new Set(await linkAll(links));
    for (const one of links) {
      if (refused.has(one)) await this.#copy(one.plan, one.earlier);
      else {
        this.#placer.inodes[one.plan.index] = one.earlier.inode;
        this.#count(one.plan, "linked");
      }
    }
  }

  #count({ row }: PlannedFile, how: keyof Counts): void {
    this.counts[how] += 1;
    this.#options.meter.fromDisk(row.size);
  }
}

/** Resolves when all are done. @returns those that were refused */
async function linkAll(links: readonly Linking[]): Promise<readonly Linking[]> {
  const refused: Linking[] = [];
  let left = links.length;
  if (left === 0) return refused;
  return await new Promise((resolve, reject) => {
    let failure: Error | null = null;
    for (const link of links) {
      fs.link(link.earlier.file, link.plan.file, (err) => {
        if (err !== null && REFUSALS.includes(err.code ?? "")) refused.push(link);
        else failure ??= err;
        left -= 1;
        if (left > 0) return;
        if (failure === null) resolve(refused);
        else reject(failure);
      });
    }
  });
}

function makeFolderAnyway(folder: string, resuming: boolean): void {
  try {
    makeFolder(folder);
  } catch (err) {
    if (errnoOf(err) !== "EEXIST") throw err;
    if (resuming && fs.lstatSync(folder).isDirectory()) return fs.chmodSync(folder, 0o755);
    throw folded(folder, err);
  }
}

/** Two rows cannot have one path; when their names meet on the disk, it is the disk that folds them. */
export function folded(file: string, cause: unknown): SkeinError {
  const reason = "its name is the same as another's on this disk";
  return new SkeinError(
    "TREE_REFUSED",
    `${JSON.stringify(path.basename(file))} cannot be installed: ${reason}`,
    {
      data: { path: file, reason },
      cause,
    },
  );
}

/** An unchanged size, time and inode is what a link is worth: whoever can fake them can read nothing new by it. */
function isAsRecorded({ row }: PlannedFile, { file, inode, time }: EarlierFile): boolean {
  return inodeOf(file, row, time) === inode;
}

/** Its inode, when a file is as this row and this time say; else 0. */
export function inodeOf(file: string, row: FileRow, time: number): number {
  const stat = statOf(file);
  return stat !== undefined && isAsPut(stat, row, time) ? stat.ino : 0;
}

/** undefined also where what should be a folder above it is a file, or a link that leads nowhere. */
export function statOf(file: string): fs.Stats | undefined {
  try {
    return fs.lstatSync(file, { throwIfNoEntry: false });
  } catch (err) {
    if (["ENOTDIR", "ELOOP"].includes(errnoOf(err) ?? "")) return undefined;
    throw err;
  }
}
