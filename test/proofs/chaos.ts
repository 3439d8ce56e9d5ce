/**
 * Whatever dies or hangs, at any moment, for minutes: hub, agents and keepers of three nodes are killed, ended, or
 * stopped for seconds at random, while an operator deploys, takes back, stages, restarts and rolls back. Every request
 * in all that time is answered rightly, no command ends otherwise than as ordered or for want of the hub, and in the
 * end each node runs what was ordered last, once, with no more releases than are kept.
 * `npm run prove -- chaos [MINUTES] [SEED]`, 5 by default. One seed makes the same choices, not the same moments.
 */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Load } from "../../src/cli/demo/load.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";
import { get } from "../support/answers.ts";
import { nextPort, RUN, serverSource, urlOf, writeSource } from "../support/apps.ts";
import { type AgentProcess, type Cluster, startCluster } from "../support/cluster.ts";
import { processesIn, signalQuietly } from "../support/processes.ts";
import { resultEvent } from "../support/refusals.ts";
import type { Proof } from "./main.ts";

const MINUTES = 5;
const NODES = ["a", "b", "c"];
const PER_SECOND = 60;
/** Between two faults, and for how long something is stopped or stays away, in ms: at most. */
const PAUSE_MS = 5000;
const HANG_MS = 8000;
const AWAY_MS = 3000;
/** `keep` of the manifest's defaults, and what runs and ran before. */
const MOST_RELEASES = 8;

type Random = (below: number) => number;

export const chaos: Proof = async ([minutes = String(MINUTES), given], say, signal) => {
  const seed = Number(given ?? Date.now() % 1_000_000);
  const random = randomFrom(seed);
  await using cluster = await startCluster({ signal });
  await cluster.addNodes(Object.fromEntries(NODES.map((name) => [name, { labels: { role: "web" } }])));
  const shop = new Shop(cluster, random);
  await cluster.ok("deploy", "--from", await shop.version());
  const urls = await Promise.all(NODES.map(async (name) => await urlOf(cluster, "shop", name)));
  using load = loadOn(urls, shop);
  const until = performance.now() + Number(minutes) * 60_000;
  const [deeds, faults] = await Promise.all([
    untilThen(until, async () => await deed(shop, random, signal)),
    untilThen(until, async () => await fault(cluster, random, signal)),
  ]);
  say(`seed ${seed}; ${counted(faults)}; ${counted(deeds)}`);
  await cluster.ok("deploy", "--from", await shop.version());
  await Promise.all(urls.map(async (url) => await isAnswering(url, shop.newest)));
  const report = await load.report();
  say(`requests lost: ${report.lost} of ${report.sent}`);
  assert.deepEqual({ ...report.byOutcome, ok: 0 }, { ok: 0 });
  for (const node of cluster.nodes) await isTidy(node);
};

/** The app, each of whose versions answers with its own name. */
class Shop {
  readonly cluster: Cluster;
  readonly #random: Random;
  readonly #port = nextPort();
  #made = 0;

  constructor(cluster: Cluster, random: Random) {
    this.cluster = cluster;
    this.#random = random;
  }

  get newest(): string {
    return `v${this.#made}`;
  }

  /** Whether this is the answer of some version. */
  isAnswer(text: string): boolean {
    const number = /^v([1-9]\d*)$/.exec(text)?.[1];
    return number !== undefined && Number(number) <= this.#made;
  }

  /** @param more of the manifest @returns the source of one more version */
  async version(more = ""): Promise<string> {
    this.#made += 1;
    return await writeSource(this.cluster, `shop-${this.#made}`, {
      "skein.yaml": `app: shop\ntargets: role=web\n${RUN.replace("auto", String(this.#port))}strategy: { batch: 1, bake: 0s }\n${more}`,
      "server.js": serverSource(this.newest),
      "some.txt": `${this.newest}${"x".repeat(this.#random(300_000))}`,
    });
  }
}

/** What an operator types, and how it may end beside well. */
const DEEDS: readonly (readonly [words: (shop: Shop) => Promise<readonly string[]>, mayEnd?: string])[] = [
  [async (shop) => ["deploy", "--from", await shop.version()]],
  [async (shop) => ["deploy", "--from", await shop.version()]],
  [async (shop) => ["deploy", "--from", await shop.version(), "--all-at-once"]],
  [async (shop) => ["deploy", "--from", await shop.version("hooks: { pre_jump: { run: sleep 1 } }\n")]],
  [
    async (shop) => {
      const fails = "verify: { run: { sh: 'sleep 0.5; [ $SKEIN_NODE != b ]' } }\n";
      return ["deploy", "--from", await shop.version(fails)];
    },
    "DEPLOY_FAILED",
  ],
  [async (shop) => ["cp", "--from", await shop.version()]],
  [async () => ["restart", "shop"]],
  [async () => ["rollback", "shop"], "RELEASE_NOT_FOUND"],
];

async function deed(shop: Shop, random: Random, signal: AbortSignal): Promise<string> {
  const [words, mayEnd = ""] = oneOf(DEEDS, random);
  const typed = await words(shop);
  const result = await shop.cluster.skein(["--json", ...typed]);
  const { ok, error } = resultEvent(result);
  if (ok) return `${typed[0]} ok`;
  const told = `skein ${typed.join(" ")}:\n${result.stdout}\n${result.stderr}`;
  assert.ok(["HUB_UNREACHABLE", mayEnd].includes(error?.code ?? ""), told);
  if (error?.code === "HUB_UNREACHABLE") await sleep(1000, undefined, { signal });
  return `${typed[0]} ${error?.code}`;
}

interface Fault {
  readonly name: string;
  readonly happen: (
    cluster: Cluster,
    node: AgentProcess,
    ms: Record<"away" | "hung", number>,
  ) => Promise<void>;
}

const FAULTS: readonly Fault[] = [
  { name: "hub killed", happen: async ({ hub }, _node, { away }) => await awayFor(hub, "SIGKILL", away) },
  { name: "hub stopped", happen: async ({ hub }, _node, { hung }) => await stoppedFor(hub.pid, hung) },
  { name: "agent killed", happen: async (_all, node, { away }) => await awayFor(node, "SIGKILL", away) },
  { name: "agent killed", happen: async (_all, node) => await awayFor(node, "SIGKILL", 0) },
  { name: "agent ended", happen: async (_all, node) => await awayFor(node, "SIGTERM", 0) },
  { name: "agent stopped", happen: async (_all, node, { hung }) => await stoppedFor(node.pid, hung) },
  {
    name: "keeper killed",
    happen: async (_all, node) => {
      signalQuietly(await eventually("a keeper", () => node.keeperPid()), "SIGKILL");
    },
  },
];

async function fault(cluster: Cluster, random: Random, signal: AbortSignal): Promise<string> {
  await sleep(500 + random(PAUSE_MS), undefined, { signal });
  const { name, happen } = oneOf(FAULTS, random);
  await happen(cluster, oneOf(cluster.nodes, random), { away: random(AWAY_MS), hung: random(HANG_MS) });
  return name;
}

async function awayFor(one: AgentProcess | Cluster["hub"], by: NodeJS.Signals, ms: number): Promise<void> {
  await one.kill(by);
  await sleep(ms);
  await one.start();
}

async function stoppedFor(pid: number, ms: number): Promise<void> {
  signalQuietly(pid, "SIGSTOP");
  await sleep(ms);
  signalQuietly(pid, "SIGCONT");
}

function loadOn(urls: readonly string[], shop: Shop): Disposable & Pick<Load, "report"> {
  const targets = urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }));
  const load = new Load({ targets, perSecond: PER_SECOND, right: (text) => shop.isAnswer(text) });
  load.start();
  return {
    report: async () => await load.report(),
    [Symbol.dispose]: () => load.stop(),
  };
}

async function isAnswering(url: string, text: string): Promise<void> {
  await eventually(`${url} answers ${text}`, async () => (await get(url)).text === text);
}

/** One instance, and no more releases than are kept. */
async function isTidy(node: AgentProcess): Promise<void> {
  await eventually(
    `${node.name} runs one instance`,
    () => processesIn(`${node.home}/`).filter(({ command }) => command.includes("server.js")).length === 1,
  );
  const revs = path.join(node.home, "lib", "apps", "shop", "revs");
  await eventually(`${node.name} keeps few releases`, async () => {
    const releases = (await fs.readdir(revs)).filter((name) => !name.startsWith("."));
    return releases.length <= MOST_RELEASES;
  });
}

/** Does it again and again until it is time. @returns what each time came to */
async function untilThen(until: number, work: () => Promise<string>): Promise<readonly string[]> {
  const came: string[] = [];
  while (performance.now() < until) came.push(await work());
  return came;
}

const counted = (all: readonly string[]): string =>
  Object.entries(Object.groupBy(all, (one) => one))
    .map(([one, same = []]) => `${same.length} ${one}`)
    .toSorted()
    .join(", ");

function oneOf<T>(all: readonly T[], random: Random): T {
  const found = all[random(all.length)];
  assert.ok(found !== undefined);
  return found;
}

/** The same numbers for the same seed (mulberry32). */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
