import fs from "node:fs/promises";
import path from "node:path";
import type { TreeSource } from "../release/tree-source.ts";

/** One file as a source: an executable keeps its bit, anything else is kept as it is. */
export async function packedSource(file: string, _signal: AbortSignal): Promise<TreeSource> {
  const stat = await fs.stat(file);
  const name = path.basename(file);
  return {
    kind: "file",
    name,
    commit: null,
    cacheKey: null,
    notes: [],
    entries: async () => [
      {
        kind: (stat.mode & 0o100) === 0 ? "f" : "x",
        path: name,
        size: stat.size,
        content: { file, offset: 0 },
        stamp: null,
      },
    ],
    [Symbol.asyncDispose]: async () => undefined,
  };
}
