import fs from "node:fs/promises";
import type { TopEntry, TreeReader } from "../app/conventions.ts";
import type { SourceEntry, SourceFile, TreeSource } from "../release/tree-source.ts";

/** What the manifest and the conventions need of a source that is about to be released. */
export function readerOf(source: TreeSource, signal: AbortSignal): TreeReader {
  let entries: Promise<readonly SourceEntry[]> | undefined;
  const all = async (): Promise<readonly SourceEntry[]> => await (entries ??= source.entries(signal));
  return {
    list: async () => topOf(await all()),
    read: async (name) => {
      const file = (await all()).find(({ path }) => path === name);
      return file !== undefined && isFile(file) ? await textOf(file) : undefined;
    },
  };
}

const isFile = (entry: SourceEntry): entry is SourceFile => entry.kind === "f" || entry.kind === "x";

/** Folders need not be listed by a source: they are there for what is below them. */
function topOf(entries: readonly SourceEntry[]): TopEntry[] {
  const top = new Map<string, TopEntry>();
  for (const { path, kind } of entries) {
    const [name = "", ...below] = path.split("/");
    if (below.length > 0 || kind === "d") top.set(name, { name, kind: "directory", executable: false });
    else top.set(name, { name, kind: kind === "l" ? "link" : "file", executable: kind === "x" });
  }
  return [...top.values()];
}

const MAX_TEXT_BYTES = 1024 * 1024;

async function textOf({ content, size }: SourceFile): Promise<string> {
  const handle = typeof content.file === "string" ? await fs.open(content.file) : undefined;
  const buffer = Buffer.alloc(Math.min(size, MAX_TEXT_BYTES));
  try {
    if (handle !== undefined) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, content.offset);
      return buffer.toString("utf8", 0, bytesRead);
    }
    const { readSync } = await import("node:fs");
    const read = readSync(Number(content.file), buffer, 0, buffer.length, content.offset);
    return buffer.toString("utf8", 0, read);
  } finally {
    await handle?.close();
  }
}
