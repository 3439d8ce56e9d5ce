import fs from "node:fs/promises";
import path from "node:path";
import type { Clock } from "../../lib/clock.ts";
import { errnoOf, messageOf, SkeinError } from "../../lib/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/files.ts";
import { installsDir } from "../../release/record/install-record.ts";
import { describeEnd, runCommand, type RunAs } from "../programs/command.ts";
import type { Group, Groups } from "../programs/groups.ts";
import { SANE_PATH } from "../runtime/environment.ts";
import type { AppFolders } from "./folders.ts";

/** However much there is. */
const WITHIN_MS = 86_400_000;

export interface GivingTools {
  readonly clock: Clock;
  /** Where a `chown` is noted, so that whoever comes after an agent that was killed ends it. */
  readonly groups: Groups;
  readonly signal: AbortSignal;
}

/**
 * Gives an app's data to the user whom the release that comes now runs as. Mostly it has it already; else what belongs
 * to whoever had it is given, and nothing else: a name that an app gives to somebody's file wins it nothing. As long as
 * it is under way a note names everyone who may have some of it: whoever is cut off goes on, to whatever user.
 * @param user undefined: everything runs as the agent's own user
 * @throws SkeinError IO
 */
export async function ownData(
  { app, data, revs }: Pick<AppFolders, "app" | "data" | "revs">,
  user: RunAs | undefined,
  tools: GivingTools,
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
  await using group = await tools.groups.open(`${path.basename(app)}-data`);
  try {
    for (const owner of owners) {
      // The folder itself goes last, and shuts them out. What they removed until then fails this, and no more than this.
      await give(dir, owner, user, group, tools);
      // What they wrote until then is given now.
      const failure = await give(dir, owner, user, group, tools);
      if (failure !== undefined) throw new Error(failure);
    }
  } catch (err) {
    tools.signal.throwIfAborted();
    throw new SkeinError("IO", `${data} could not be given to its user: ${messageOf(err)}`, {
      data: { path: data },
      cause: err,
    });
  }
  await fs.rm(note);
}

const uidsIn = (text: string): number[] => [...text.matchAll(/\d+/g)].map(Number);

/** @returns why something could not be given */
async function give(
  dir: string,
  owner: number,
  { uid, gid }: RunAs,
  { mark, started }: Group,
  { clock, signal }: GivingTools,
): Promise<string | undefined> {
  const how = ["--recursive", "--no-dereference", `--from=${owner}`, `${uid}:${gid}`, "--", dir];
  const { end, tail } = await runCommand(
    {
      argv: ["chown", ...how],
      cwd: "/",
      env: { ...mark, PATH: SANE_PATH },
      user: undefined,
      withinMs: WITHIN_MS,
      onLine: () => undefined,
      onGroup: started,
    },
    clock,
    signal,
  );
  if (end.kind === "exit" && end.code === 0) return undefined;
  return [`chown: ${describeEnd(end, WITHIN_MS)}`, ...tail].join("\n");
}

async function placeOf(data: string): Promise<string | undefined> {
  try {
    return await fs.realpath(data);
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw err;
  }
}
