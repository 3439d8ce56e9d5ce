import fs from "node:fs/promises";
import path from "node:path";
import { nodeDocuments, type NodeDocuments } from "../../api/member-schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { keepNewestFiles } from "../../lib/disk/newest-files.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { cacheDir } from "../identity/home.ts";

/**
 * Documents that proved nodes' identities, and their ends, kept so that a command asks for those of new and relabelled
 * nodes only, and so that a hub which forgets some is told. They are signed, and verified each time; whatever goes wrong
 * with a file is as if there were none.
 */
/** Of nodes that left as well; many times what a hub bears. */
const MOST = { files: 20_000, bytes: Infinity };

const folderOf = (paths: Paths): string => path.join(cacheDir(paths), "nodes");

export async function readDocuments(paths: Paths, node: KeyId): Promise<NodeDocuments | undefined> {
  try {
    const text = await fs.readFile(path.join(folderOf(paths), `${node}.json`), "utf8");
    return nodeDocuments.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export async function keepDocuments(paths: Paths, node: KeyId, documents: NodeDocuments): Promise<void> {
  const folder = folderOf(paths);
  try {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    await keepNewestFiles(folder, MOST);
    await fs.writeFile(path.join(folder, `${node}.json`), JSON.stringify(documents), { mode: 0o600 });
  } catch {
    // They are asked for the next time.
  }
}
