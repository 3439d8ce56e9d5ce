import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";

/** Writes a file as `writeFileAtomic` does. */
export type WriteFile = (file: string, text: string) => Promise<void>;

/** Enough for the records of some orders, each written beside the one it replaces. */
const RESERVE_BYTES = 2 ** 20;
/** It is taken where it takes no more than a quarter of what is free. */
const FREE_BYTES = 4 * RESERVE_BYTES;

/**
 * Room that the agent holds on its own disk, in the file `reserve`, for its own records. A disk that others filled
 * would else leave it unable to note that an order failed, and so to say so. The reserve gives way to the first write
 * that finds no room, and is taken again by one after which there is enough.
 * @returns what the agent writes its records with
 */
export async function openReserve(dir: string): Promise<WriteFile> {
  const file = path.join(dir, "reserve");
  let held = (await fs.stat(file).catch(() => undefined))?.size === RESERVE_BYTES;
  /** One after the other: what is being taken could else not be given. */
  let turn: Promise<void> = Promise.resolve();
  const inTurn = async (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    await done;
  };
  const give = async (): Promise<void> => {
    if (held) await fs.rm(file, { force: true });
    held = false;
  };
  const take = async (): Promise<void> => {
    const { bavail, bsize } = await fs.statfs(dir);
    if (held || bavail * bsize < FREE_BYTES) return;
    held = true;
    // Random: zeros would take no room on some file systems.
    await writeFileAtomic(file, randomBytes(RESERVE_BYTES)).catch(give);
  };
  await take();
  return async (to, text) => {
    try {
      await writeFileAtomic(to, text);
    } catch (err) {
      if (!isSkeinError(err, "DISK_FULL")) throw err;
      await inTurn(give);
      return await writeFileAtomic(to, text);
    }
    if (!held) await inTurn(take);
  };
}
