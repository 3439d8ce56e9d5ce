/**
 * Bare repositories under `lib/git`, served by git itself. A repository appears by one rename after its first push was
 * taken whole; git keeps what a push brings in quarantine until then. Nothing that a push brings is ever run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import type { Duplex, Readable, Writable } from "node:stream";
import { faultPoint } from "../../lib/fault.ts";
import { syncDirectory } from "../../lib/files.ts";
import { errnoOf, SkeinError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { Lanes } from "../records/lanes.ts";
import { endLeftGits, removeLeft } from "./left-behind.ts";
import { Places, type PlaceLimits } from "./places.ts";

export type GitService = "git-upload-pack" | "git-receive-pack";

/** One request of git's own HTTP. */
export interface GitRequest {
  readonly repo: string;
  readonly service: GitService;
  /** What the client says it speaks besides: the value of GIT_PROTOCOL. */
  readonly protocol: string | undefined;
}

/** What git reads and writes. It ends when `output` is closed. */
interface Ends {
  readonly input: Readable | undefined;
  readonly output: Writable;
}

/** Longest push, as git counts it. */
const MAX_PUSH_BYTES = 2 * 2 ** 30;
const UNBORN = ".unborn-";

export class GitRepos {
  readonly #root: string;
  readonly #hooks: string;
  readonly #log: Log;
  readonly #lanes = new Lanes();
  readonly #places: Places;
  /** Each git with the repository that it works on. */
  readonly #running = new Map<ChildProcess, string>();
  /** Those that have groups of their own: `git gc` leaves what it started to itself when it is ended. */
  readonly #packing = new Set<ChildProcess>();
  #isClosed = false;

  private constructor(root: string, log: Log, limits: PlaceLimits) {
    this.#root = root;
    this.#places = new Places(limits);
    this.#hooks = path.join(root, ".no-hooks");
    this.#log = log;
  }

  /** Makes the folders, and removes repositories whose first push never ended, and what other gits left that were killed. */
  static async open(root: string, log: Log, limits: PlaceLimits = {}): Promise<GitRepos> {
    const repos = new GitRepos(root, log, limits);
    await endLeftGits(root);
    await fs.mkdir(root, { recursive: true, mode: 0o700 });
    await fs.mkdir(repos.#hooks, { recursive: true, mode: 0o555 });
    for (const name of await fs.readdir(root)) {
      if (name.startsWith(UNBORN)) await fs.rm(path.join(root, name), { recursive: true, force: true });
      if (name.endsWith(".git")) removeLeft(path.join(root, name));
    }
    return repos;
  }

  async list(): Promise<{ name: string; head: string | null }[]> {
    const names = (await fs.readdir(this.#root)).filter((name) => name.endsWith(".git")).sort();
    return await Promise.all(
      names.map(async (file) => ({
        name: file.slice(0, -4),
        head: await headOf(path.join(this.#root, file)),
      })),
    );
  }

  /**
   * Waits for a place among the gits that run at once, before anything is promised to the client: whoever is served has one.
   * @throws SkeinError TOO_MANY
   */
  async place(operator: string, signal: AbortSignal): Promise<Disposable> {
    return await this.#places.take(operator, signal);
  }

  /** @throws SkeinError NOT_FOUND */
  async check(repo: string, service: GitService): Promise<void> {
    if (service === "git-upload-pack") await this.checkThere(repo);
    else this.#dirOf(repo);
  }

  /** Speaks git over the connection until either side ends it; resolves when the refs are final. */
  async serve(repo: string, service: GitService, socket: Duplex, signal: AbortSignal): Promise<void> {
    const dir = this.#dirOf(repo);
    if (service === "git-receive-pack") return await this.#receive(repo, dir, socket, signal);
    await this.#converse([service], dir, { input: socket, output: socket }, signal);
  }

  /** Fails where there is nothing to serve: by git's own HTTP nothing is pushed for the first time. @throws SkeinError NOT_FOUND */
  async checkThere(repo: string): Promise<void> {
    if (await isThere(this.#dirOf(repo))) return;
    throw new SkeinError("NOT_FOUND", `the hub has no repository ${repo}`, { data: { repo } });
  }

  /** Writes what a repository has, which git asks for before it fetches or pushes. */
  async advertise(
    { repo, service, protocol }: GitRequest,
    output: Writable,
    signal: AbortSignal,
  ): Promise<void> {
    const words = [service, "--stateless-rpc", "--advertise-refs"];
    await this.#converse(words, this.#dirOf(repo), { input: undefined, output }, signal, protocol);
  }

  /** Answers one fetch or push; resolves when the refs are final. */
  async exchange(
    { repo, service, protocol }: GitRequest,
    input: Readable,
    output: Writable,
    signal: AbortSignal,
  ): Promise<void> {
    const dir = this.#dirOf(repo);
    await this.#converse([service, "--stateless-rpc"], dir, { input, output }, signal, protocol);
    if (service === "git-receive-pack") await this.#taken(dir);
  }

  /** Ends every git process. */
  async close(): Promise<void> {
    this.#isClosed = true;
    // One that has exited is among them until what it wrote was read.
    const ended = [...this.#running.keys()].map(async (child) => await once(child, "close"));
    for (const child of this.#running.keys()) child.kill("SIGTERM");
    for (const child of this.#packing) endGroup(child);
    await Promise.all(ended);
  }

  async #receive(repo: string, dir: string, socket: Duplex, signal: AbortSignal): Promise<void> {
    if (!(await isThere(dir))) {
      const born = await this.#lanes.run(repo, async () => await this.#firstPush(dir, socket, signal));
      if (born) return;
    }
    await this.#converse(["git-receive-pack"], dir, { input: socket, output: socket }, signal);
    await this.#taken(dir);
  }

  /** @returns false when somebody else's first push came to its end meanwhile */
  async #firstPush(dir: string, socket: Duplex, signal: AbortSignal): Promise<boolean> {
    if (await isThere(dir)) return false;
    const unborn = path.join(this.#root, `${UNBORN}${randomBytes(8).toString("hex")}`);
    try {
      await this.#git(["init", "--bare", "--quiet", "--template=", unborn]);
      await this.#converse(["git-receive-pack"], unborn, { input: socket, output: socket }, signal);
      if ((await refsOf(unborn)).length === 0) return true;
      await pointHead(unborn);
      faultPoint("hub.git");
      await fs.rename(unborn, dir);
      await syncDirectory(this.#root);
      return true;
    } finally {
      await fs.rm(unborn, { recursive: true, force: true });
    }
  }

  /** A push has come. Packing what many pushes brought may take long, and nobody waits for it. */
  async #taken(dir: string): Promise<void> {
    await pointHead(dir);
    if (this.#isClosed) return;
    const words = [...this.#config(), "-C", dir, "gc", "--auto", "--quiet"];
    const child = spawn("git", words, { env: this.#environment(), stdio: "ignore", detached: true });
    this.#running.set(child, dir);
    this.#packing.add(child);
    child.on("error", (err) => this.#log.error("git gc cannot be started", { err: String(err) }));
    child.once("close", () => this.#ended(child, dir));
  }

  /** A git that was killed (for want of memory, say) has left its locks. */
  #ended(child: ChildProcess, dir: string): void {
    this.#running.delete(child);
    this.#packing.delete(child);
    if (child.signalCode !== "SIGKILL" || [...this.#running.values()].includes(dir)) return;
    this.#log.error("git was killed", { repo: path.basename(dir, ".git") });
    removeLeft(dir);
  }

  async #converse(
    [service = "", ...options]: readonly string[],
    dir: string,
    { input, output }: Ends,
    signal: AbortSignal,
    protocol?: string,
  ): Promise<void> {
    // Whoever has gone already is heard of no more: git would wait for them for ever.
    if (this.#isClosed || signal.aborted || output.destroyed || input?.destroyed === true) return;
    const child = spawn("git", [...this.#config(), service.slice("git-".length), ...options, dir], {
      env: { ...this.#environment(), ...(protocol === undefined ? {} : { GIT_PROTOCOL: protocol }) },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#running.set(child, dir);
    const stop = (): void => void child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    // A pusher that goes away must end git too: it would wait for the rest for ever.
    output.once("close", stop);
    output.on("error", () => undefined);
    child.stdin.on("error", () => undefined);
    child.stderr.on("data", (text: Buffer) =>
      this.#log.info("git", { service, said: text.toString("utf8").trim() }),
    );
    if (input === undefined) child.stdin.end();
    else input.pipe(child.stdin);
    child.stdout.pipe(output, { end: false });
    try {
      await once(child, "close");
    } catch (err) {
      throw new SkeinError("GIT_FAILED", "git cannot be started on the hub", { cause: err });
    } finally {
      this.#ended(child, dir);
      signal.removeEventListener("abort", stop);
      output.off("close", stop);
      input?.unpipe(child.stdin);
    }
  }

  #dirOf(repo: string): string {
    if (!/^[a-z][a-z0-9-]{0,38}$/.test(repo)) {
      throw new SkeinError("BAD_REQUEST", `'${repo}' is no name of a repository`, {
        hint: "Use the app's name: small letters, digits and dashes.",
      });
    }
    return path.join(this.#root, `${repo}.git`);
  }

  async #git(args: readonly string[]): Promise<void> {
    const child = spawn("git", args, { env: this.#environment(), stdio: "ignore" });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new SkeinError("GIT_FAILED", `git ${args[0]} failed on the hub`);
  }

  /** Given on the command line, these win over whatever a repository's own config says. */
  #config(): string[] {
    const settings = {
      "core.hooksPath": this.#hooks,
      "transfer.fsckObjects": "true",
      "receive.maxInputSize": String(MAX_PUSH_BYTES),
      "receive.denyCurrentBranch": "ignore",
      "receive.denyDeleteCurrent": "ignore",
      "receive.autogc": "false",
      "gc.autoDetach": "false",
      "gc.pruneExpire": "never",
      "core.fsync": "committed,reference",
      "uploadpack.allowAnySHA1InWant": "true",
      "safe.directory": "*",
    };
    return Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
  }

  #environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      HOME: this.#root,
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_TERMINAL_PROMPT: "0",
      LC_ALL: "C",
    };
  }
}

function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGTERM");
  } catch (err) {
    if (errnoOf(err) !== "ESRCH") throw err;
  }
}

async function isThere(dir: string): Promise<boolean> {
  try {
    return (await fs.lstat(dir)).isDirectory();
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return false;
    throw err;
  }
}

/** Names under refs/heads, loose and packed. */
async function refsOf(dir: string): Promise<string[]> {
  const heads = path.join(dir, "refs", "heads");
  const loose = await fs.readdir(heads, { recursive: true, withFileTypes: true }).catch(() => []);
  const packed = await fs.readFile(path.join(dir, "packed-refs"), "utf8").catch(() => "");
  const names = loose
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(heads, path.join(entry.parentPath, entry.name)));
  for (const [, name] of packed.matchAll(/^[0-9a-f]+ refs\/heads\/(.+)$/gm)) names.push(name ?? "");
  return [...new Set(names)].sort();
}

/** Where HEAD names no branch, cloning gives an empty folder: point it at the likeliest branch that is there. */
async function pointHead(dir: string): Promise<void> {
  const refs = await refsOf(dir);
  const current = await headOf(dir);
  if (refs.length === 0 || (current !== null && refs.includes(current))) return;
  const branch = ["main", "master"].find((name) => refs.includes(name)) ?? refs[0] ?? "main";
  // Another push may be at it, too.
  const aside = path.join(dir, `HEAD.${randomBytes(6).toString("hex")}.new`);
  await fs.writeFile(aside, `ref: refs/heads/${branch}\n`);
  await fs.rename(aside, path.join(dir, "HEAD"));
}

async function headOf(dir: string): Promise<string | null> {
  const text = await fs.readFile(path.join(dir, "HEAD"), "utf8").catch(() => "");
  return /^ref: refs\/heads\/(.+)$/m.exec(text)?.[1] ?? null;
}
