/**
 * A whole cluster of real processes for end-to-end tests and benchmarks: one operator, one hub, any number of nodes,
 * each with a SKEIN_HOME of its own in one temporary folder. Nothing of it survives the disposal.
 */
import type { ChildProcess } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { freeNetwork, freePort } from "../../src/lib/testing/free-port.fixture.ts";
import type { NodeView, PortEntry } from "../../src/api/schemas.ts";
import { pathsFrom } from "../../src/lib/disk/paths.ts";
import { invite } from "../../src/operator/nodes/nodes.ts";
import { openOperator, type Operator } from "../../src/operator/identity/operator.ts";
import { ended, Processes, processesIn, signalQuietly } from "./processes.ts";
import { canShare, runInHost } from "./command-host.ts";
import { COMPILED, type Program, tested } from "./program.ts";
import { gitEnv } from "./repo.ts";
import { expectSuccess, runToEnd, type Result } from "./run.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

const INVITED_MS = 600_000;

export interface ClusterOptions {
  readonly signal: AbortSignal;
  readonly program?: Program;
  /** Where the hub listens. Default 127.0.0.1. */
  readonly hubHost?: string;
  /** What runs as the hub. Default: `program`. */
  readonly hubProgram?: Program;
  /** More of the hub's environment. */
  readonly hubEnv?: Readonly<Record<string, string>>;
  /** Words before the hub's own command. */
  readonly hubWithin?: Within;
}

/** Words before a command, given the home of what is started: a namespace of its own, for example. */
export type Within = (home: string) => readonly string[] | Promise<readonly string[]>;

export interface RunOptions {
  readonly cwd?: string;
  /** SKEIN_HOME. Default: the operator's. */
  readonly home?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the command. */
  readonly within?: readonly string[];
}

export interface NodeOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /** Runs in place of every release's own processes: `agent run ... -- COMMAND`. */
  readonly command?: readonly string[];
  readonly within?: Within;
}

/** @param options.signal ends every wait; the processes end with the disposal */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const dir = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-")));
  await fs.chmod(dir, 0o755); // apps have users of their own
  const place = { hubPort: await freePort(options.hubHost), network: await freeNetwork() };
  const cluster = new Cluster(dir, place, options);
  try {
    await cluster.hub.start();
    const made = await cluster.ok(
      "init",
      "--name",
      "tester",
      "--hub",
      `${cluster.hubAddress}#${cluster.hub.key}`,
    );
    if (!made.stdout.includes("fingerprint")) throw new Error(`skein init said: ${made.stdout}`);
    return cluster;
  } catch (err) {
    await cluster[Symbol.asyncDispose]();
    throw err;
  }
}

export class Cluster implements AsyncDisposable {
  readonly dir: string;
  readonly operatorHome: string;
  readonly hubAddress: string;
  readonly hub: HubProcess;
  readonly hubEnv: Readonly<Record<string, string>>;
  readonly nodes: AgentProcess[] = [];
  readonly signal: AbortSignal;
  readonly program: Program;
  readonly hubProgram: Program;
  readonly processes: Processes;
  /** Its nodes' loopback addresses: other clusters run at the same time. */
  readonly network: string;
  #operator: Promise<Operator> | undefined;

  constructor(
    dir: string,
    { hubPort, network }: { readonly hubPort: number; readonly network: string },
    {
      signal,
      program = tested,
      hubProgram = program,
      hubHost = "127.0.0.1",
      hubEnv = {},
      hubWithin,
    }: ClusterOptions,
  ) {
    this.hubProgram = hubProgram;
    this.hubEnv = hubEnv;
    this.dir = dir;
    this.network = network;
    this.operatorHome = path.join(dir, "op");
    this.hubAddress = `${hubHost}:${hubPort}`;
    this.signal = signal;
    this.program = program;
    this.processes = new Processes(dir);
    this.hub = new HubProcess(this, hubWithin);
  }

  /** Runs `skein` to its end. */
  async skein(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    const cwd = options.cwd ?? this.dir;
    const env = { ...this.env(options.home ?? this.operatorHome), ...options.env };
    if (canShare(this.program, env) && options.within === undefined)
      return await runInHost({ words: args, cwd, env }, this.signal);
    const [command = "", ...words] = [
      ...(options.within ?? []),
      this.program.command,
      ...this.program.args,
      ...args,
    ];
    return await runToEnd(command, words, { cwd, env, signal: this.signal });
  }

  /** The same, where anything but success is the test's failure. */
  async ok(...args: string[]): Promise<Result> {
    return await this.okIn(this.dir, ...args);
  }

  async okIn(cwd: string, ...args: string[]): Promise<Result> {
    return expectSuccess(`skein ${args.join(" ")}`, await this.skein(args, { cwd }));
  }

  /** The last line of `--json`: the result event. */
  async json(...args: string[]): Promise<Record<string, unknown>> {
    const { stdout } = await this.ok("--json", ...args);
    const last = stdout.trim().split("\n").at(-1) ?? "";
    return JSON.parse(last) as Record<string, unknown>;
  }

  /** git with this operator's identity and the helper for skein:// on its PATH. */
  async git(cwd: string, ...args: string[]): Promise<Result> {
    const env = this.env(this.operatorHome);
    return await runToEnd("git", args, { cwd, env, signal: this.signal });
  }

  async okGit(cwd: string, ...args: string[]): Promise<Result> {
    return expectSuccess(`git ${args.join(" ")}`, await this.git(cwd, ...args));
  }

  /** Where a repository is pushed to. */
  gitUrl(repo: string): string {
    return `skein://${this.hubAddress}/${repo}`;
  }

  /** Invites a node (as `skein node invite` does), starts its agent, and waits until the hub sees it. */
  async addNode(name: string, options: NodeOptions = {}): Promise<AgentProcess> {
    const operator = await this.operator();
    const wanted = { name, labels: options.labels ?? {}, validMs: INVITED_MS, replace: null };
    const { line } = await invite(operator, wanted, this.signal);
    return await this.startNode(name, line, options);
  }

  /** The same for many, all at once: it takes no longer than for one. */
  async addNodes(nodes: Readonly<Record<string, NodeOptions>>): Promise<readonly AgentProcess[]> {
    return await Promise.all(
      Object.entries(nodes).map(async ([name, options]) => await this.addNode(name, options)),
    );
  }

  /** Starts an agent that joins with this line, and waits until the hub sees it. */
  async startNode(name: string, join: string, options: NodeOptions = {}): Promise<AgentProcess> {
    const node = new AgentProcess(this, name, this.nodes.length + 1, options);
    this.nodes.push(node);
    await node.start(join);
    await this.present(name);
    return node;
  }

  /** For questions that a command would take too long to ask again and again. Opened once. */
  async operator(): Promise<Operator> {
    const paths = pathsFrom({ SKEIN_HOME: this.operatorHome });
    return await (this.#operator ??= openOperator({ paths, signal: this.signal }));
  }

  async nodeView(name: string): Promise<NodeView | undefined> {
    const { client } = await this.operator();
    return (await client.nodes(this.signal)).nodes.find((node) => node.name === name);
  }

  async present(name: string): Promise<void> {
    await this.until(`${name} at the hub`, async () => (await this.nodeView(name))?.present === true);
  }

  async absent(name: string): Promise<void> {
    await this.until(`${name} away`, async () => (await this.nodeView(name))?.present === false);
  }

  async ports(): Promise<readonly PortEntry[]> {
    const { client } = await this.operator();
    return (await client.ports({}, this.signal)).ports;
  }

  /** Waits until `holds` answers true; rejects with `what` when it never does. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    await eventually(what, holds, { signal: this.signal });
  }

  env(home: string): NodeJS.ProcessEnv {
    return {
      ...gitEnv(),
      ...COMPILED,
      PATH: `${this.program.helperDir}${path.delimiter}${process.env["PATH"] ?? ""}`,
      SKEIN_HOME: home,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.#operator?.catch(() => undefined))?.[Symbol.dispose]();
    await this.processes[Symbol.asyncDispose]();
    await fs.rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** What hub and agents have in common: a home, a log, a process that comes and goes. */
abstract class Daemon {
  readonly home: string;
  /** Everything it printed, over all its starts. */
  readonly log: string;
  protected readonly cluster: Cluster;
  protected child: ChildProcess | undefined;
  readonly #within: Within | undefined;
  #prefix: readonly string[] | undefined;
  protected env: Readonly<Record<string, string>> = {};
  #logged = 0;

  constructor(cluster: Cluster, name: string, within: Within | undefined) {
    this.cluster = cluster;
    this.#within = within;
    this.home = path.join(cluster.dir, name);
    this.log = path.join(cluster.dir, `${name}.log`);
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error(`${this.log}: it was never started`);
    return pid;
  }

  /** Ends it: with SIGKILL at once, with SIGTERM as a person would. Keeper and instances of a node live on. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child === undefined) return;
    this.child.kill(signal);
    await ended(this.child);
  }

  /** What the process that runs now has printed. */
  async printed(): Promise<string> {
    const text = await fs.readFile(this.log);
    return text.subarray(this.#logged).toString("utf8");
  }

  /** The lines of its log that are JSON records. */
  async records(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const lines = (await this.printed()).split("\n").filter((line) => line.startsWith("{"));
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  protected program(): Program {
    return this.cluster.program;
  }

  protected async launch(args: readonly string[], ready: RegExp): Promise<RegExpExecArray> {
    const { processes, signal } = this.cluster;
    const program = this.program();
    this.#logged = await fs.stat(this.log).then(
      ({ size }) => size,
      () => 0,
    );
    await fs.mkdir(this.home, { recursive: true });
    this.#prefix ??= (await this.#within?.(this.home)) ?? [];
    const [command = "", ...words] = [...this.#prefix, program.command, ...program.args, ...args];
    const child = processes.start(command, words, {
      cwd: this.home,
      env: { ...this.cluster.env(this.home), ...this.env },
      log: this.log,
    });
    this.child = child;
    const isReady = async (): Promise<RegExpExecArray | undefined> => {
      const match = ready.exec(await this.printed());
      if (match === null && (child.exitCode !== null || child.signalCode !== null)) throw new Ended();
      return match ?? undefined;
    };
    return await eventually(`skein ${args[0]} is ready`, isReady, {
      signal,
      giveUp: isEnded,
    }).catch(async (err: unknown) => {
      throw new Error(`skein ${args.join(" ")} did not start:\n${await this.printed()}`, { cause: err });
    });
  }
}

class Ended extends Error {}
const isEnded = (err: unknown): boolean => err instanceof Ended;

export class HubProcess extends Daemon {
  /** Its pinned key, once it has run. */
  key = "";

  constructor(cluster: Cluster, within: Within | undefined) {
    super(cluster, "hub", within);
    this.env = cluster.hubEnv;
  }

  protected override program(): Program {
    return this.cluster.hubProgram;
  }

  /** @param where a hub that has a charter needs no words for it */
  async start(where: readonly string[] = ["--listen", this.cluster.hubAddress]): Promise<void> {
    const args = ["hub", "--json", ...where];
    const [, key = ""] = await this.launch(args, /"type":"ready".*"key":"([0-9a-f]{64})"/);
    this.key = key;
  }

  async restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.kill(signal);
    await this.start();
  }
}

export class AgentProcess extends Daemon {
  readonly name: string;
  /** A loopback address of its own: all nodes are on one machine. */
  readonly address: string;
  readonly #command: readonly string[];

  constructor(cluster: Cluster, name: string, index: number, options: NodeOptions = {}) {
    super(cluster, `n${index}`, options.within); // short: a unix socket's path has at most 107 bytes
    this.name = name;
    this.address = `${cluster.network}.${index}`;
    this.#command = options.command ?? [];
  }

  /** @param join needed the first time */
  async start(join?: string): Promise<void> {
    const args = ["agent", "run", "--address", this.address, ...(join === undefined ? [] : ["--join", join])];
    const command = this.#command.length === 0 ? [] : ["--", ...this.#command];
    await this.launch([...args, ...command], /"msg":"agent started"/);
  }

  async restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  /** The keeper that holds this node's sockets and instances. */
  keeperPid(): number {
    const run = path.join(this.home, "run");
    const found = processesIn(run).find(
      ({ command }) => / \S*keeper\S* /.test(`${command} `) && command.includes(run),
    );
    if (found === undefined) throw new Error(`${this.name} has no keeper`);
    return found.pid;
  }

  /** Power off: agent, keeper and every instance at once. */
  async powerOff(): Promise<void> {
    await this.kill("SIGKILL");
    await eventually(`${this.name} is off`, () => {
      const left = processesIn(`${this.home}/`);
      for (const { pid } of left) signalQuietly(pid, "SIGKILL");
      return left.length === 0;
    });
  }
}

/** `node invite` prints the whole command for the new machine; the line itself is its last word. */
export function joinLineIn(stdout: string): string {
  const line = stdout.trim().split(/\s+/).at(-1);
  if (line === undefined || line === "") throw new Error(`no join line in: ${stdout}`);
  return line;
}
