import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { lockFolder } from "../../depot/directory/folder-lock.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { RunAs } from "./command.ts";
import { jsonIn } from "../../lib/text/json.ts";

const FIRST_UID = 70_000;
const LAST_UID = 70_999;
/** Longest wait for whoever else writes the table, in ms. */
const TURN_MS = 30_000;

/**
 * The uid of each app on this node, from a range of its own. It is written down before it is used: files in the
 * app's data folder carry it, so an app must get the same one for ever and no other app may ever get it.
 */
export interface AppUsers {
  /** Undefined where the agent is not root: everything then runs as the agent's own user. */
  of(app: string): Promise<RunAs | undefined>;
}

/**
 * @param apps the folder of all apps. Where the table was lost, whoever owns an app's data is its user still
 * @throws SkeinError from `of`: USER_REFUSED when the range is used up, STORE_CORRUPT when the table is damaged
 */
export function appUsers(stateDir: string, root: boolean, apps?: string): AppUsers {
  if (!root) return { of: async () => Promise.resolve(undefined) };
  const file = path.join(stateDir, "uids.json");
  let queue: Promise<unknown> = Promise.resolve();
  return {
    async of(app) {
      const turn = queue.then(async () => uidOf(file, app, apps));
      queue = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function uidOf(file: string, app: string, apps: string | undefined): Promise<RunAs> {
  const known = await readTable(file);
  const uid = known.get(app) ?? (await newUid(file, app, apps));
  return { uid, gid: uid };
}

/** Agents and subscribers of one machine share the table: each takes its turn to write. */
async function newUid(file: string, app: string, apps: string | undefined): Promise<number> {
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  using _turn = await lockFolder(path.dirname(file), systemClock, AbortSignal.timeout(TURN_MS));
  const known = await readTable(file);
  const owners = apps === undefined ? new Map<string, number>() : await ownersOf(apps);
  const own = owners.get(app);
  owners.delete(app);
  const taken = new Set([...known.values(), ...owners.values()]);
  const uid = known.get(app) ?? (own === undefined || taken.has(own) ? nextUid(taken) : own);
  known.set(app, uid);
  await writeFileAtomic(file, `${JSON.stringify(Object.fromEntries(known), null, 1)}\n`);
  faultPoint("agent.uid-kept");
  return uid;
}

async function readTable(file: string): Promise<Map<string, number>> {
  const parsed = z.record(z.string(), z.int()).safeParse(jsonIn((await readIfThere(file)) ?? "{}"));
  if (parsed.success) return new Map(Object.entries(parsed.data));
  throw new SkeinError("STORE_CORRUPT", `${file} is damaged: it says which uid each app has`, {
    hint: 'Write it anew by the owners of the apps\' data folders, as {"APP": UID}; or remove it where no machine pulls without an agent: it is then made of these.',
    data: { path: file },
  });
}

/** Whose the apps' data is, of those that have a uid of this range. */
async function ownersOf(apps: string): Promise<Map<string, number>> {
  const owners = new Map<string, number>();
  for (const app of await fs.readdir(apps).catch(() => [])) {
    const uid = (await fs.lstat(path.join(apps, app, "data")).catch(() => undefined))?.uid ?? 0;
    if (uid >= FIRST_UID && uid <= LAST_UID) owners.set(app, uid);
  }
  return owners;
}

function nextUid(taken: ReadonlySet<number>): number {
  for (let uid = FIRST_UID; uid <= LAST_UID; uid++) if (!taken.has(uid)) return uid;
  throw new SkeinError("USER_REFUSED", `all uids from ${FIRST_UID} to ${LAST_UID} are in use on this node`);
}
