import path from "node:path";
import { SkeinError } from "../lib/errors/errors.ts";
import { MAX_ENTRIES } from "../release/tree/arrange.ts";
import type { SourceEntry, TreeSource } from "../release/tree/tree-source.ts";
import { GitObjects } from "./git-objects.ts";
import { globFilter } from "./globs.ts";
import { refuse } from "./refuse.ts";
import { Spool } from "./spool.ts";

export interface GitOptions {
  /** A work tree or a bare repository. */
  readonly repo: string;
  /** 40 hex digits. */
  readonly commit: string;
  /** Folder in the repository that is released; empty: all of it. */
  readonly folder?: string;
  /** Default: the repository's name. */
  readonly name?: string;
  /** As for a directory. */
  readonly files?: readonly string[];
  /** Folder for what is read. Default: the system's. */
  readonly scratch?: string;
  /** Of this repository, where it is being read already; left open. */
  readonly objects?: GitObjects;
}

export interface TreeEntry {
  readonly mode: string;
  readonly path: string;
  readonly id: string;
}

export const MODES = {
  tree: "40000",
  file: "100644",
  group: "100664",
  run: "100755",
  link: "120000",
  module: "160000",
};

const FILES = new Set([MODES.file, MODES.group, MODES.run]);

const TOO_MANY_ENTRIES = `the commit has more than ${MAX_ENTRIES} files and folders`;

/** Files of Git LFS in a commit begin with this, and are short. */
const POINTER = "version https://git-lfs.github.com/spec/";
const POINTER_BYTES = 1024;

/**
 * A commit as a source, without a checkout: what git's hash covers, byte for byte, so filters and attributes do not
 * change what is released.
 * @throws SkeinError COMMIT_NOT_FOUND, COMMIT_MISMATCH, GIT_FAILED, TREE_REFUSED
 */
export async function gitSource(options: GitOptions, signal: AbortSignal): Promise<TreeSource> {
  const { repo, commit } = options;
  const notes: string[] = [];
  using own = new GitObjects(repo); // starts nothing until it is used
  const objects = options.objects ?? own;
  const root = await rootOf(objects, commit, options.folder ?? "", signal);
  const wanted = globFilter(options.files);
  const listed = (await listTree(objects, root, signal)).filter((entry) => wanted(entry.path));
  const spool = new Spool(options.scratch);
  try {
    const entries = await readEntries(objects, listed, spool, notes, signal);
    return {
      kind: "git",
      name: options.name ?? path.basename(path.resolve(repo)).replace(/\.git$/, ""),
      commit,
      cacheKey: `git:${path.resolve(repo)}:${options.folder ?? ""}`,
      notes,
      entries: async () => entries,
      [Symbol.asyncDispose]: async () => spool[Symbol.dispose](),
    };
  } catch (err) {
    spool[Symbol.dispose]();
    throw err;
  }
}

/** The id of the tree that is released. */
async function rootOf(
  objects: GitObjects,
  commit: string,
  folder: string,
  signal: AbortSignal,
): Promise<string> {
  if (!/^[0-9a-f]{40}$/.test(commit)) {
    throw new SkeinError("COMMIT_NOT_FOUND", `${JSON.stringify(commit)} is no commit's full hash`, {
      data: { commit },
    });
  }
  const [object] = await objects.readWhole([commit], signal);
  const tree =
    object?.type === "commit"
      ? /^tree ([0-9a-f]{40})\n/.exec(object.bytes.toString("latin1"))?.[1]
      : undefined;
  if (tree === undefined) {
    throw new SkeinError("COMMIT_NOT_FOUND", `${commit} is not a commit`, { data: { commit } });
  }
  let root = tree;
  for (const part of folder.split("/").filter((part) => part !== "")) {
    const [level] = await objects.readWhole([root], signal);
    const next = parseTree("", level?.bytes ?? Buffer.alloc(0)).find((entry) => entry.path === part);
    if (next?.mode !== MODES.tree) {
      throw new SkeinError("SOURCE_NOT_FOUND", `the commit has no folder ${folder}`, {
        data: { commit, folder },
      });
    }
    root = next.id;
  }
  return root;
}

/** What stands at the top of a commit, or of a folder in it. @throws SkeinError as `gitSource` */
export async function topOfCommit(
  objects: GitObjects,
  commit: string,
  folder: string,
  signal: AbortSignal,
): Promise<TreeEntry[]> {
  const root = await rootOf(objects, commit, folder, signal);
  const [tree] = await objects.readWhole([root], signal);
  return parseTree("", tree?.bytes ?? Buffer.alloc(0));
}

/** Every file of that name in a commit, in whatever folder. @throws SkeinError as `gitSource` */
export async function filesNamed(
  objects: GitObjects,
  commit: string,
  name: string,
  signal: AbortSignal,
): Promise<TreeEntry[]> {
  const entries = await listTree(objects, await rootOf(objects, commit, "", signal), signal);
  return entries.filter(({ mode, path: at }) => FILES.has(mode) && path.posix.basename(at) === name);
}

/**
 * Everything below a tree, one round of reading for each level, and each tree once: a commit of a few hundred bytes can
 * name one tree many times, in many folders, and so come to more than any machine holds.
 */
async function listTree(objects: GitObjects, root: string, signal: AbortSignal): Promise<TreeEntry[]> {
  const found: TreeEntry[] = [];
  let level: readonly { id: string; under: string }[] = [{ id: root, under: "" }];
  while (level.length > 0) {
    const trees = await objects.readWhole([...new Set(level.map(({ id }) => id))], signal);
    const bytesOf = new Map(trees.map(({ id, bytes }) => [id, bytes]));
    const next: { id: string; under: string }[] = [];
    for (const { id, under } of level) {
      for (const entry of parseTree(under, bytesOf.get(id) ?? Buffer.alloc(0))) {
        found.push(entry);
        if (entry.mode === MODES.tree) next.push({ id: entry.id, under: `${entry.path}/` });
      }
      if (found.length > MAX_ENTRIES) throw refuse("TREE_REFUSED", under, TOO_MANY_ENTRIES);
    }
    level = next;
  }
  return found;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function parseTree(under: string, bytes: Buffer): TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const zero = bytes.indexOf(0, at);
    const space = bytes.indexOf(0x20, at);
    // git itself takes any bytes for a tree that somebody writes with hash-object.
    if (space < at || zero < space || zero + 21 > bytes.length)
      throw refuse("TREE_REFUSED", under, "git's list of what is in it is damaged");
    const name = bytes.subarray(space + 1, zero);
    entries.push({
      mode: bytes.toString("latin1", at, space),
      path: under + decodeName(under, name),
      id: bytes.toString("hex", zero + 1, zero + 21),
    });
    at = zero + 21;
  }
  return entries;
}

function decodeName(under: string, name: Buffer): string {
  try {
    return decoder.decode(name);
  } catch {
    throw refuse("TREE_REFUSED", under + name.toString("latin1"), "its name is not valid UTF-8");
  }
}

async function readEntries(
  objects: GitObjects,
  listed: readonly TreeEntry[],
  spool: Spool,
  notes: string[],
  signal: AbortSignal,
): Promise<SourceEntry[]> {
  const blobs = new Map<string, { offset: number; size: number }>();
  const isBlob = ({ mode }: TreeEntry): boolean => mode !== MODES.tree && mode !== MODES.module;
  const ids = [...new Set(listed.filter(isBlob).map(({ id }) => id))];
  const pointers = new Set<string>();
  let begun = "";
  await objects.read(
    ids,
    {
      begin: (id, _type, size) => {
        blobs.set(id, { offset: spool.end, size });
        begun = size < POINTER_BYTES ? id : "";
      },
      data: (bytes) => {
        if (begun !== "" && bytes.indexOf(POINTER) === 0) pointers.add(begun);
        begun = "";
        spool.write(bytes);
      },
      end: () => undefined,
    },
    signal,
  );
  notes.push(...pointerNotes(listed.filter(({ id }) => pointers.has(id))));
  return listed.map((entry): SourceEntry => {
    const { mode, path, id } = entry;
    if (mode === MODES.module) notes.push(`${path} is a submodule: its folder is empty`);
    if (mode === MODES.tree || mode === MODES.module) return { kind: "d", path };
    const blob = blobs.get(id) ?? { offset: 0, size: 0 };
    if (mode === MODES.link)
      return { kind: "l", path, target: linkText(path, spool.read(blob.offset, blob.size)) };
    if (mode !== MODES.run && mode !== MODES.file && mode !== MODES.group) {
      throw refuse("TREE_REFUSED", path, `its mode is ${mode}`);
    }
    const content = spool.contentAt(blob.offset);
    const kind = mode === MODES.run ? "x" : "f";
    return { kind, path, size: blob.size, content, stamp: `git ${id}`, changedMs: 0 };
  });
}

/** The content is elsewhere, and an app that is handed the pointers fails in ways that say nothing of it. */
function pointerNotes([first, ...others]: readonly TreeEntry[]): string[] {
  if (first === undefined) return [];
  const are = others.length === 0 ? " is a pointer" : ` and ${others.length} more are pointers`;
  return [`${first.path}${are} of Git LFS, not the content; --from . takes a checkout that has it`];
}

function linkText(path: string, bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw refuse("TREE_REFUSED", path, "its link's text is not valid UTF-8");
  }
}
