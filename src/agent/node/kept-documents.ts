import { rmSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { silentLog, type Log } from "../../lib/process/log.ts";
import { rosterSchema, type Roster } from "../../trust/document/documents.ts";
import { parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { readOwn } from "./own-file.ts";
import type { WriteFile } from "./reserve.ts";

/**
 * Documents that accepted orders lead to: releases, and the rosters that prove settles. On disk before the order
 * that names them is accepted, so that a node without any hub has all it needs. Nothing in here is trusted: every
 * reader checks signatures or digests again.
 */
export interface KeptDocuments {
  /** In the place of an earlier one: it may be signed by somebody else, whom a newer charter has. */
  putRelease(id: ReleaseId, release: Envelope): Promise<void>;
  release(id: ReleaseId): Promise<Envelope | undefined>;
  putRoster(digest: Digest, roster: Roster): Promise<void>;
  roster(digest: Digest): Promise<Roster | undefined>;
  /** So many have come since the last time that it is worth to look which are needed. */
  readonly isDue: boolean;
  /** Forgets all but these, and what was put since the last time: what names that may be on its way. */
  keepOnly(names: ReadonlySet<ReleaseId | Digest>): void;
}

/** A look at all that is installed takes some time. */
const FORGOTTEN_EACH = 200;

const idOf = (name: string): ReleaseId => name.slice(0, -".json".length) as ReleaseId;

/** Makes the folder, and removes what is no document. @returns the names of those that are there */
async function documentsIn(dir: string): Promise<Set<string>> {
  await fs.mkdir(dir, { recursive: true, mode: 0o700 });
  const names = new Set<string>();
  for (const name of await fs.readdir(dir)) {
    if (name.endsWith(".json")) names.add(name);
    else await fs.rm(path.join(dir, name), { force: true });
  }
  return names;
}

export async function openKept(
  dir: string,
  write: WriteFile = writeFileAtomic,
  log: Log = silentLog,
): Promise<KeptDocuments> {
  const names = await documentsIn(dir);
  const young = new Set<string>();
  let left = 0;
  const put = async (name: string, text: string): Promise<void> => {
    young.add(`${name}.json`);
    if (names.has(`${name}.json`)) return;
    await write(path.join(dir, `${name}.json`), text);
    names.add(`${name}.json`);
    faultPoint("agent.document-kept");
  };
  const releases = new Map<ReleaseId, Envelope>();
  /** One that is damaged is taken again from whoever offers it. */
  const get = async <T>(name: string, parse: (text: string) => T): Promise<T | undefined> => {
    const file = `${name}.json`;
    const found = await readOwn(path.join(dir, file), parse, log);
    if (found === undefined) names.delete(file);
    return found;
  };
  const release = async (id: ReleaseId): Promise<Envelope | undefined> => {
    const known = releases.get(id);
    if (known !== undefined) return known;
    const found = await get(id, parseEnvelope);
    if (found !== undefined) releases.set(id, found);
    return found;
  };
  return {
    release,
    async putRelease(id, envelope) {
      const text = JSON.stringify(envelope);
      const before = names.has(`${id}.json`) ? await release(id) : undefined;
      if (before !== undefined && JSON.stringify(before) !== text) names.delete(`${id}.json`);
      await put(id, text);
      releases.delete(id);
    },
    get isDue() {
      return names.size >= left + FORGOTTEN_EACH;
    },
    putRoster: async (digest, roster) => put(digest, JSON.stringify(roster)),
    async roster(digest) {
      return await get(digest, (text) => rosterSchema.parse(JSON.parse(text)));
    },
    keepOnly(wanted) {
      const needed = new Set([...names].filter((name) => wanted.has(idOf(name))));
      left = needed.size;
      for (const name of names) {
        if (needed.has(name) || young.has(name)) continue;
        // At once: whoever puts it again meanwhile would find it there, and it would be gone.
        rmSync(path.join(dir, name), { force: true });
        names.delete(name);
        releases.delete(idOf(name));
      }
      young.clear();
    },
  };
}
