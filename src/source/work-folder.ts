import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { messageOf } from "../lib/errors.ts";
import { removeTree } from "../release/install/remove-tree.ts";

/** A folder for commands that are not ours, gone when it is disposed of. */
export interface WorkFolder extends Disposable {
  readonly dir: string;
}

/**
 * What commands leave in it may have folders that are read-only (the modules that Go keeps), which are removed all the
 * same, and files of somebody else's (a container's), which stay: `tell` hears of those, and nobody is held up.
 */
export async function workFolder(prefix: string, tell: (line: string) => void): Promise<WorkFolder> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), prefix));
  return {
    dir,
    [Symbol.dispose]() {
      try {
        removeTree(dir);
      } catch (err) {
        tell(`${dir} is left behind: ${messageOf(err)}`);
      }
    },
  };
}
