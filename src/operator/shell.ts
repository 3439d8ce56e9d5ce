import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { messageOf } from "../lib/errors.ts";

export interface ShellOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly withinMs: number;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface ShellResult {
  readonly ok: boolean;
  /** `exit status 1`, `ended by SIGKILL`, `no end within 1800s`. */
  readonly how: string;
  readonly tail: readonly string[];
}

const TAIL_LINES = 20;

/** Runs `sh -c` in a process group of its own, which is gone when this returns. */
export async function runShell(line: string, options: ShellOptions): Promise<ShellResult> {
  options.signal.throwIfAborted();
  const child = spawn("sh", ["-c", line], {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const tail: string[] = [];
  const hear = (text: string): void => {
    tail.push(text);
    if (tail.length > TAIL_LINES) tail.shift();
    options.onLine(text);
  };
  const heard = Promise.all([eachLine(child.stdout, hear), eachLine(child.stderr, hear)]);
  const end = (): void => killGroup(child.pid);
  const limit = AbortSignal.timeout(options.withinMs);
  const stop = AbortSignal.any([options.signal, limit]);
  stop.addEventListener("abort", end, { once: true });
  try {
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    await heard;
    options.signal.throwIfAborted();
    if (limit.aborted) return { ok: false, how: `no end within ${options.withinMs / 1000}s`, tail };
    return {
      ok: code === 0,
      how: code === null ? `ended by ${String(signal)}` : `exit status ${code}`,
      tail,
    };
  } catch (err) {
    options.signal.throwIfAborted();
    return { ok: false, how: messageOf(err), tail };
  } finally {
    stop.removeEventListener("abort", end);
    end();
  }
}

async function eachLine(stream: Readable, hear: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream })) hear(line);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group is gone: that is what was wanted.
  }
}
