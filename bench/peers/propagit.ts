/**
 * propagit 0.6.4 with seaport 2.0.9, as its users ran them: a port table, a hub and two drones on loopback, a service
 * that asks the table for its port. Installed by the benchmark into node_modules/.cache; none of it is part of Skein.
 */
import { type ChildProcess, execFile } from "node:child_process";
import fs from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../src/lib/testing/free-port.fixture.ts";
import { Processes } from "../../test/support/processes.ts";
import { gitEnv, type SourceRepo, sourceRepo } from "../../test/support/repo.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

const run = promisify(execFile);
const PACKAGES = ["propagit@0.6.4", "seaport@2.0.9"];
const DRONES = ["a", "b"];
const SECRET = "bench";

/** Milliseconds since `git push` started. */
export interface PropagitTimes {
  readonly pushed: number;
  /** `propagit deploy` ended. */
  readonly deployed: number;
  /** The tree is whole on both drones (the command may say so earlier). */
  readonly onDisk: number;
  readonly spawned: number;
  readonly firstAnswer: number;
  readonly bothAnswer: number;
}

export interface PropagitCluster extends AsyncDisposable {
  /**
   * Commits the next version, takes it through to both drones, then stops it (outside the times).
   * `typed`: spawned by a command of its own, as a person does it; `standing`: over a connection that was open before.
   */
  deployNext(spawnBy: "typed" | "standing"): Promise<PropagitTimes>;
}

export async function startPropagit(signal: AbortSignal): Promise<PropagitCluster> {
  const installed = await installPropagit(signal);
  const stack = new AsyncDisposableStack();
  try {
    const folder = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-propagit-")));
    stack.defer(() => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const processes = stack.use(new Processes(folder));
    const peer = await startProgrammes(installed, folder, processes, signal);
    const repo = await sourceRepo(path.join(folder, "source"));
    return {
      deployNext: (spawnBy) => deployNext(peer, repo, spawnBy, signal),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (err) {
    await stack.disposeAsync();
    throw err;
  }
}

interface Peer {
  readonly folder: string;
  readonly installed: string;
  readonly hub: string;
  readonly table: string;
  readonly gitUrl: string;
  readonly client: Client;
}

async function startProgrammes(
  installed: string,
  folder: string,
  processes: Processes,
  signal: AbortSignal,
): Promise<Peer> {
  const [table, hub, git] = [await freePort(), await freePort(), await freePort()];
  const env = { ...gitEnv(), PATH: process.env["PATH"] };
  const start = (name: string, ...args: string[]): ChildProcess =>
    processes.start(process.execPath, args, {
      cwd: folder,
      env,
      log: path.join(folder, `${name}.log`),
      ipc: name === "client",
    });
  const propagit = path.join(installed, "node_modules/propagit/bin/cli.js");
  start("table", path.join(installed, "node_modules/seaport/bin/cmd.js"), "listen", String(table));
  const basedir = (name: string): string => `--basedir=${path.join(folder, name)}`;
  start("hub", propagit, "hub", `--cport=${hub}`, `--gport=${git}`, `--secret=${SECRET}`, basedir("hub"));
  for (const port of [table, hub, git]) await listening(port, signal);
  const hubAddress = `127.0.0.1:${hub}`;
  for (const name of DRONES) {
    start(
      name,
      propagit,
      "drone",
      `--hub=${hubAddress}`,
      `--secret=${SECRET}`,
      `--name=${name}`,
      basedir(name),
    );
  }
  const tableAddress = `127.0.0.1:${table}`;
  const script = path.join(import.meta.dirname, "propagit-client.cjs");
  const client = new Client(start("client", script, installed, hubAddress, tableAddress));
  const drones = async (): Promise<boolean> => {
    const names = await client.ask({ ask: "drones" });
    return Array.isArray(names) && names.length === DRONES.length;
  };
  await eventually("both drones at the hub", drones, { signal });
  const gitUrl = `http://git:${SECRET}@127.0.0.1:${git}/web.git`;
  return { folder, installed, hub: hubAddress, table: tableAddress, gitUrl, client };
}

async function deployNext(
  peer: Peer,
  repo: SourceRepo,
  spawnBy: "typed" | "standing",
  signal: AbortSignal,
): Promise<PropagitTimes> {
  const commit = await repo.commit({ "server.js": service(peer), "notes.txt": String(Math.random()) });
  const begin = performance.now();
  const since = (): number => performance.now() - begin;
  await run("git", ["push", "-q", peer.gitUrl, "master"], { cwd: repo.dir, env: gitEnv(), signal });
  const pushed = since();
  const propagit = path.join(peer.installed, "node_modules/propagit/bin/cli.js");
  const deploy = ["deploy", `--hub=${peer.hub}`, `--secret=${SECRET}`, "web", commit];
  await run(process.execPath, [propagit, ...deploy], { cwd: peer.folder, signal, timeout: 60_000 });
  const deployed = since();
  await Promise.all(DRONES.map((name) => treeOnDisk(path.join(peer.folder, name), commit, signal)));
  const onDisk = since();
  const answers = peer.client.twice({ ask: "answering", commit, count: DRONES.length });
  const command = [process.execPath, "server.js"];
  const spawnedAs =
    spawnBy === "typed"
      ? await spawnByCommand(peer, commit, command, signal)
      : await peer.client.ask({ ask: "spawn", repo: "web", commit, command });
  const spawned = since();
  await answers.first;
  const firstAnswer = since();
  await answers.second;
  const bothAnswer = since();
  for (const [drone, pid] of Object.entries(spawnedAs as Record<string, string>)) {
    await peer.client.ask({ ask: "stop", drone, pid });
  }
  return { pushed, deployed, onDisk, spawned, firstAnswer, bothAnswer };
}

async function spawnByCommand(
  peer: Peer,
  commit: string,
  command: readonly string[],
  signal: AbortSignal,
): Promise<unknown> {
  const script = path.join(import.meta.dirname, "propagit-spawn.cjs");
  const args = [script, peer.installed, peer.hub, SECRET, "web", commit, ...command];
  const { stdout } = await run(process.execPath, args, { cwd: peer.folder, signal, timeout: 60_000 });
  return JSON.parse(stdout);
}

/** The command returns while a drone may still be checking out; a spawn into a folder that is not there kills the drone. */
async function treeOnDisk(basedir: string, commit: string, signal: AbortSignal): Promise<void> {
  const dir = path.join(basedir, "deploy", `web.${commit}`);
  const checkedOut = async (): Promise<boolean> => {
    const head = await fs.readFile(path.join(dir, ".git/HEAD"), "utf8");
    if (head.trim() !== commit) return false;
    await fs.access(path.join(dir, "server.js"));
    return true;
  };
  await eventually(`the tree in ${dir}`, checkedOut, { everyMs: 5, signal });
}

/** One file, as in their README: ask the table for a port, listen there. The commit is the answer. */
function service(peer: Peer): string {
  const [host, port] = peer.table.split(":");
  return [
    `const seaport = require(${JSON.stringify(path.join(peer.installed, "node_modules/seaport"))});`,
    'const http = require("http");',
    `const ports = seaport.connect(${JSON.stringify(host)}, ${port});`,
    "const server = http.createServer((request, response) => response.end(process.env.COMMIT));",
    'server.listen(ports.register("web@1.0.0"));',
    "",
  ].join("\n");
}

/** Talks to propagit-client.cjs. */
class Client {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #last = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message: { readonly id: number; readonly answer: unknown }) => {
      this.#waiting.get(message.id)?.(message.answer);
    });
  }

  async ask(message: Readonly<Record<string, unknown>>): Promise<unknown> {
    return await this.twice(message).first;
  }

  /** For a question that is answered twice. */
  twice(message: Readonly<Record<string, unknown>>): { first: Promise<unknown>; second: Promise<unknown> } {
    const id = ++this.#last;
    const first = Promise.withResolvers<unknown>();
    const second = Promise.withResolvers<unknown>();
    this.#waiting.set(id, (answer) => {
      this.#waiting.set(id, second.resolve);
      first.resolve(answer);
    });
    const ended = (): void => {
      const error = new Error("propagit's client ended");
      first.reject(error);
      second.reject(error);
    };
    second.promise.catch(() => undefined); // most questions have one answer
    this.#child.once("exit", ended);
    void first.promise.finally(() => this.#child.removeListener("exit", ended)).catch(() => undefined);
    this.#child.send({ id, ...message });
    return { first: first.promise, second: second.promise };
  }
}

async function listening(port: number, signal: AbortSignal): Promise<void> {
  const connect = (): Promise<true> =>
    new Promise((resolve, reject) => {
      const socket = net.connect(port, "127.0.0.1");
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
    });
  await eventually(`port ${port}`, connect, { signal });
}

/** @returns the folder whose node_modules holds both packages. */
async function installPropagit(signal: AbortSignal): Promise<string> {
  const cache = path.resolve(import.meta.dirname, "../../node_modules/.cache/skein-bench");
  const folder = path.join(cache, PACKAGES.join("+"));
  if (await exists(folder)) return folder;
  await fs.mkdir(cache, { recursive: true });
  const aside = await fs.mkdtemp(path.join(cache, "installing-"));
  try {
    process.stderr.write(
      `installing ${PACKAGES.join(" and ")} into ${path.relative(process.cwd(), folder)}\n`,
    );
    await fs.writeFile(path.join(aside, "package.json"), '{"private": true}\n');
    const npm = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", ...PACKAGES];
    await run("npm", npm, { cwd: aside, signal });
    await replaceWeak(path.join(aside, "node_modules/weak"));
    await fs.rename(aside, folder);
  } catch (err) {
    await fs.rm(aside, { recursive: true, force: true });
    if (!(await exists(folder))) throw err; // else another run was first
  }
  return folder;
}

/** propagit's RPC wants the native add-on `weak`, which no Node of this decade compiles; a strong reference does. */
async function replaceWeak(folder: string): Promise<void> {
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder);
  await fs.writeFile(path.join(folder, "package.json"), '{"name": "weak", "version": "0.2.2"}\n');
  const stub = "module.exports = (value) => value;\nmodule.exports.get = (value) => value;\n";
  await fs.writeFile(path.join(folder, "index.js"), stub);
}

async function exists(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}
