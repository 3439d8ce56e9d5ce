/**
 * Where a start-up snapshot of this program lies and when it fits. The launcher (`bin/skein`) looks before it starts
 * anything, so that no snapshot can make a command fail: all that one depends on stands in a stamp beside it.
 *
 *   boot       the machine's boot id: V8 refuses a snapshot on another processor
 *   identities of Node, the program that was frozen, and the snapshot, one a line, as `stat -L` prints them
 *
 * In place of the boot id stands `none` where a snapshot could not be made from these two.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export interface Place {
  /** Absolute, as `pwd -P` has it. */
  readonly folder: string;
  readonly snapshot: string;
  readonly stamp: string;
  /** What `node --build-snapshot` runs. */
  readonly program: string;
}

export const NONE = "none";
const NS = 1_000_000_000n;
const BOOT = "/proc/sys/kernel/random/boot_id";

/** The folder above all snapshots of this user. */
export function snapshotsDir(env: NodeJS.ProcessEnv): string {
  const told = env["XDG_CACHE_HOME"] ?? "";
  const caches = path.isAbsolute(told) ? told : path.join(env["HOME"] || os.homedir(), ".cache");
  return path.join(caches, "skein/snapshots");
}

/** @param root of the installed package */
export function placeOf(root: string, env: NodeJS.ProcessEnv): Place {
  const folder = path.join(snapshotsDir(env), root);
  return {
    folder,
    snapshot: path.join(folder, "deploy.snapshot"),
    stamp: path.join(folder, "deploy.stamp"),
    program: programIn(root),
  };
}

export const programIn = (root: string): string => path.join(root, "dist/deploy-snapshot.cjs");

/** What is known of a place without starting anything. */
export type State = "fits" | "none" | "other boot" | "unknown";

export function stateOf({ program, snapshot, stamp }: Place): State {
  const [boot, ...identities] = readLines(stamp);
  const parts = [identityOf(process.execPath), identityOf(program)];
  if (parts.some((part, i) => part === undefined || part !== identities[i])) return "unknown";
  if (boot === NONE) return "none";
  if (identities[parts.length] !== identityOf(snapshot)) return "unknown";
  return boot === bootId() ? "fits" : "other boot";
}

export function bootId(): string | undefined {
  return readLines(BOOT)[0];
}

/** As `stat -Lc %d:%i:%s:%.9Y:%.9Z:%u:%a`: whatever was done to a file, one of them tells. */
export function identityOf(file: string): string | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false, bigint: true });
  if (stat === undefined) return undefined;
  const { dev, ino, size, mtimeNs, ctimeNs, uid, mode } = stat;
  return [dev, ino, size, seconds(mtimeNs), seconds(ctimeNs), uid, (mode & 0o7777n).toString(8)].join(":");
}

const seconds = (ns: bigint): string => `${ns / NS}.${String(ns % NS).padStart(9, "0")}`;

function readLines(file: string): string[] {
  try {
    return fs.readFileSync(file, "utf8").trimEnd().split("\n");
  } catch {
    return [];
  }
}
