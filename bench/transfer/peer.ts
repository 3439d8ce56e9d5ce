import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { gitEnv } from "../../test/support/repo.ts";
import type { Processes } from "../../test/support/processes.ts";
import type { Wire } from "./namespace.ts";
import type { Pair } from "./pairs.ts";

const exec = promisify(execFile);

/** Where the peers work: two machines, and room on their disk. */
export interface Field {
  readonly wire: Wire;
  /** Removed when the benchmark ends. */
  readonly dir: string;
  readonly processes: Processes;
  readonly signal: AbortSignal;
}

/** A way of bringing a tree to a machine that has the one before it. */
export interface Peer {
  readonly name: string;
  /** Programs it needs. */
  readonly needs: readonly string[];
  /** Prepares the sender: whatever can be made in advance is made here, and costs nothing. */
  serve(pair: Pair, field: Field): Promise<Served>;
}

export interface Served {
  /** The processes that serve. */
  readonly sender: readonly number[];
  /** Gives a receiver what it has before. Costs nothing. @param home an empty folder */
  ready(home: string): Promise<void>;
  /** A shell line that is run in `home` on the receivers' side and leaves the new tree there, in `tree`. */
  readonly receive: string;
  stop(): Promise<void>;
}

/** A fixed port for each: nobody else is in this namespace. */
export const PORTS = { rsync: 8730, http: 8080, git: 9418 } as const;

/** Runs a program to its end; outside of any count. */
export async function make(
  { signal }: Field,
  cwd: string,
  command: string,
  ...args: readonly string[]
): Promise<void> {
  const env = { ...process.env, ...gitEnv() };
  await exec(command, args, { cwd, env, signal, maxBuffer: 64 * 2 ** 20 });
}

/** One file of a tree, the same for the same tree. */
export async function tarOf(field: Field, tree: string, file: string): Promise<void> {
  const plain = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
  await make(field, tree, "tar", ...plain, "-cf", file, ".");
}

/** Puts the old tree down as `home/tree`, times included. */
export async function copyOld(pair: Pair, field: Field, home: string): Promise<void> {
  await make(field, home, "cp", "-a", pair.old, path.join(home, "tree"));
}
