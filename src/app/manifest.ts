import type { Strategy } from "../trust/document/documents.ts";

/**
 * What a release says about itself, fully expanded: every short form of `skein.yaml` is spelt out and every default
 * is filled in. Plain JSON: it may be printed, hashed and compared. Durations are in ms, sizes in bytes.
 * `parse.ts` makes it from text, `print.ts` writes it back in the manifest's own words.
 */
export interface Manifest {
  readonly skein: 1;
  /** `[a-z][a-z0-9-]{0,38}` */
  readonly app: string;
  /** `files`: nothing runs; the tree, `current` and the hooks are all there is. */
  readonly kind: "service" | "files";
  readonly build: Build;
  /** Prints what `check` compares; null: the release's commit, else its id. */
  readonly version: Command | null;
  /** By name. Empty for kind `files`, and where the agent was given its own command. */
  readonly processes: Readonly<Record<string, Process>>;
  /** Services of other apps, `app.process`, that every process may look up. */
  readonly uses: readonly string[];
  /** Runs on every node, with the release's version as its last argument; part of the judgement. */
  readonly verify: Verify | null;
  /** `auto`: a uid of the app's own; else a user's name. */
  readonly user: string;
  /** Paths in the tree that are linked into the data folder at install. */
  readonly writable: readonly string[];
  readonly env: Environment;
  /** Absent ones do nothing. */
  readonly hooks: Readonly<Partial<Record<HookName, Hook>>>;
  /** The very shape that stands in a signed order. */
  readonly strategy: Strategy;
  /** Older releases kept running beside the new one. */
  readonly beside: number | "all";
  /** Selector of the nodes it is for; null: all nodes. */
  readonly targets: string | null;
  readonly keep: Keep;
  /** A branch whose pushes are released and staged at once by whoever pushes; null: none. */
  readonly stageOnPush: string | null;
}

export interface Build {
  /** `sh -c` text, run in a clean checkout; null: nothing is built. */
  readonly run: string | null;
  /** `sh -c` text after `run`; a failure deploys nothing. */
  readonly test: string | null;
  /** Globs of what is released, `!` excludes; null: everything tracked or made. */
  readonly files: readonly string[] | null;
  readonly on: "local";
  readonly withinMs: number;
}

/**
 * `argv`: no shell; `$NAME` and `${NAME}` in each part are expanded from the instance's environment (`expandArgv`),
 * `$$` is a dollar sign. `sh`: text for `sh -c`.
 */
export type Command = { readonly argv: readonly string[] } | { readonly sh: string };

export type Environment = Readonly<Record<string, string>>;

export interface Process {
  readonly run: Command;
  /** May two versions run at once? */
  readonly overlap: boolean;
  /** Instances per node, at least 1. */
  readonly count: number;
  /** Selector that narrows the targets; null: wherever the app is. */
  readonly on: string | null;
  /** By name, in the manifest's order: the first gets fd 3. */
  readonly listen: Readonly<Record<string, Listen>>;
  readonly ready: Ready;
  readonly live: Live | null;
  readonly drain: Drain;
  readonly restart: Restart;
  readonly limits: Limits;
  /** Names of processes that start and are rolled out before this one. Without cycles. */
  readonly after: readonly string[];
  /** Services of other apps that it may look up besides the manifest's own. */
  readonly uses: readonly string[];
  /** Laid over the manifest's own `env`. */
  readonly env: Environment;
}

export type Protocol = "http" | "tcp" | "tls" | "udp" | "unix";
export type Handover = "auto" | "node" | "socket" | "port" | "gap";

export interface Listen {
  readonly protocol: Protocol;
  /** null: with handover `port` each instance gets one of 20000-29999; with protocol `unix` there is none. */
  readonly port: number | null;
  /** Of a unix socket, relative to the app's run folder; else null. */
  readonly path: string | null;
  readonly handover: Handover;
  readonly gate: "auto" | "twice" | "off";
  /** Connections that may wait in the socket's queue. */
  readonly backlog: number;
}

/** `socket` is a name in the process's `listen`. `tls`: the request goes over TLS, its certificate is not checked. */
export type Check =
  | { readonly type: "http"; readonly path: string; readonly socket: string; readonly tls: boolean }
  | { readonly type: "tcp"; readonly socket: string }
  | { readonly type: "run"; readonly run: Command };

export interface Ready {
  /** null: ready when it waits on all of its sockets, or (without sockets) after `aliveMs` of life. */
  readonly check: Check | null;
  readonly everyMs: number;
  /** Successes in a row that make it ready. */
  readonly passes: number;
  readonly withinMs: number;
  readonly aliveMs: number;
}

export interface Live {
  readonly check: Check;
  readonly everyMs: number;
  /** Failures in a row after which the instance is replaced. */
  readonly fails: number;
}

export interface Drain {
  /** Signal's name without SIG. */
  readonly signal: string;
  /** How long idle connections stay open after the signal. */
  readonly windowMs: number;
  /** After this the process group gets `now`. */
  readonly withinMs: number;
  readonly now: string;
}

export interface Restart {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** More crashes than this within `limitWithinMs` leave the process stopped (RESTART_LIMIT). */
  readonly limit: number;
  readonly limitWithinMs: number;
}

/** null: no bound. */
export interface Limits {
  readonly memoryBytes: number | null;
  /** Cores, for example 0.5. */
  readonly cpu: number | null;
  readonly files: number | null;
  readonly pids: number | null;
}

export interface Verify {
  readonly run: Command;
  readonly withinMs: number;
  /** Least `health` (0 to 1) that it may print as JSON; null: its exit status alone decides. */
  readonly threshold: number | null;
}

export const HOOK_NAMES = ["post_sync", "pre_jump", "un_jump", "post_jump", "pre_remove"] as const;
export type HookName = (typeof HOOK_NAMES)[number];

export interface Hook {
  /** Text for `sh -c`, run in the revision directory. */
  readonly sh: string;
  readonly withinMs: number;
}

/** What garbage collection leaves. */
export interface Keep {
  readonly releases: number;
  /** Of those that ran well. */
  readonly good: number;
  /** Share of the disk that stays free, 0 to 1. */
  readonly freeDisk: number;
}
