import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

export interface StartOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Everything the process prints goes to this file. */
  readonly log: string;
  /** A channel for messages; the program uses process.send. */
  readonly ipc?: boolean;
}

/**
 * The processes of one test or benchmark, each the leader of its own group. All of them, and whatever else works in
 * `folder` (detached keepers, instances), are killed when this is disposed of or when the test's process ends.
 */
export class Processes implements AsyncDisposable {
  readonly #folder: string;
  readonly #running = new Set<ChildProcess>();
  readonly #onExit = (): void => this.#killAll();

  /** @param folder absolute, made for this test alone: what names it is taken to belong to it. */
  constructor(folder: string) {
    this.#folder = folder;
    process.once("exit", this.#onExit);
    endOnSignals();
  }

  start(command: string, args: readonly string[], options: StartOptions): ChildProcess {
    const log = fs.openSync(options.log, "a");
    try {
      const child = spawn(command, args, {
        cwd: options.cwd,
        env: options.env,
        detached: true,
        stdio: ["ignore", log, log, ...(options.ipc === true ? (["ipc"] as const) : [])],
      });
      this.#running.add(child);
      child.once("exit", () => this.#running.delete(child));
      return child;
    } finally {
      fs.closeSync(log);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = [...this.#running].map((child) => ended(child));
    this.#killAll();
    await Promise.all(ends);
    process.removeListener("exit", this.#onExit);
    await goneFrom(this.#folder);
  }

  #killAll(): void {
    for (const child of this.#running) {
      if (child.pid !== undefined) signalQuietly(-child.pid, "SIGKILL");
    }
    for (const { pid } of processesIn(this.#folder)) signalQuietly(pid, "SIGKILL");
  }
}

export interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

/** Processes whose command line, environment or working directory names `folder`; never this one. */
export function processesIn(folder: string): FoundProcess[] {
  const found: FoundProcess[] = [];
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = readProc(pid, "cmdline").replaceAll("\0", " ").trim();
    if (command === "") continue; // a zombie or a kernel thread
    const names = [command, readProc(pid, "environ"), workingDirectory(pid)];
    if (names.some((text) => text.includes(folder))) found.push({ pid, command });
  }
  return found;
}

/** Resident memory in MiB. 0 when the process is gone. */
export function residentMib(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readProc(pid, "status"));
  return Number(match?.[1] ?? 0) / 1024;
}

export function alive(pid: number): boolean {
  return readProc(pid, "cmdline") !== "";
}

/** Resolves when the process has ended, at once when it has already. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  await new Promise<void>((resolve) => child.once("exit", () => resolve()));
}

async function goneFrom(folder: string): Promise<void> {
  await eventually(`the processes of ${folder} end`, () => {
    const left = processesIn(folder);
    for (const { pid } of left) signalQuietly(pid, "SIGKILL");
    return left.length === 0;
  });
}

function readProc(pid: number, file: string): string {
  try {
    return fs.readFileSync(path.join("/proc", String(pid), file), "utf8");
  } catch {
    return ""; // gone meanwhile, or another user's
  }
}

function workingDirectory(pid: number): string {
  try {
    return fs.readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

/** Sends a signal to a process, or with a negative pid to its group; one that is gone is no error. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone meanwhile
  }
}

let listening = false;

/** Without a listener these signals end the process without its "exit" event, which is what kills the others. */
function endOnSignals(): void {
  if (listening) return;
  listening = true;
  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => process.exit(128 + (signal === "SIGTERM" ? 15 : 1)));
  }
}
