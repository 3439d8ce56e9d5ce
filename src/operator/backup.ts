import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import type { HubClient } from "../api/hub-client.ts";
import { SkeinError } from "../lib/errors.ts";
import { asSkeinError, syncDirectory } from "../lib/files.ts";

/**
 * Copies the running hub's store to `file`, which appears whole or not at all; a hub is restored from it with
 * `restoreSqliteStore`, while it is stopped.
 * @returns its size in bytes
 * @throws SkeinError NOT_AUTHORISED for operators without the admin scope, HUB_UNREACHABLE, DISK_FULL, IO
 */
export async function backupHub(
  client: Pick<HubClient, "raw">,
  file: string,
  signal: AbortSignal,
): Promise<number> {
  const aside = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const response = await client.raw({ method: "GET", path: "/v1/backup", signal });
    await pipeline(response, fs.createWriteStream(aside, { flags: "wx", mode: 0o600, flush: true }), {
      signal,
    });
    const { size } = await fs.promises.stat(aside);
    if (size !== Number(response.headers["content-length"])) {
      throw new SkeinError("HUB_UNREACHABLE", "the hub's answer was cut short");
    }
    await fs.promises.rename(aside, file);
    await syncDirectory(path.dirname(file));
    return size;
  } catch (err) {
    await fs.promises.rm(aside, { force: true });
    throw asSkeinError(err, file);
  }
}
