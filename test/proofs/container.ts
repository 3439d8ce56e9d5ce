import assert from "node:assert/strict";
import { type ChildProcess, execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { ended, type Processes, signalQuietly } from "../support/processes.ts";
import { eventually } from "../../src/lib/eventually.fixture.ts";

const run = promisify(execFile);

/** What nspawn is told to do at a stop: systemd's own halt. */
const HALT = "SIGRTMIN+3";

export interface ContainerOptions {
  /** A whole root file system with systemd in it. It is written to. */
  readonly root: string;
  /** Paths of this machine that are seen inside, read-only: `from` or `from:to`. */
  readonly shows: readonly string[];
  readonly log: string;
  readonly processes: Processes;
  readonly signal: AbortSignal;
}

/**
 * systemd as PID 1 of namespaces and a root file system of its own (systemd-nspawn), sharing only the network. The
 * machine's own /run is out of its sight, and out of nspawn's.
 */
export class Container {
  readonly #options: ContainerOptions;
  #child: ChildProcess | undefined;
  #init = 0;

  constructor(options: ContainerOptions) {
    this.#options = options;
  }

  /** Boots it and waits until systemd has started everything. */
  async boot(): Promise<void> {
    const { root, shows, log, processes, signal } = this.#options;
    const binds = shows.map((show) => `--bind-ro=${show}`);
    // Copying a descriptor out of a process (pidfd_getfd) is what a new keeper finds its sockets by.
    const flags = [
      "--register=no",
      "--keep-unit",
      "--quiet",
      "--link-journal=no", // else a machine without an id of its own boots none
      "--system-call-filter=pidfd_getfd",
    ];
    const words = ["systemd-nspawn", ...flags, `--kill-signal=${HALT}`, "-D", root, ...binds, "-b"];
    const script = 'mount -t tmpfs none /run && exec "$@"';
    const child = processes.start(
      "unshare",
      ["-m", "--propagation", "private", "sh", "-c", script, "sh", ...words],
      {
        cwd: path.dirname(root),
        env: process.env,
        log,
      },
    );
    this.#child = child;
    const pid = child.pid ?? 0;
    this.#init = await eventually("the container has a PID 1", () => initBelow(pid), { signal });
    await eventually(
      "systemd is up",
      async () => {
        const { stdout } = await this.#enter(["systemctl", "is-system-running"]).catch(
          (err: unknown) => err as { stdout: string },
        );
        return /^(running|degraded)/.test(stdout);
      },
      { withinMs: 60_000, everyMs: 100, signal },
    );
  }

  /** Runs a command inside. @returns what it printed @throws when it fails */
  async run(...words: string[]): Promise<string> {
    return (await this.#enter(words)).stdout;
  }

  /** Pulls its plug: every process ends at once. */
  async powerOff(): Promise<void> {
    if (this.#child === undefined) return;
    signalQuietly(this.#init, "SIGKILL"); // the end of its PID 1 is the end of all of them
    await ended(this.#child);
  }

  /** Shuts it down as a person does. */
  async halt(): Promise<void> {
    assert.ok(this.#child);
    await this.run("systemctl", "--no-block", "poweroff");
    await ended(this.#child);
  }

  async #enter(words: readonly string[]): Promise<{ stdout: string }> {
    const into = [
      "-t",
      String(this.#init),
      "-m",
      "-u",
      "-i",
      "-p",
      "--root",
      "sh",
      "-c",
      'cd / && exec "$@"',
      "sh",
    ];
    const env = { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" };
    return await run("nsenter", [...into, ...words], { env, signal: this.#options.signal });
  }
}

/** The process below `pid` that is number 1 of its own namespace. */
function initBelow(pid: number): number | undefined {
  for (const child of childrenOf(pid)) {
    const [, pids = ""] = /^NSpid:\s*(.*)$/m.exec(read(`/proc/${child}/status`)) ?? [];
    const names = pids.split(/\s+/);
    if (names.length > 1 && names.at(-1) === "1" && read(`/proc/${child}/comm`).trim() === "systemd")
      return child;
    const deeper = initBelow(child);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
}

const childrenOf = (pid: number): number[] =>
  read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
