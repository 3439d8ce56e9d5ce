import fs from "node:fs/promises";
import path from "node:path";

export interface FolderBound {
  readonly files: number;
  /** All of them together; Infinity: that is not looked at. */
  readonly bytes: number;
}

/**
 * Makes room in a folder of what may be made anew, where it holds more than its bound: what was written longest ago goes,
 * down to half of the bound, so that this is not done each time. Whatever goes wrong, more stays.
 */
export async function keepNewestFiles(folder: string, most: FolderBound): Promise<void> {
  const names = await fs.readdir(folder).catch(() => []);
  if (names.length <= most.files && most.bytes === Infinity) return;
  const seen = await Promise.all(
    names.map(async (name) => {
      const stat = await fs.lstat(path.join(folder, name)).catch(() => undefined);
      return stat?.isFile() === true ? [{ name, at: stat.mtimeMs, size: stat.size }] : [];
    }),
  );
  const files = seen.flat().toSorted((a, b) => b.at - a.at);
  if (files.length <= most.files && sizeOf(files) <= most.bytes) return;
  let bytes = 0;
  const kept = files.findIndex(({ size }, n) => n >= most.files / 2 || (bytes += size) > most.bytes / 2);
  const old = kept === -1 ? [] : files.slice(kept);
  await Promise.all(
    old.map(async ({ name }) => await fs.rm(path.join(folder, name), { force: true }).catch(() => undefined)),
  );
}

const sizeOf = (files: readonly { readonly size: number }[]): number =>
  files.reduce((sum, { size }) => sum + size, 0);
