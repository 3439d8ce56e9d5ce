/** Commands of what ships that share processes: each runs to its end, and nobody signals it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { childProgram } from "../../src/lib/testing/child.fixture.ts";
import { checkout, type Program, tested } from "./program.ts";
import type { Result } from "./run.ts";

export interface Typed {
  readonly words: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** What a process heeds of its environment when it starts, and for all that runs in it. */
const HEEDED_AT_START = ["SKEIN_FAULT", "NODE_OPTIONS"];

/** Of what was built alone, since Node need not be told how to read that. */
export function canShare(program: Program, env: NodeJS.ProcessEnv): boolean {
  const isBuilt = program === tested && program !== checkout;
  return isBuilt && HEEDED_AT_START.every((name) => env[name] === undefined);
}

/** Those that nothing runs in now; each runs one command at a time. */
const idle: ChildProcess[] = [];

/** @param signal ends the command, with the process it runs in */
export async function runInHost(typed: Typed, signal: AbortSignal): Promise<Result> {
  signal.throwIfAborted();
  const host = idle.pop() ?? started();
  const end = (): void => void host.kill("SIGKILL");
  const over = new AbortController();
  signal.addEventListener("abort", end, { once: true });
  host.ref();
  host.channel?.ref();
  try {
    const ended = once(host, "exit", { signal: over.signal }).then(([code, by]: unknown[]) => {
      throw new Error(`skein ${typed.words.join(" ")}: its process ended with ${String(by ?? code)}`);
    });
    const answered = once(host, "message", { signal: over.signal });
    host.send(typed);
    const [ran] = (await Promise.race([answered, ended])) as [Result];
    host.channel?.unref();
    host.unref();
    idle.push(host);
    return ran;
  } finally {
    over.abort();
    signal.removeEventListener("abort", end);
  }
}

function started(): ChildProcess {
  const file = childProgram(import.meta.dirname, "command-host.child.ts");
  return spawn(process.execPath, ["--disable-warning=ExperimentalWarning", file], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}
