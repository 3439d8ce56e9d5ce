import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { isDigest, type Digest } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { readOwn } from "../node/own-file.ts";

/** Commands that were begun here and could still be handed over again: each acts once, also across a restart. */
export interface Begun {
  /** Durable when it resolves. False for one that was begun before. */
  begin(command: Digest, expiresMs: number, nowMs: number): Promise<boolean>;
  has(command: Digest): Promise<boolean>;
}

/** `commands.json`: digest to when it expires, in ms. What has expired is refused for that and need not be known. */
export function begunCommands(stateDir: string, log: Log): Begun {
  const file = path.join(stateDir, "commands.json");
  let queue: Promise<unknown> = Promise.resolve();
  const read = async (): Promise<ReadonlyMap<Digest, number>> =>
    (await readOwn(file, parse, log)) ?? new Map<Digest, number>();
  return {
    begin: async (command, expiresMs, nowMs) => {
      const turn = queue.then(async () => {
        const known = await read();
        if (known.has(command)) return false;
        const kept = [...known].filter(([, expires]) => expires > nowMs);
        await writeFileAtomic(file, JSON.stringify(Object.fromEntries([...kept, [command, expiresMs]])));
        faultPoint("agent.command-begun");
        return true;
      });
      queue = turn.catch(() => undefined);
      return await turn;
    },
    has: async (command) => {
      await queue;
      return (await read()).has(command);
    },
  };
}

function parse(text: string): ReadonlyMap<Digest, number> {
  const known = new Map<Digest, number>();
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== "object" || parsed === null) return known;
  for (const [digest, expires] of Object.entries(parsed)) {
    if (isDigest(digest) && typeof expires === "number") known.set(digest, expires);
  }
  return known;
}
