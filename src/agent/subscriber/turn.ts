import { constants, type Stats } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { lockFolder } from "../../depot/directory/folder-lock.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { readIfThere, removeLeft, writeFileAtomic } from "../../lib/disk/files.ts";
import { installsDir } from "../../release/record/install-record.ts";
import { until } from "../../lib/time/until.ts";
import { rootFolder, type PackagePlace } from "./package-place.ts";
import { jsonIn } from "../../lib/text/json.ts";

export interface TurnOptions {
  /** How messages call who holds it: `sync`. */
  readonly command: string;
  /** Longest wait for whoever works on it, in ms. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const FOLDER_MODE = 0o755;
/** The app sees into its folder: whoever may read the file could keep everybody else from it. */
const TURN_MODE = 0o600;

/**
 * The one turn to change a package here: cron and people come one after the other. The lock is the kernel's and ends
 * with its holder; what `.skein/owner.json` says is only for people.
 * @throws SkeinError LOCK_HELD naming the holder, USER_REFUSED where root would write in somebody else's folder
 */
export async function takeTurn(place: PackagePlace, options: TurnOptions): Promise<Disposable> {
  const { clock, signal, waitMs } = options;
  if (process.getuid?.() === 0) await refuseShared(place);
  await fs.mkdir(place.own, { recursive: true, mode: FOLDER_MODE });
  await fs.mkdir(place.state, { recursive: true, mode: 0o700 });
  using over = until([signal], waitMs);
  const turn = await lockFolder(place.folders.app, clock, over.signal, TURN_MODE).catch(
    async (err: unknown) => {
      signal.throwIfAborted();
      if (!over.signal.aborted) throw err;
      throw held(place, waitMs, await readIfThere(ownerFile(place)));
    },
  );
  try {
    const owner = { pid: process.pid, command: options.command, since: new Date(clock.now()).toISOString() };
    removeLeft(place.own);
    await writeFileAtomic(ownerFile(place), `${JSON.stringify(owner)}\n`, 0o644);
  } catch (err) {
    turn[Symbol.dispose]();
    throw err;
  }
  return turn;
}

/**
 * Whoever may write in a folder could lead root's writes elsewhere by a link: in those that this writes to, and, with
 * another folder in their place, in each one on the way there.
 */
async function refuseShared({ folders, own, state, logs }: PackagePlace): Promise<void> {
  for (const dir of [folders.root, folders.app]) {
    const real = await fs.realpath(dir);
    for (const at of new Set([real, path.resolve(dir)].flatMap(foldersTo))) {
      refuseOthers(at, await fs.stat(at), at !== real && at !== path.resolve(dir));
    }
  }
  // Left by whoever the package was before, perhaps.
  for (const dir of [rootFolder(folders.root), own, state, logs, folders.revs, installsDir(folders.revs)]) {
    const stat = await fs.lstat(dir).catch(() => undefined);
    if (stat !== undefined) refuseOthers(dir, stat, false);
  }
}

function foldersTo(dir: string): readonly string[] {
  const above = path.dirname(dir);
  return above === dir ? [dir] : [...foldersTo(above), dir];
}

/** @param isAbove in a folder with the sticky bit nobody renames what is another's; one to write to has no use for it */
function refuseOthers(dir: string, { uid, gid, mode }: Stats, isAbove: boolean): void {
  const others = isAbove && (mode & 0o1000) !== 0 ? 0 : gid === 0 ? 0o002 : 0o022;
  const isFolder = (mode & constants.S_IFMT) === constants.S_IFDIR;
  if (isFolder && uid === 0 && (mode & others) === 0) return;
  throw new SkeinError("USER_REFUSED", `${dir} can be written by others than root, who runs this`, {
    hint: `Run chown root ${dir} && chmod go-w ${dir}, with -R where it is the package's own, or run it as the folder's owner.`,
    data: { path: dir, uid, mode: (mode & 0o777).toString(8) },
  });
}

/** What `owner.json` says, for people; as it is where it says something else. */
function ownerWords(text: string): string {
  const parsed = ownerSchema.safeParse(jsonIn(text));
  if (!parsed.success) return text.trim();
  const { command, pid, since } = parsed.data;
  return `${command} (process ${pid}, since ${since})`;
}

const ownerSchema = z.object({ pid: z.int(), command: z.string(), since: z.string() });

const ownerFile = (place: PackagePlace): string => path.join(place.own, "owner.json");

function held(place: PackagePlace, waitMs: number, owner: string | undefined): SkeinError {
  const { name } = place.package;
  const who = owner === undefined ? "" : ` by ${ownerWords(owner)}`;
  return new SkeinError(
    "LOCK_HELD",
    `${name} is worked on${who}, and was not free within ${waitMs / 1000} s`,
    {
      data: { package: name, owner: owner?.trim() ?? null },
    },
  );
}
