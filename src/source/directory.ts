import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { errnoOf, SkeinError } from "../lib/errors/errors.ts";
import { asSkeinError } from "../lib/disk/files.ts";
import { lengthFault, RESERVED } from "../release/tree/tree-path.ts";
import type { Content, SourceEntry, SourceFile, TreeSource } from "../release/tree/tree-source.ts";
import { refuseCapabilities } from "./capabilities.ts";
import { globFilter } from "./globs.ts";
import { refuse } from "./refuse.ts";

export interface DirectoryOptions {
  /** The manifest's `build.files`: globs, later ones win, `!` leaves out. Default: everything but `.git`. */
  readonly files?: readonly string[];
  /** Set when the folder is a clean checkout. */
  readonly commit?: string | null;
  /** Folders of this machine that are Skein's own, with its keys: left out wherever they lie. */
  readonly own?: readonly string[];
  /** What the release document calls it. Default: the folder's own name. */
  readonly name?: string;
}

/** Folders read before other work of the process gets its turn. */
const FOLDERS_PER_TURN = 64;
const SETUID = 0o4000;
const SETGID = 0o2000;

/** A folder on this machine as a source. @throws SkeinError SOURCE_NOT_FOUND */
export function directorySource(dir: string, options: DirectoryOptions = {}): TreeSource {
  const root = realDirectory(dir);
  const notes: string[] = [];
  return {
    kind: options.commit === undefined || options.commit === null ? "dir" : "git",
    name: options.name ?? path.basename(root),
    commit: options.commit ?? null,
    cacheKey: `dir:${root}`,
    notes,
    entries: (signal) => entriesIn(root, options, notes, signal),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function realDirectory(dir: string): string {
  try {
    const root = fs.realpathSync(dir);
    if (fs.statSync(root).isDirectory()) return root;
  } catch (err) {
    if (errnoOf(err) !== "ENOENT" && errnoOf(err) !== "ENOTDIR") throw asSkeinError(err, dir);
  }
  throw new SkeinError("SOURCE_NOT_FOUND", `${dir} is not a directory`, { data: { path: dir } });
}

/** Whether a path is one of these folders, whatever links lead there. Folders that are not there count for nothing. */
export function isOneOf(folders: readonly string[]): (file: string) => boolean {
  const real = new Set(folders.flatMap((folder) => realPathOf(folder) ?? []));
  const names = new Set([...real].map((folder) => path.basename(folder)));
  return (file) => names.has(file.slice(file.lastIndexOf("/") + 1)) && real.has(realPathOf(file) ?? "");
}

function realPathOf(folder: string): string | undefined {
  try {
    return fs.realpathSync(folder);
  } catch {
    return undefined;
  }
}

async function entriesIn(
  root: string,
  { files, own = [] }: DirectoryOptions,
  notes: string[],
  signal: AbortSignal,
): Promise<SourceEntry[]> {
  const found: SourceEntry[] = [];
  const walk = { root, wanted: globFilter(files), isOurs: isOneOf(own), notes, todo: [{ path: "" }], found };
  while (walk.todo.length > 0) {
    readFolders(walk, FOLDERS_PER_TURN);
    await setImmediate();
    signal.throwIfAborted();
  }
  const executables = found.filter((entry) => entry.kind === "x").map((entry) => entry.path);
  await refuseCapabilities(root, executables, signal);
  return found;
}

/** An entry, or a folder that is still to be read: that has a slash at its end, and stands where what is in it does. */
type Found = SourceEntry | { readonly path: string };

interface Walk {
  readonly root: string;
  readonly wanted: (path: string) => boolean;
  readonly isOurs: (folder: string) => boolean;
  readonly notes: string[];
  /** What is still to be handed on or read, the next one last. */
  readonly todo: Found[];
  readonly found: SourceEntry[];
}

/** Goes on until so many folders were read, or nothing is left. */
function readFolders(walk: Walk, count: number): void {
  const { todo, found } = walk;
  for (let left = count; left > 0;) {
    const next = todo.pop();
    if (next === undefined) return;
    if ("kind" in next) found.push(next);
    else {
      const inside = readFolder(walk, next.path);
      // As a tree's rows are sorted, so that nobody has to sort many thousand.
      inside.sort((a, b) => (a.path < b.path ? 1 : -1));
      for (const one of inside) todo.push(one);
      left -= 1;
    }
  }
}

function readFolder(walk: Walk, folder: string): Found[] {
  const { root, wanted, notes } = walk;
  const found: Found[] = [];
  for (const entry of readNames(root, folder)) {
    const at = folder + entry.name;
    if (entry.name === ".git") continue;
    if (at === RESERVED) {
      notes.push(`${RESERVED} is left out: the name is reserved`);
    } else if (entry.isDirectory()) {
      for (const one of findFolder(walk, at)) found.push(one);
    } else if (wanted(at)) {
      const one = readIfThere(root, at, entry);
      if (one !== undefined) found.push(one);
    }
  }
  return found;
}

function findFolder({ root, wanted, isOurs, notes }: Walk, at: string): Found[] {
  const fault = isGarbled(at) ? GARBLED : lengthFault(at);
  if (fault !== undefined && wanted(at)) throw refuse("TREE_REFUSED", at, fault);
  if (fault !== undefined) {
    notes.push(`${at} is left out: ${fault}`);
    return [];
  }
  if (isOurs(`${root}/${at}`)) {
    notes.push(`${at} is left out: Skein keeps its keys and state there`);
    return [];
  }
  const inside = { path: `${at}/` };
  // With globs, a folder is there for what was chosen below it: parents are added with their files.
  return wanted(at) ? [{ kind: "d", path: at }, inside] : [inside];
}

function readNames(root: string, folder: string): fs.Dirent[] {
  try {
    return fs.readdirSync(`${root}/${folder}`, { withFileTypes: true });
  } catch (err) {
    throw asSkeinError(err, path.join(root, folder));
  }
}

/** What went away since its folder was read is not there. */
function readIfThere(root: string, at: string, entry: fs.Dirent): SourceEntry | undefined {
  try {
    return readEntry(root, at, entry);
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw asSkeinError(err, `${root}/${at}`);
  }
}

function readEntry(root: string, at: string, entry: fs.Dirent): SourceEntry {
  if (isGarbled(entry.name)) throw refuse("TREE_REFUSED", at, GARBLED);
  const file = `${root}/${at}`;
  if (entry.isSymbolicLink()) return { kind: "l", path: at, target: readLink(file, at) };
  if (!entry.isFile()) throw refuse("TREE_REFUSED", at, `it is ${whatIs(entry)}`);
  const stat = fs.lstatSync(file);
  if ((stat.mode & (SETUID | SETGID)) !== 0) {
    throw refuse("TREE_REFUSED", at, "it is setuid or setgid", "Remove the bit: chmod ug-s.");
  }
  return new DirectoryFile(root, at, stat);
}

/** Makes what is long when it is asked for: a folder may have very many files. */
class DirectoryFile implements SourceFile {
  readonly kind: "f" | "x";
  readonly path: string;
  readonly size: number;
  readonly #root: string;
  readonly #mtimeMs: number;
  readonly #ctimeMs: number;
  readonly #ino: number;

  constructor(root: string, at: string, stat: fs.Stats) {
    this.kind = (stat.mode & 0o100) === 0 ? "f" : "x";
    this.path = at;
    this.size = stat.size;
    this.#root = root;
    this.#mtimeMs = stat.mtimeMs;
    this.#ctimeMs = stat.ctimeMs;
    this.#ino = stat.ino;
  }

  get stamp(): string {
    return stampOf({ size: this.size, mtimeMs: this.#mtimeMs, ctimeMs: this.#ctimeMs, ino: this.#ino });
  }

  get changedMs(): number {
    return Math.max(this.#mtimeMs, this.#ctimeMs);
  }

  get content(): Content {
    return { file: `${this.#root}/${this.path}`, offset: 0 };
  }
}

/** What a file's content is told by to have changed. */
export function stampOf({
  size,
  mtimeMs,
  ctimeMs,
  ino,
}: Pick<fs.Stats, "size" | "mtimeMs" | "ctimeMs" | "ino">): string {
  return `${size} ${mtimeMs} ${ctimeMs} ${ino}`;
}

const GARBLED = "its name is not valid UTF-8";
/** Node puts this character where bytes are none. */
const isGarbled = (text: string): boolean => text.includes("\ufffd");

function readLink(file: string, at: string): string {
  const target = fs.readlinkSync(file);
  if (isGarbled(target)) throw refuse("TREE_REFUSED", at, "its link's text is not valid UTF-8");
  return target;
}

function whatIs(entry: fs.Dirent): string {
  if (entry.isFIFO()) return "a FIFO";
  if (entry.isSocket()) return "a socket";
  return "a device";
}
