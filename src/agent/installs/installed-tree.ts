import fs from "node:fs/promises";
import path from "node:path";
import type { TreeReader } from "../../app/conventions.ts";
import { readIfThere } from "../../lib/files.ts";

/** What the manifest and the conventions need of a release that is installed. */
export function installedTree(dir: string): TreeReader {
  return {
    list: async () => {
      const entries = await fs.readdir(dir, { withFileTypes: true });
      return await Promise.all(
        entries.map(async (entry) => ({
          name: entry.name,
          kind: entry.isDirectory() ? "directory" : entry.isSymbolicLink() ? "link" : "file",
          executable: entry.isFile() && ((await fs.stat(path.join(dir, entry.name))).mode & 0o111) !== 0,
        })),
      );
    },
    read: async (name) => await readIfThere(path.join(dir, name)),
  };
}
