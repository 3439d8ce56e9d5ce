import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import { promisify } from "node:util";
import { errnoOf, messageOf, SkeinError } from "../../lib/errors.ts";
import type { RunAs } from "../programs/command.ts";

const run = promisify(execFile);

/**
 * Gives an app's data to the user whom the release that comes now runs as. Mostly it has it already; else what belongs
 * to whoever had it is given, and nothing else: a name that an app gives to somebody's file wins it nothing. The folder
 * itself goes last, so whoever is cut off begins anew.
 * @param user undefined: everything runs as the agent's own user
 * @throws SkeinError IO
 */
export async function ownData(data: string, user: RunAs | undefined, signal: AbortSignal): Promise<void> {
  if (user === undefined) return;
  // Somebody may have it on another disk, and a link to it here.
  const dir = await placeOf(data);
  if (dir === undefined) return;
  const { uid } = await fs.lstat(dir);
  if (uid === user.uid) return;
  const how = ["--recursive", "--no-dereference", `--from=${uid}`, `${user.uid}:${user.gid}`, "--", dir];
  try {
    await run("chown", how, { signal });
  } catch (err) {
    signal.throwIfAborted();
    throw new SkeinError("IO", `${data} could not be given to its user: ${messageOf(err)}`, {
      data: { path: data },
      cause: err,
    });
  }
}

async function placeOf(data: string): Promise<string | undefined> {
  try {
    return await fs.realpath(data);
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw err;
  }
}
