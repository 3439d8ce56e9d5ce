/** The hub's store to an operator: its file cannot be copied from outside while the hub has it open. */
import fs from "node:fs";
import type http from "node:http";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { SkeinError } from "../lib/errors.ts";
import { canBackup } from "../store/store.ts";
import type { Core } from "./core.ts";

type Parts = Pick<Core, "store" | "paths" | "lanes">;

/** One at a time and always under the same name: what a killed hub left behind is written over. */
export async function sendBackup(
  { store, paths, lanes }: Parts,
  res: http.ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  if (!canBackup(store))
    throw new SkeinError("BAD_REQUEST", "this hub's store is backed up with its own tools");
  await lanes.run("backup", async () => {
    const file = path.join(paths.lib, "backup.tmp");
    try {
      await store.backup(file);
      const { size } = await fs.promises.stat(file);
      res.writeHead(200, { "content-type": "application/octet-stream", "content-length": size });
      await pipeline(fs.createReadStream(file), res, { signal });
    } finally {
      await fs.promises.rm(file, { force: true });
    }
  });
}
