import fs from "node:fs/promises";
import path from "node:path";
import type { Clock } from "../../lib/time/clock.ts";
import { errnoOf, messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { installsDir } from "../../release/record/install-record.ts";
import { describeEnd, runCommand, SANE_PATH, type RunAs } from "../programs/command.ts";
import type { Group, Groups } from "../programs/groups.ts";
import type { AppFolders } from "./folders.ts";

/** However much there is. */
const WITHIN_MS = 86_400_000;

type DataFolders = Pick<AppFolders, "app" | "data" | "revs">;

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
  folders: DataFolders,
  user: RunAs | undefined,
  tools: GivingTools,
): Promise<void> {
  await lendData(folders, user, tools);
  await fs.rm(noteFile(folders), { force: true });
}

/** The same, for a while: until `ownData` gives it for good, it is under way. @throws SkeinError IO */
export async function lendData(
  folders: DataFolders,
  user: RunAs | undefined,
  tools: GivingTools,
): Promise<void> {
  if (user === undefined) return;
  // Somebody may have it on another disk, and a link to it here.
  const dir = await placeOf(folders.data);
  if (dir === undefined) return;
  const { uid } = await fs.lstat(dir);
  const noted = await readIfThere(noteFile(folders));
  if (uid === user.uid && noted === undefined) return;
  const owners = new Set([...uidsIn(noted ?? ""), uid, user.uid]);
  await writeFileAtomic(noteFile(folders), [...owners].join(" "));
  owners.delete(user.uid);
  await using group = await tools.groups.open(`${path.basename(folders.app)}-data`);
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
    throw new SkeinError("IO", `${folders.data} could not be given to its user: ${messageOf(err)}`, {
      data: { path: folders.data },
      cause: err,
    });
  }
}

/** Whether somebody has it for a while, or has some of it. */
export async function isDataUnderWay(folders: DataFolders): Promise<boolean> {
  return (await readIfThere(noteFile(folders))) !== undefined;
}

const noteFile = ({ revs }: DataFolders): string => path.join(installsDir(revs), "data.owners");

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
