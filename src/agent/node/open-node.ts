import path from "node:path";
import { isSkeinError, SkeinError } from "../../lib/errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { Paths } from "../../lib/paths.ts";
import { retry } from "../../lib/retry.ts";
import { makeNodeFolders } from "../installs/folders.ts";
import { forgetJoining, join } from "./join.ts";
import { lockHome } from "./lock.ts";
import { nodeKeys, type NodeKeys } from "./node-keys.ts";
import { loadNodeStore, openNodeStore, type NodeStore } from "./node-store.ts";
import type { WriteFile } from "./reserve.ts";

/**
 * A hub holds an address to a rate as long as it does not know who calls: many machines behind one wait for their turn.
 * One that was restored lets nobody in before its nodes told it who is.
 */
const TURN = { tries: 60, baseMs: 500, maxMs: 10_000, random: Math.random };

export interface OpenNodeOptions {
  readonly paths: Paths;
  /** Taken at joining where the ticket leaves the name open. */
  readonly name: string;
  /** The line of `skein node invite`; ignored once joined. */
  readonly join?: string | undefined;
  /** In place of joining: makes the state of a node that nobody knows by name. */
  readonly begin?: ((stateDir: string, keys: NodeKeys) => Promise<NodeStore>) | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The node's state: as it was left, or made now by joining. @throws SkeinError NOT_JOINED, STORE_CORRUPT, and join's */
export async function openNode(
  options: OpenNodeOptions,
  stateDir: string,
  keys: NodeKeys,
  write: WriteFile,
): Promise<NodeStore> {
  const known = await openNodeStore(stateDir, write);
  if (known !== undefined) return known;
  const made = await joinNow(options, stateDir, keys);
  return (await loadNodeStore(stateDir, write)) ?? made;
}

/**
 * Joins now, and runs nothing: a line that is no good is told to who typed it. Where this machine has joined: nothing.
 * @throws SkeinError AGENT_RUNNING, KEY_UNREADABLE, and join's
 */
export async function joinNode(options: OpenNodeOptions): Promise<void> {
  const { paths } = options;
  const stateDir = path.join(paths.lib, "state");
  if ((await loadNodeStore(stateDir)) !== undefined) return;
  await makeNodeFolders(paths, stateDir);
  await using lock = await lockHome(paths.lib);
  void lock;
  await joinNow(options, stateDir, await nodeKeys(paths.etc));
  await forgetJoining(paths.etc);
}

async function joinNow(options: OpenNodeOptions, stateDir: string, keys: NodeKeys): Promise<NodeStore> {
  if (options.begin !== undefined) return await options.begin(stateDir, keys);
  if (options.join === undefined) {
    throw new SkeinError("NOT_JOINED", "this machine has not joined a cluster", {
      data: { home: options.paths.lib },
    });
  }
  const { name, clock, signal, log, join: line } = options;
  const { etc } = options.paths;
  const attempt = async (): Promise<NodeStore> =>
    await join({ etc, stateDir, line, name, keys, clock, signal });
  const store = await retry(attempt, {
    ...TURN,
    clock,
    signal,
    worthRetrying(err) {
      if (!isSkeinError(err, "TOO_MANY", "HUB_CATCHING_UP")) return false;
      log.warn("the hub lets nobody in now; trying again", { "err.message": err.message });
      return true;
    },
  });
  log.info("joined", { node: store.state.identity?.name });
  return store;
}
