import fs from "node:fs/promises";
import path from "node:path";
import { lockFolder } from "../../depot/folder-lock.ts";
import { systemClock } from "../../lib/clock.ts";
import { SkeinError } from "../../lib/errors.ts";
import { readIfThere, writeFileAtomic } from "../../lib/files.ts";
import { faultPoint } from "../../lib/fault.ts";
import type { RunAs } from "./command.ts";

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

/** @throws SkeinError USER_REFUSED (from `of`) when the range is used up */
export function appUsers(stateDir: string, root: boolean): AppUsers {
  if (!root) return { of: async () => Promise.resolve(undefined) };
  const file = path.join(stateDir, "uids.json");
  let queue: Promise<unknown> = Promise.resolve();
  return {
    async of(app) {
      const turn = queue.then(async () => uidOf(file, app));
      queue = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function uidOf(file: string, app: string): Promise<RunAs> {
  const known = parseTable((await readIfThere(file)) ?? "{}");
  const uid = known.get(app) ?? (await newUid(file, app));
  return { uid, gid: uid };
}

/** Agents and subscribers of one machine share the table: each takes its turn to write. */
async function newUid(file: string, app: string): Promise<number> {
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  using _turn = await lockFolder(path.dirname(file), systemClock, AbortSignal.timeout(TURN_MS));
  const known = parseTable((await readIfThere(file)) ?? "{}");
  const uid = known.get(app) ?? nextUid(known);
  known.set(app, uid);
  await writeFileAtomic(file, `${JSON.stringify(Object.fromEntries(known), null, 1)}\n`);
  faultPoint("agent.uid-kept");
  return uid;
}

function parseTable(text: string): Map<string, number> {
  const parsed: unknown = JSON.parse(text);
  const table = new Map<string, number>();
  if (typeof parsed !== "object" || parsed === null) return table;
  for (const [app, uid] of Object.entries(parsed)) if (typeof uid === "number") table.set(app, uid);
  return table;
}

function nextUid(known: ReadonlyMap<string, number>): number {
  const taken = new Set(known.values());
  for (let uid = FIRST_UID; uid <= LAST_UID; uid++) if (!taken.has(uid)) return uid;
  throw new SkeinError("USER_REFUSED", `all uids from ${FIRST_UID} to ${LAST_UID} are in use on this node`);
}
