/** Skein itself: a hub at the sender's end, agents at the other that have joined and hold their connections. */
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { type AgentProcess, type Cluster, startCluster } from "../../test/support/cluster.ts";
import { httpDepot } from "../../src/depot/http/http-depot.ts";
import type { ReleaseId } from "../../src/lib/text/ids.ts";
import { deploy } from "../../src/operator/deploy/deploy.ts";
import type { Tell } from "../../src/operator/tell/events.ts";
import { followOrder } from "../../src/operator/order/publish-order.ts";
import { builtPackage } from "../support/built.ts";
import {
  type Cost,
  costOf,
  cpuOf,
  type Moment,
  forgetPeaks,
  peakMib,
  peakOfGroup,
  quiet,
  sizeOfGroup,
  written,
} from "./measure.ts";
import type { Wire } from "./namespace.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

const COUNTER = path.resolve(import.meta.dirname, "../peers/transfer-requests.mjs");

export interface Ours extends AsyncDisposable {
  /** Puts a tree into the hub's depot. @returns the release, and the most memory that it took in MiB */
  publish(app: string, tree: string): Promise<Published>;
  /** One line for each request that the hub was sent from the other end: address, method, path. */
  requests(): Promise<string[]>;
  /** New machines, joined and idle. */
  receivers(count: number, env?: Readonly<Record<string, string>>): Promise<Receivers>;
}

interface Published {
  readonly app: string;
  readonly release: ReleaseId;
  /** The most memory of any one process that published or made a delta, in MiB. */
  readonly peakMib: number;
}

interface Receivers extends AsyncDisposable {
  /** Orders a release on all of them. @returns what it cost until all had it and nothing more was said */
  receive(published: Published): Promise<Cost>;
  /** Resolves when the agents have no work of their own left. @returns the CPU seconds of all that */
  settled(): Promise<number>;
  /** The tree that is current at the first one. */
  tree(app: string): string;
  /** The most memory that one agent ever had, in MiB. */
  peakMib(): number;
  forgetPeak(): void;
}

/** @param dir for the list of requests */
export async function startOurs(wire: Wire, dir: string, signal: AbortSignal): Promise<Ours> {
  const program = await builtPackage(signal);
  const requests = path.join(dir, "requests");
  const hubEnv = { NODE_OPTIONS: `--import=${COUNTER}`, SKEIN_BENCH_REQUESTS: requests };
  const cluster = await startCluster({ signal, program, hubHost: wire.sender, hubEnv });
  let groups = 0;
  return {
    requests: async () => {
      const lines = (await fs.readFile(requests, "utf8")).trim().split("\n");
      return lines.filter((line) => !line.startsWith(wire.sender));
    },
    publish: (app, tree) => publish(cluster, app, tree),
    receivers: (count, env = {}) => receivers(cluster, wire, { group: `group${++groups}`, count, env }),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

async function publish(cluster: Cluster, app: string, tree: string): Promise<Published> {
  const { command, args } = cluster.program;
  const env = cluster.env(cluster.operatorHome);
  const child = spawn(command, [...args, "build", tree, "--app", app], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let peak = 0;
  const look = (): void => {
    peak = Math.max(peak, peakMib([child.pid ?? 0]), peakOfGroup(cluster.hub.pid));
  };
  const watch = setInterval(look, 20);
  try {
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [, release = ""] = /@([0-9a-f]{32})$/.exec(stdout.trim()) ?? [];
    if (release === "") throw new Error(`skein build said: ${stdout}${stderr}`);
    // The hub makes its deltas after it has the release.
    await resting(cluster.hub.pid, cluster.signal, look);
    return { app, release: release as ReleaseId, peakMib: peak };
  } finally {
    clearInterval(watch);
  }
}

async function receivers(
  cluster: Cluster,
  wire: Wire,
  {
    group,
    count,
    env,
  }: { readonly group: string; readonly count: number; readonly env: Readonly<Record<string, string>> },
): Promise<Receivers> {
  const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const nodes: AgentProcess[] = [];
  for (let n = 1; n <= count; n++) {
    const labels = { group };
    nodes.push(
      await cluster.addNode(`${group}-${n}`, { labels, within: () => [...wire.within, "env", ...set] }),
    );
  }
  await quiet(wire);
  const { signal } = cluster;
  return {
    receive: (published) => receive(cluster, wire, nodes, `group=${group}`, published),
    settled: async () => {
      const pids = nodes.map(({ pid }) => pid);
      const before = cpuOf(pids);
      for (const pid of pids) await resting(pid, signal);
      return cpuOf(pids) - before;
    },
    tree: (app) => path.join(nodes[0]?.home ?? "", "lib/apps", app, "current"),
    peakMib: () => peakMib(nodes.map(({ pid }) => pid)),
    forgetPeak: () => forgetPeaks(nodes.map(({ pid }) => pid)),
    [Symbol.asyncDispose]: async () => {
      for (const node of nodes) await node.powerOff();
      for (const { home } of nodes) await fs.rm(home, { recursive: true, force: true });
    },
  };
}

async function receive(
  cluster: Cluster,
  wire: Wire,
  nodes: readonly AgentProcess[],
  selector: string,
  { app, release }: Published,
): Promise<Cost> {
  const { signal } = cluster;
  const operator = await cluster.operator();
  let began: Moment | undefined;
  // Told when everything is known that goes into the order, right before it is signed.
  const tell: Tell = ({ type }) => {
    if (type === "selection") began = { at: performance.now(), senderCpu: cpuOf([cluster.hub.pid]) };
  };
  const processes = {
    sender: [cluster.hub.pid],
    receiver: nodes.flatMap((node) => [node.pid, node.keeperPid()]),
  };
  const wish = { app, version: release, selector, from: null, env: "default", cwd: cluster.dir };
  const manner = { keepOld: false, hooks: "run", attended: false, strategy: {}, helperDir: "" } as const;
  const depot = httpDepot(operator.client);
  // What is current already tells nothing of when a new order was done.
  const isThere = (await Promise.all(nodes.map((node) => isCurrent(node, app, release)))).every(Boolean);
  await written(cluster.dir, signal);
  return await costOf(wire, processes, async () => {
    const published = await deploy(operator, { ...wish, ...manner, depot, tell, signal });
    const over = followOrder(operator, published, { tell, signal });
    over.catch(() => undefined); // told where it is waited for
    const arrived = nodes.map((node) => becomesCurrent(node, app, release, signal));
    await Promise.race([over, ...(isThere ? [] : [Promise.all(arrived)])]);
    return { receiverCpu: 0, began, over };
  });
}

async function becomesCurrent(
  node: AgentProcess,
  app: string,
  release: string,
  signal: AbortSignal,
): Promise<void> {
  const probe = async (): Promise<boolean> => await isCurrent(node, app, release);
  await eventually(`${app} on ${node.name}`, probe, { everyMs: 5, withinMs: 600_000, signal });
}

async function isCurrent(node: AgentProcess, app: string, release: string): Promise<boolean> {
  const target = await fs.readlink(path.join(node.home, "lib/apps", app, "current")).catch(() => "");
  return target.endsWith(release);
}

/** Longer than an agent waits until it takes itself as idle. */
const STILL_MS = 1500;
const STILL_CPU_S = 0.03;

/**
 * Whatever a hub or an agent has to do after a release came, it has done when its processes rest: the deltas of a large
 * tree, and flushes, are made by processes of their own.
 */
async function resting(pid: number, signal: AbortSignal, look: () => void = () => undefined): Promise<void> {
  for (let before = -1; ;) {
    const now = cpuOf([pid]);
    if (before >= 0 && now - before < STILL_CPU_S && sizeOfGroup(pid) === 1) return;
    before = now;
    look();
    await setTimeout(STILL_MS, undefined, { signal });
  }
}
