import { readSync } from "node:fs";
import fs from "node:fs/promises";
import type { TopEntry, TreeReader } from "../../app/conventions.ts";
import {
  isSourceFile,
  type SourceEntry,
  type SourceFile,
  type TreeSource,
} from "../../release/tree/tree-source.ts";
import type { GitObjects } from "../../source/git-objects.ts";
import { MODES, topOfCommit, type TreeEntry } from "../../source/git.ts";

/**
 * The top of a commit, or of a folder in it. No more is read: a command that merely wants an app's name may run in a
 * repository of any size.
 */
export function commitReader(
  objects: GitObjects,
  commit: string,
  folder: string,
  signal: AbortSignal,
): TreeReader {
  let top: Promise<readonly TreeEntry[]> | undefined;
  const entries = async (): Promise<readonly TreeEntry[]> =>
    await (top ??= topOfCommit(objects, commit, folder, signal));
  return {
    list: async () =>
      (await entries()).map(({ path: name, mode }): TopEntry => {
        const kind = mode === MODES.tree ? "directory" : mode === MODES.link ? "link" : "file";
        return { name, kind, executable: mode === MODES.run };
      }),
    read: async (name) => {
      const entry = (await entries()).find(({ path: other }) => other === name);
      if (entry === undefined) return undefined;
      const [blob] = await objects.readWhole([entry.id], signal);
      return blob?.bytes.toString("utf8");
    },
  };
}

/** Of an archive or file, whose entries had to be read anyway. */
export function sourceReader(source: TreeSource, signal: AbortSignal): TreeReader {
  let entries: Promise<readonly SourceEntry[]> | undefined;
  const all = async (): Promise<readonly SourceEntry[]> => await (entries ??= source.entries(signal));
  return {
    list: async () => topOf(await all()),
    read: async (name) => {
      const file = (await all()).find((entry) => entry.path === name);
      return file !== undefined && isSourceFile(file) ? await textOf(file) : undefined;
    },
  };
}

/** Folders need not be listed by a source: they are there for what is below them. */
function topOf(entries: readonly SourceEntry[]): TopEntry[] {
  const top = new Map<string, TopEntry>();
  for (const entry of entries) {
    const [name = "", ...below] = entry.path.split("/");
    const { kind } = entry;
    if (below.length > 0 || kind === "d") top.set(name, { name, kind: "directory", executable: false });
    else top.set(name, { name, kind: kind === "l" ? "link" : "file", executable: kind === "x" });
  }
  return [...top.values()];
}

const MAX_TEXT_BYTES = 1024 * 1024;

async function textOf({ content, size }: SourceFile): Promise<string> {
  const buffer = Buffer.alloc(Math.min(size, MAX_TEXT_BYTES));
  if (typeof content.file === "number") {
    return buffer.toString("utf8", 0, readSync(content.file, buffer, 0, buffer.length, content.offset));
  }
  const handle = await fs.open(content.file);
  try {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, content.offset);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}
