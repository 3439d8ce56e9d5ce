/**
 * Collections beside uploads through a live hub: real hub, agent, commands and S3 server. What is published and ordered
 * stays, whatever is collected meanwhile, and what nobody needs goes.
 */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { httpDepot } from "../src/depot/http/http-depot.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { ERROR_CODES } from "../src/lib/errors/error-codes.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { isSkeinError } from "../src/lib/errors/errors.ts";
import type { ReleaseId } from "../src/lib/text/ids.ts";
import { pathsFrom } from "../src/lib/disk/paths.ts";
import { deploy } from "../src/operator/deploy/deploy.ts";
import { cacheDir } from "../src/operator/identity/home.ts";
import { openOperator, type Operator } from "../src/operator/identity/operator.ts";
import { findRelease } from "../src/operator/release/release.ts";
import { install } from "../src/release/install/install.ts";
import { publish } from "../src/release/publish/publish.ts";
import { noise, writeTree } from "../src/release/release.fixture.ts";
import { directorySource } from "../src/source/directory.ts";
import { startCluster, type AgentProcess, type Cluster } from "./support/cluster.ts";
import { checkout } from "./support/program.ts";
import { childProgram } from "../src/lib/testing/child.fixture.ts";

const SEED = Number(process.env["SKEIN_TEST_SEED"] ?? 1);
const PUBLISHERS = ["ann", "bob"] as const;
const server = sharedS3Server({ conditional: false });

const collectingHub = {
  command: process.execPath,
  args: [
    "--disable-warning=ExperimentalWarning",
    childProgram(import.meta.dirname, "support/collecting-hub.child.ts"),
  ],
  helperDir: checkout.helperDir,
};

/** Numbers from 0 to 1, the same for a seed. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Neighbours share half of their bytes. */
async function sourceOf(cluster: Cluster, app: string, version: number): Promise<string> {
  const dir = path.join(cluster.dir, "src", `${app}-${version}`);
  await fs.mkdir(dir, { recursive: true });
  return writeTree(dir, {
    "skein.yaml": `app: ${app}\nkind: files\n`,
    own: noise(60_000, 1000 + version),
    shared: noise(60_000, version >> 1),
  });
}

/** The hub's days: whoever began to publish before one of them ended has ended before the next one begins. */
class Days {
  readonly #cluster: Cluster;
  readonly #begun = new Set<Promise<unknown>>();
  #count = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Does what may last while a day passes, and no longer. */
  async during(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => undefined);
    this.#begun.add(settled);
    await work;
  }

  /** @returns blobs that were deleted */
  async collect(): Promise<number> {
    const { hub } = this.#cluster;
    const days = (this.#count += 1);
    process.kill(hub.pid, "SIGUSR2");
    const found = await this.#told(days);
    assert.equal(found.failed, undefined);
    assert.deepEqual(found.unreadable, [], "a release that is kept has lost its index");
    const begun = [...this.#begun];
    await Promise.all(begun);
    for (const one of begun) this.#begun.delete(one);
    return found.deleted.blobs;
  }

  async #told(days: number): Promise<Told> {
    const { hub, signal } = this.#cluster;
    return await eventually(
      `collection ${days}`,
      async () => {
        const lines = (await hub.records()) as readonly Partial<Told>[];
        return lines.find((line) => line.type === "collected" && line.days === days) as Told | undefined;
      },
      { signal },
    );
  }
}

/** support/collecting-hub.child.ts */
interface Told {
  readonly type: "collected";
  readonly days: number;
  readonly failed?: string;
  readonly deleted: { readonly blobs: number };
  readonly unreadable: readonly string[];
}

interface Publisher {
  readonly name: string;
  readonly operator: Operator;
  readonly random: () => number;
  /** app → what it was told is ordered. */
  readonly released: Map<string, ReleaseId[]>;
}

async function publisher(cluster: Cluster, name: string, n: number): Promise<Publisher> {
  const home = path.join(cluster.dir, name);
  await fs.cp(cluster.operatorHome, home, { recursive: true });
  const operator = await openOperator({ paths: pathsFrom({ SKEIN_HOME: home }), signal: cluster.signal });
  return { name, operator, random: random(SEED * 100 + n), released: new Map() };
}

/** Puts the blobs of a release into the depot and goes away, as who was killed. */
async function abandon({ operator }: Publisher, dir: string, signal: AbortSignal): Promise<void> {
  await publish({
    source: directorySource(dir),
    depot: httpDepot(operator.client),
    previous: null,
    now: Date.now(),
    cacheDir: cacheDir(operator.paths),
    signal,
  });
}

async function deployFrom(
  { operator, released }: Publisher,
  app: string,
  dir: string,
  signal: AbortSignal,
): Promise<void> {
  const { draft } = await deploy(operator, {
    app: null,
    version: null,
    selector: null,
    from: null,
    env: "default",
    cwd: dir,
    keepOld: false,
    hooks: "run",
    attended: false,
    strategy: { bakeMs: 0 },
    depot: httpDepot(operator.client),
    helperDir: checkout.helperDir,
    tell: () => undefined,
    signal,
  });
  released.set(app, [...(released.get(app) ?? []), draft.order.release]);
}

/**
 * Deploys what was given up some rounds ago, perhaps by the other publisher, so that it is noted or out of use by now,
 * or becomes so meanwhile; is cut at times; and gives up what is deployed some rounds later.
 */
async function act(cluster: Cluster, from: Publisher, round: number): Promise<void> {
  const { name, random: next } = from;
  const app = next() < 0.3 ? "shared" : name;
  const cut = next() < 0.2 ? AbortSignal.timeout(20 + Math.floor(next() * 300)) : undefined;
  const signal = cut === undefined ? cluster.signal : AbortSignal.any([cluster.signal, cut]);
  try {
    await deployFrom(from, app, await sourceOf(cluster, app, round + Math.floor(next() * 2)), signal);
    for (const given of [name, "shared"])
      await abandon(from, await sourceOf(cluster, given, round + 2 + Math.floor(next() * 2)), cluster.signal);
  } catch (err) {
    if (cut?.aborted !== true && !isHarmless(err)) throw new Error(`${name}, round ${round}`, { cause: err });
  }
}

/** Another deployment holds the app; or a machine with too much to do lost a connection: nothing was changed. */
const isHarmless = (err: unknown): boolean =>
  isSkeinError(err) && (err.code === "HUB_UNREACHABLE" || ERROR_CODES[err.code].exit === 6);

/** Reads every byte of a release from the hub. */
async function readWhole(
  cluster: Cluster,
  { operator }: Publisher,
  app: string,
  id: ReleaseId,
): Promise<void> {
  const found = await findRelease(operator, app, `${app}@${id}`, cluster.signal);
  assert.ok(found !== undefined, `${app}@${id} has no document`);
  const revs = path.join(cluster.dir, "whole", app);
  const depots = [httpDepot(operator.client)];
  const { signal } = cluster;
  await install({ release: id, tree: found.release, depots, revs, link: false, signal });
}

async function collectBesideUploads(
  rounds: number,
  signal: AbortSignal,
  hubEnv: Readonly<Record<string, string>> = {},
): Promise<void> {
  await using cluster = await startCluster({ signal, hubProgram: collectingHub, hubEnv });
  const node = await cluster.addNode("n1");
  const publishers = await Promise.all(PUBLISHERS.map(async (name, n) => await publisher(cluster, name, n)));
  using _open = disposing(publishers);
  const days = new Days(cluster);
  const over = new AbortController();
  let deleted = 0;
  const collecting = async (): Promise<void> => {
    while (!over.signal.aborted) deleted += await days.collect();
  };
  const tidying = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await cluster.skein(["gc", "shared", "--count", "1"]); // not known yet, at first
      await cluster.ok("gc", "--depot");
    }
  };
  const publishing = async (one: Publisher): Promise<void> => {
    for (let round = 0; round < rounds; round++) await days.during(act(cluster, one, round));
  };
  await Promise.all([
    Promise.all(publishers.map(publishing)).finally(() => over.abort()),
    collecting(),
    tidying(),
  ]);
  const released = publishers.flatMap(({ released: of }) =>
    [...of].flatMap(([app, ids]) => ids.map((id) => ({ app, id }))),
  );
  assert.ok(released.length > 0);
  const [reader = assert.fail()] = publishers;
  // Publishers are gone, and four more days pass: what nobody needs goes, and nothing else.
  for (let n = 0; n < 4; n++) deleted += await days.collect();
  assert.ok(deleted > 0, "what was given up has gone");
  for (const { app, id } of released) await readWhole(cluster, reader, app, id);
  const { noted, retired, waiting } = await reader.operator.client.call("depotCollect", {
    body: { dryRun: true },
  });
  assert.deepEqual([noted.blobs, retired.blobs, waiting.blobs], [0, 0, 0]);

  const late = await cluster.addNode("n2");
  const apps = new Set(released.map(({ app }) => app));
  for (const app of apps) {
    await cluster.until(`${app} on both nodes`, async () => {
      const [one, two] = [await currentOf(node, app), await currentOf(late, app)];
      return one !== undefined && one === two;
    });
  }
}

const currentOf = async ({ home }: AgentProcess, app: string): Promise<string | undefined> =>
  await fs.readlink(path.join(home, "lib/apps", app, "current")).catch(() => undefined);

function disposing(publishers: readonly Publisher[]): Disposable {
  return {
    [Symbol.dispose]: () => {
      for (const { operator } of publishers) operator[Symbol.dispose]();
    },
  };
}

test(`nothing that is published through a live hub whose releases lie in a bucket is lost either, seed ${SEED} (long)`, async (t) => {
  const s3 = await server();
  await collectBesideUploads(5, t.signal, { ...s3.env, SKEIN_DEPOT: `s3://${await s3.makeBucket()}/skein` });
});

test(`nothing that is published through a live hub is lost to collections beside it, seed ${SEED} (long)`, async (t) => {
  await collectBesideUploads(8, t.signal);
});
