import path from "node:path";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Clock } from "../../lib/time/clock.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { retry } from "../../lib/time/retry.ts";
import { parseCarriedTicket } from "../../trust/members/carried-ticket.ts";
import { parseTicketLine } from "../../trust/members/ticket-line.ts";
import fs from "node:fs/promises";
import { forgetJoining, join } from "./join.ts";
import { lockHome } from "./lock.ts";
import { nodeKeys, type NodeKeys } from "./node-keys.ts";
import { loadNodeStore, openNodeStore, type NodeStore } from "./node-store.ts";
import type { WriteFile } from "./reserve.ts";

/**
 * A hub holds an address to a rate as long as it does not know who calls: many machines behind one wait for their turn.
 * One that was restored lets nobody in before its nodes told it who is.
 */
const TURN = { tries: Infinity, baseMs: 500, maxMs: 10_000, random: Math.random };
/** So often it is asked in all; a wrong clock is waited for as long as it is wrong. */
const TURNS = 60;
/** So often in a row a hub, or a bucket, may be silent: it is back in less than the two minutes that these tries take. */
const SILENT_TRIES = 15;

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

/** The node's own folders; only root, or who runs the agent, gets into `stateDir`. */
export async function makeNodeFolders(paths: Paths, stateDir: string): Promise<void> {
  for (const dir of [paths.etc, paths.lib, paths.run, paths.log]) {
    await fs.mkdir(dir, { recursive: true, mode: 0o755 });
  }
  await fs.mkdir(stateDir, { recursive: true, mode: 0o700 });
}

/** The node's state: as it was left, or made now by joining. @throws SkeinError NOT_JOINED, STORE_CORRUPT, and join's */
export async function openNode(
  options: OpenNodeOptions,
  stateDir: string,
  keys: NodeKeys,
  write: WriteFile,
): Promise<NodeStore> {
  const known = await openNodeStore(stateDir, write);
  if (known !== undefined) {
    // Whatever started it at boot may still have an old line: no reason to run nothing.
    if (isOfOther(known, options.join)) {
      const { code, message, hint } = otherCluster(stateDir);
      options.log.warn("the line of --join was passed over", {
        "err.code": code,
        "err.message": `${message}. ${hint}`,
      });
    }
    return known;
  }
  const made = await joinNow(options, stateDir, keys);
  return (await loadNodeStore(stateDir, write)) ?? made;
}

/** A line for another cluster than the one that this machine belongs to; one that cannot be read says nothing of it. */
function isOfOther({ state }: NodeStore, line: string | undefined): boolean {
  if (line === undefined) return false;
  try {
    return (line.startsWith("skjb1_") ? parseCarriedTicket(line) : parseTicketLine(line)).pin !== state.pin;
  } catch {
    return false;
  }
}

function otherCluster(stateDir: string): SkeinError {
  return new SkeinError("WRONG_CLUSTER", "the line lets in to another cluster than this machine belongs to", {
    hint: `To leave that one: stop the agent, move all but uids.json out of ${stateDir}, and type this again; what runs goes on.`,
  });
}

/**
 * Joins now, and runs nothing: a line that is no good is told to who typed it. Where this machine has joined: nothing.
 * @throws SkeinError AGENT_RUNNING, KEY_UNREADABLE, WRONG_CLUSTER, and join's
 */
export async function joinNode(options: OpenNodeOptions): Promise<void> {
  const { paths } = options;
  const stateDir = path.join(paths.lib, "state");
  const known = await loadNodeStore(stateDir);
  if (known !== undefined) {
    if (isOfOther(known, options.join)) throw otherCluster(stateDir);
    return;
  }
  await makeNodeFolders(paths, stateDir);
  using lock = await lockHome(paths.lib);
  void lock;
  await joinNow(options, stateDir, await nodeKeys(paths.etc));
  await forgetJoining(paths.etc);
}

async function joinNow(options: OpenNodeOptions, stateDir: string, keys: NodeKeys): Promise<NodeStore> {
  const { name, clock, signal, log, begin, join: line } = options;
  const { etc } = options.paths;
  const attempt = async (): Promise<NodeStore> => {
    if (begin !== undefined) return await begin(stateDir, keys);
    if (line !== undefined) return await join({ etc, stateDir, line, name, keys, clock, signal });
    throw new SkeinError("NOT_JOINED", "this machine has not joined a cluster", {
      data: { home: options.paths.lib },
    });
  };
  const store = await retry(attempt, { ...TURN, clock, signal, worthRetrying: passing(log) });
  log.info("joined", { node: store.state.identity?.name });
  return store;
}

/**
 * What the hub says of a ticket is its last word. One that is silent or goes down has said nothing yet, and takes the
 * same enrolment again. A bucket that does not answer has said nothing either.
 * Many a machine starts before its clock is right.
 */
function passing(log: Log): (err: unknown) => boolean {
  let [silent, turns] = [0, 0];
  let isClockTold = false;
  return (err) => {
    if (isSkeinError(err, "DOC_FROM_FUTURE")) {
      if (!isClockTold)
        log.warn("waiting for this machine's clock, or the hub's, to be set; then it joins", {
          "err.message": err.message,
        });
      isClockTold = true;
      return true;
    }
    if ((turns += 1) >= TURNS) return false;
    if (isSkeinError(err, "TOO_MANY", "HUB_CATCHING_UP")) {
      silent = 0;
      log.warn("the hub lets nobody in now; trying again", { "err.message": err.message });
      return true;
    }
    if (!isSkeinError(err, "HUB_UNREACHABLE", "STORE_CLOSED", "DEPOT_UNREACHABLE")) return false;
    const isBucket = err.code === "DEPOT_UNREACHABLE";
    silent += 1;
    if (silent === SILENT_TRIES) throw stillSilent(err, isBucket);
    log.warn(`waiting for the ${isBucket ? "bucket" : "hub"}, to join`, {
      "err.message": err.message,
      triesLeft: SILENT_TRIES - silent,
    });
    return true;
  };
}

function stillSilent(err: SkeinError, isBucket: boolean): SkeinError {
  const see = isBucket
    ? "See that this machine reaches the bucket's server"
    : "See that the hub runs, and that this machine reaches its port";
  return new SkeinError(
    isBucket ? err.code : "HUB_UNREACHABLE",
    `this machine could not join: ${err.message}`,
    {
      hint: `${see}; then type the same line again, which is good until it expires.`,
      data: err.data,
      cause: err,
    },
  );
}
