/**
 * Bare repositories under `lib/git`, served by git itself. A repository appears by one rename after its first push was
 * taken whole; git keeps what a push brings in quarantine until then. Nothing that a push brings is ever run.
 */
import { execFile, spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import type net from "node:net";
import path from "node:path";
import type { Duplex, Readable, Writable } from "node:stream";
import { faultPoint } from "../../lib/process/fault.ts";
import { syncDirectory } from "../../lib/disk/files.ts";
import { errnoOf, messageOf, SkeinError, toSkeinError } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import { Lanes } from "../records/lanes.ts";
import { errorPacket, fatalPacket, passOn } from "./answer.ts";
import { endLeftGits, removeLeft } from "./left-behind.ts";
import { Places, type Conversation, type PlaceLimits } from "./git-places.ts";
import { findDamage, hasRefs, headOf, isThere, pointHead } from "./repo-files.ts";

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
  /** Keeps the report on a push back. Default: false. */
  readonly holdsReport?: boolean | undefined;
}

/** Longest push, as git counts it. */
const MAX_PUSH_BYTES = 2 * 2 ** 30;
/**
 * Most memory that git may ask for at once. It takes what an object is said to be long, and of all but large files all of
 * it: a push of 3 MiB can be a tree of 3 GiB.
 */
const MAX_ALLOCATED = "768m";
/** What no branch or tag leads to any more may be deployed for so long. */
const UNREACHABLE_UNTIL = "90.days.ago";
const UNBORN = ".unborn-";
const SILENT = "git ended on the hub without a word";

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
      if (name.endsWith(".git")) repos.#tidy(path.join(root, name));
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
  async place(operator: string, socket: net.Socket, signal: AbortSignal): Promise<Disposable> {
    const [received, sent] = [socket.bytesRead, socket.bytesWritten];
    const talk: Conversation = {
      received: () => socket.bytesRead - received,
      sent: () => socket.bytesWritten - sent,
      cut: () => {
        this.#log.warn("a git connection stood still while others waited", { operator });
        socket.destroy();
      },
    };
    return await this.#places.take(operator, talk, signal);
  }

  /** @throws SkeinError NOT_FOUND, REPO_DAMAGED */
  async check(repo: string, service: GitService): Promise<void> {
    if (service === "git-upload-pack") await this.checkThere(repo);
    else await isThere(this.#dirOf(repo));
  }

  /** Speaks git over the connection until either side ends it; resolves when the refs are final. */
  async serve(repo: string, service: GitService, socket: Duplex, signal: AbortSignal): Promise<void> {
    const dir = this.#dirOf(repo);
    if (service === "git-receive-pack") return await this.#receive(repo, dir, socket, signal);
    await this.#converse([service], dir, { input: socket, output: socket }, signal);
  }

  /** Fails where there is nothing to serve: by git's own HTTP nothing is pushed for the first time. @throws SkeinError NOT_FOUND, REPO_DAMAGED */
  async checkThere(repo: string): Promise<void> {
    if (await isThere(this.#dirOf(repo))) return;
    throw new SkeinError("NOT_FOUND", `the hub has no repository ${repo}`, {
      hint: `The first push makes it: git push skein://HUB/${repo} main`,
      data: { repo },
    });
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
    if (!(await isThere(dir))) return await this.#firstPush(repo, dir, socket, signal);
    await this.#converse(["git-receive-pack"], dir, { input: socket, output: socket }, signal);
    await this.#taken(dir);
  }

  /** Whoever pushes is told that all went well when it has. */
  async #firstPush(repo: string, dir: string, socket: Duplex, signal: AbortSignal): Promise<void> {
    const unborn = path.join(this.#root, `${UNBORN}${randomBytes(8).toString("hex")}`);
    let said = errorPacket;
    try {
      await this.#git(["init", "--bare", "--quiet", "--template=", unborn]);
      const ends = { input: socket, output: socket, holdsReport: true };
      const report = await this.#converse(["git-receive-pack"], unborn, ends, signal);
      said = fatalPacket;
      if (await hasRefs(unborn)) await this.#lanes.run(repo, async () => await this.#bear(unborn, dir));
      for (const packet of report) socket.write(packet);
    } catch (err) {
      const { code, message, hint } = toSkeinError(err);
      this.#log.error("a first push failed", { repo, err: message });
      socket.write(said(`${message} [${code}]\n${hint}\n`));
    } finally {
      await fs.rm(unborn, { recursive: true, force: true });
    }
  }

  /** What a first push has brought is given its name, or comes to what another one brought meanwhile. */
  async #bear(unborn: string, dir: string): Promise<void> {
    if (await isThere(dir)) {
      const fetch = ["fetch", "--quiet", "--atomic", "--no-write-fetch-head", unborn, "refs/*:refs/*"];
      await this.#git(
        [...this.#config(), "--git-dir", dir, ...fetch],
        "Another first push came first: push again.",
      );
      return;
    }
    await pointHead(unborn);
    faultPoint("hub.git");
    await fs.rename(unborn, dir);
    await syncDirectory(this.#root);
  }

  /** A push has come. Packing what many pushes brought may take long, and nobody waits for it. */
  async #taken(dir: string): Promise<void> {
    await pointHead(dir);
    if (this.#isClosed) return;
    const words = [...this.#config(), "--git-dir", dir, "gc", "--auto", "--quiet"];
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
    this.#tidy(dir);
  }

  /** A repository in which that cannot be done stops no other one. */
  #tidy(dir: string): void {
    try {
      removeLeft(dir);
    } catch (err) {
      this.#log.error("a repository cannot be tidied up", {
        repo: path.basename(dir, ".git"),
        err: String(err),
      });
    }
  }

  /** @returns what was held back */
  async #converse(
    [service = "", ...options]: readonly string[],
    dir: string,
    { input, output, holdsReport }: Ends,
    signal: AbortSignal,
    protocol?: string,
  ): Promise<readonly Buffer[]> {
    // Whoever has gone already is heard of no more: git would wait for them for ever.
    if (this.#isClosed || signal.aborted || output.destroyed || input?.destroyed === true) return [];
    const child = this.#start([service.slice("git-".length), ...options, dir], dir, protocol);
    const stop = (): void => void child.kill("SIGTERM");
    signal.addEventListener("abort", stop, { once: true });
    // A pusher that goes away must end git too: it would wait for the rest for ever.
    output.once("close", stop);
    output.on("error", () => undefined);
    if (input === undefined) child.stdin.end();
    else input.pipe(child.stdin);
    try {
      return await this.#passOn(child, dir, { output, holdsReport }, signal);
    } catch (err) {
      throw new SkeinError("GIT_FAILED", "git cannot be started on the hub", { cause: err });
    } finally {
      this.#ended(child, dir);
      signal.removeEventListener("abort", stop);
      output.off("close", stop);
      input?.unpipe(child.stdin);
    }
  }

  #start(
    words: readonly string[],
    dir: string,
    protocol: string | undefined,
  ): ChildProcessWithoutNullStreams {
    const child = spawn("git", [...this.#config(), ...words], {
      env: { ...this.#environment(), ...(protocol === undefined ? {} : { GIT_PROTOCOL: protocol }) },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#running.set(child, dir);
    child.stdin.on("error", () => undefined);
    child.stderr.on("data", (text: Buffer) =>
      this.#log.info("git", { service: words[0], said: text.toString("utf8").trim() }),
    );
    return child;
  }

  async #passOn(
    child: ChildProcessWithoutNullStreams,
    dir: string,
    { output, holdsReport = false }: Omit<Ends, "input">,
    signal: AbortSignal,
  ): Promise<readonly Buffer[]> {
    const explain = async (): Promise<string | undefined> => await this.#explain(dir, signal);
    const [answer, [code]] = await Promise.all([
      passOn(child.stdout, output, { explain, holdsReport }),
      once(child, "close") as Promise<[number | null]>,
    ]);
    if (code === 0 || answer.isFailed || output.destroyed || signal.aborted) return answer.held;
    const why = (await explain()) ?? (answer.isBegun ? undefined : SILENT);
    if (why !== undefined) output.write(errorPacket(why));
    return answer.held;
  }

  /** A conversation failed: is it the repository's fault? */
  async #explain(dir: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#isClosed || signal.aborted) return undefined;
    const damage = await findDamage(dir, { words: this.#config(), env: this.#environment() }, signal);
    if (damage === undefined) return undefined;
    const { code, message, hint, data } = damage;
    this.#log.error("a repository is damaged", data);
    return `${message} [${code}]\n${hint}`;
  }

  #dirOf(repo: string): string {
    if (!/^[a-z][a-z0-9-]{0,38}$/.test(repo)) {
      throw new SkeinError("BAD_REQUEST", `'${repo}' is no name of a repository`, {
        hint: "Use the app's name: small letters, digits and dashes.",
      });
    }
    return path.join(this.#root, `${repo}.git`);
  }

  async #git(args: readonly string[], hint?: string): Promise<void> {
    const details = hint === undefined ? {} : { hint };
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    execFile("git", args, { env: this.#environment() }, (err, _, said) => {
      if (err === null) resolve();
      else
        reject(
          new SkeinError("GIT_FAILED", `git failed on the hub: ${said.trim() || messageOf(err)}`, {
            ...details,
            cause: err,
          }),
        );
    });
    return await promise;
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
      // Else each of them becomes a file of its own, and every push from then on finds too many of these.
      "gc.cruftPacks": "true",
      "gc.pruneExpire": UNREACHABLE_UNTIL,
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
      GIT_ALLOC_LIMIT: MAX_ALLOCATED,
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
