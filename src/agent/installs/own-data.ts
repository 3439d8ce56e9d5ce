import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { errnoOf, messageOf, SkeinError } from "../../lib/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/files.ts";
import { installsDir } from "../../release/record/install-record.ts";
import type { RunAs } from "../programs/command.ts";
import type { AppFolders } from "./folders.ts";

const run = promisify(execFile);

/**
 * Gives an app's data to the user whom the release that comes now runs as. Mostly it has it already; else what belongs
 * to whoever had it is given, and nothing else: a name that an app gives to somebody's file wins it nothing. As long as
 * it is under way a note names everyone who may have some of it: whoever is cut off goes on, to whatever user.
 * @param user undefined: everything runs as the agent's own user
 * @throws SkeinError IO
 */
export async function ownData(
  { data, revs }: Pick<AppFolders, "data" | "revs">,
  user: RunAs | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (user === undefined) return;
  // Somebody may have it on another disk, and a link to it here.
  const dir = await placeOf(data);
  if (dir === undefined) return;
  const { uid } = await fs.lstat(dir);
  const note = path.join(installsDir(revs), "data.owners");
  const noted = await readIfThere(note);
  if (uid === user.uid && noted === undefined) return;
  const owners = new Set([...uidsIn(noted ?? ""), uid, user.uid]);
  await writeFileAtomic(note, [...owners].join(" "));
  owners.delete(user.uid);
  try {
    for (const owner of owners) {
      await give(dir, owner, user, signal);
      // The folder itself went last, and shut them out: what they wrote until then is given now.
      await give(dir, owner, user, signal);
    }
  } catch (err) {
    signal.throwIfAborted();
    throw new SkeinError("IO", `${data} could not be given to its user: ${messageOf(err)}`, {
      data: { path: data },
      cause: err,
    });
  }
  await fs.rm(note);
}

const uidsIn = (text: string): number[] => [...text.matchAll(/\d+/g)].map(Number);

async function give(dir: string, owner: number, { uid, gid }: RunAs, signal: AbortSignal): Promise<void> {
  const how = ["--recursive", "--no-dereference", `--from=${owner}`, `${uid}:${gid}`, "--", dir];
  await run("chown", how, { signal });
}

async function placeOf(data: string): Promise<string | undefined> {
  try {
    return await fs.realpath(data);
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw err;
  }
}
