import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { SkeinError } from "../../lib/errors/errors.ts";
import { programFile } from "../../lib/process/program.ts";

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const READY_MS = 30_000;

/**
 * A hub and agents as processes of their own, driven by the very commands a person types. Everything lies in one
 * temporary folder; disposing of it ends every process that works there, keepers and instances included.
 */
export class DemoCluster implements AsyncDisposable {
  readonly folder: string;
  readonly #servers: ChildProcess[] = [];
  readonly #signal: AbortSignal;

  private constructor(folder: string, signal: AbortSignal) {
    this.folder = folder;
    this.#signal = signal;
  }

  static async make(signal: AbortSignal): Promise<DemoCluster> {
    // The longest unix socket path has 107 bytes: the system's own temporary folder keeps it short.
    const folder = await mkdtemp(path.join(os.tmpdir(), "skein-demo-"));
    await chmod(folder, 0o755); // as root, apps run as users of their own and must be able to enter
    return new DemoCluster(folder, signal);
  }

  /** Runs `skein WORDS` as the operator. */
  async skein(words: readonly string[], options: { cwd?: string; show?: boolean } = {}): Promise<Ended> {
    return await this.#run(process.execPath, [programFile("cli"), ...words], options);
  }

  async git(words: readonly string[], cwd: string): Promise<Ended> {
    const ended = await this.#run("git", words, { cwd });
    if (ended.code !== 0)
      throw new SkeinError("GIT_FAILED", `git ${words.join(" ")}: ${ended.stderr.trim()}`);
    return ended;
  }

  /** Starts `skein WORDS` in the background, with a home and a log of its own. */
  start(home: string, words: readonly string[]): ChildProcess {
    const log = fs.openSync(path.join(this.folder, `${home}.log`), "a");
    const child = spawn(process.execPath, [programFile("cli"), "--json", ...words], {
      env: this.#env(home),
      stdio: ["ignore", "pipe", log],
      detached: true,
    });
    fs.closeSync(log);
    this.#servers.push(child);
    return child;
  }

  /** As `start`, then waits for its ready event. */
  async serve(home: string, words: readonly string[]): Promise<Record<string, unknown>> {
    const child = this.start(home, words);
    if (child.stdout === null) throw new SkeinError("INTERNAL", "a piped stdout is missing");
    const lines = readline.createInterface({ input: child.stdout });
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(READY_MS)]);
    child.once("exit", () => lines.close());
    for await (const line of lines) {
      signal.throwIfAborted();
      const event: unknown = JSON.parse(line);
      if (typeof event === "object" && event !== null && "type" in event && event.type === "ready")
        return { ...event };
    }
    throw new SkeinError(
      "START_FAILED",
      `skein ${words.join(" ")} did not start; see ${this.folder}/${home}.log`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = this.#servers
      .filter(({ exitCode }) => exitCode === null)
      .map((child) => once(child, "exit"));
    for (const child of this.#servers) child.kill("SIGTERM");
    killWorkersIn(this.folder);
    await Promise.all(ends);
    killWorkersIn(this.folder);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  async #run(
    command: string,
    words: readonly string[],
    options: { readonly cwd?: string; readonly show?: boolean },
  ): Promise<Ended> {
    const child = spawn(command, words, {
      cwd: options.cwd ?? this.folder,
      env: this.#env("operator"),
      stdio: ["ignore", "pipe", options.show === true ? "inherit" : "pipe"],
      signal: this.#signal,
    });
    const out = { stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (out.stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (out.stderr += text));
    const [code] = (await once(child, "close")) as [number | null];
    return { code: code ?? 1, ...out };
  }

  #env(home: string): NodeJS.ProcessEnv {
    const bin = path.resolve(path.dirname(programFile("cli")), "../bin");
    return {
      ...process.env,
      SKEIN_HOME: path.join(this.folder, home),
      PATH: `${bin}:${process.env["PATH"] ?? ""}`,
      GIT_CONFIG_GLOBAL: "/dev/null",
    };
  }
}

/** A TCP port that is free on every one of `hosts`. */
export async function freePort(hosts: readonly string[]): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 9000);
    const free = await Promise.all(hosts.map(async (host) => await canListen(host, port)));
    if (free.every(Boolean)) return port;
  }
}

async function canListen(host: string, port: number): Promise<boolean> {
  const server = net.createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once("error", () => resolve(false));
  server.listen(port, host, () => server.close(() => resolve(true)));
  return await promise;
}

/** Keepers and instances are detached on purpose; what names this folder belongs to the demo. */
function killWorkersIn(folder: string): void {
  for (const name of fs.existsSync("/proc") ? fs.readdirSync("/proc") : []) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const environ = fs.readFileSync(`/proc/${name}/environ`, "utf8");
      const command = fs.readFileSync(`/proc/${name}/cmdline`, "utf8");
      if (`${environ}\0${command}`.includes(folder)) process.kill(pid, "SIGKILL");
    } catch {
      // It ended meanwhile, or is not ours to look at.
    }
  }
}
