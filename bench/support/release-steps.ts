import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, "../..");

/** What a step of the `release` benchmark cost. */
export interface Cost {
  /** User and system time, children included, in seconds. */
  readonly cpu: number;
  /** In seconds. */
  readonly wall: number;
}

/** Its time is that of the step alone: whoever installs runs already. Its CPU is the whole process's. */
export interface StepResult extends Cost {
  /** What was published, as `install` and the next `publish` take it. */
  readonly json: string;
  /** Peak resident memory in MiB. */
  readonly rss: number;
  readonly bytesFetched: number;
  readonly storedBytes: number;
}

/** Runs a shell command and measures it. */
export async function measured(
  command: string,
  signal: AbortSignal,
): Promise<Cost & { readonly stdout: string }> {
  const script = `set -o pipefail; TIMEFORMAT="%U %S %R"; time { ${command}; }`;
  const { stdout, stderr } = await run("bash", ["-c", script], { signal, maxBuffer: 1 << 24 });
  const words = (stderr.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
  const [user = Number.NaN, system = Number.NaN, wall = Number.NaN] = words;
  return { cpu: user + system, wall, stdout };
}

const idOf = (n: number): string => String(n).padStart(32, "0");

type Starts = Readonly<Record<"publish" | "install", readonly string[]>>;

/** Runs our steps as processes of their own, as they are installed: in one file, with the launcher's flags. */
export class Steps {
  readonly #worker: string;
  readonly #signal: AbortSignal;
  /** As each is started, up to the program. */
  readonly #starts: Starts;

  private constructor(worker: string, starts: Starts, signal: AbortSignal) {
    this.#worker = worker;
    this.#starts = starts;
    this.#signal = signal;
  }

  static async open(dir: string, signal: AbortSignal): Promise<Steps> {
    const worker = path.join(dir, "worker.mjs");
    await build({
      entryPoints: {
        worker: path.join(ROOT, "bench/peers/release-worker.ts"),
        "placing-worker": path.join(ROOT, "src/release/install/placing-worker.ts"),
      },
      bundle: true,
      platform: "node",
      format: "esm",
      outdir: dir,
      outExtension: { ".js": ".mjs" },
      logLevel: "error",
    });
    const starts = { publish: await launchedWith("deploy", dir), install: await launchedWith("agent", dir) };
    return new Steps(worker, starts, signal);
  }

  /** `previous`: what an earlier one gave as `json`, or empty. */
  async publish(source: string, depot: string, cache: string, previous = ""): Promise<StepResult> {
    return await this.#run("publish", [source, depot, cache, previous]);
  }

  async install(tree: string, depot: string, revs: string, n: number): Promise<StepResult> {
    return await this.#run("install", [tree, depot, revs, idOf(n)]);
  }

  /** What an agent does between two installs. */
  async prepare(revs: string, n: number): Promise<StepResult> {
    return await this.#run("spare", [revs, idOf(n)]);
  }

  async #run(step: "publish" | "install" | "spare", args: readonly string[]): Promise<StepResult> {
    const words = [...this.#starts[step === "publish" ? step : "install"], this.#worker, step, ...args];
    const { cpu, stdout } = await measured(words.map((word) => `'${word}'`).join(" "), this.#signal);
    const told = JSON.parse(stdout) as Partial<StepResult> & { rss: number; wall: number };
    const { rss, wall, bytesFetched = 0, storedBytes = 0 } = told;
    return { cpu, wall, json: stdout.trim(), rss, bytesFetched, storedBytes };
  }
}

/** What `bin/skein` puts before the program when it starts a verb: a Node that only says so is put in its place. */
async function launchedWith(verb: string, dir: string): Promise<string[]> {
  const root = await fs.mkdtemp(path.join(dir, "launcher-"));
  const node = path.join(root, "node_modules/.bin/node");
  for (const folder of ["bin", "node_modules/.bin"])
    await fs.mkdir(path.join(root, folder), { recursive: true });
  await fs.copyFile(path.join(ROOT, "bin/skein"), path.join(root, "bin/skein"));
  const arena = 'MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-}"';
  await fs.writeFile(node, `#!/bin/sh\nprintf '%s\\n' ${arena} "$@"\n`, { mode: 0o755 });
  const { stdout } = await run(path.join(root, "bin/skein"), [verb]);
  const [setting = "", ...words] = stdout.trim().split("\n");
  const flags = words.filter((word) => word.startsWith("-"));
  return ["env", ...(setting.endsWith("=") ? [] : [setting]), process.execPath, ...flags];
}
