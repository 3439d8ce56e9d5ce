import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { digestOf, type ReleaseId } from "../../lib/text/ids.ts";
import { Fetcher } from "../../release/fetch/fetcher.ts";
import { publish } from "../../release/publish/publish.ts";
import { noise, plainSource, tempDir, writeTree } from "../../release/release.fixture.ts";
import { loadTree } from "../../release/fetch/tree-blobs.ts";
import type { Order } from "../../trust/document/documents.ts";
import { seal } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { collectDepot } from "./depot-upkeep.ts";
import { startTestHub, type TestHub } from "../hub.fixture.ts";
import { keptReleases } from "./kept-releases.ts";
import type { OrderRecord } from "../records/keys.ts";

const DAY_MS = 24 * 3_600_000;

async function publishOn(hub: TestHub, dir: string, signal: AbortSignal) {
  const depot = httpDepot(hub.client);
  return await publish({ source: plainSource(dir), depot, previous: null, now: 0, cacheDir: null, signal });
}

test("a hub's depot keeps what its releases need, and loses the rest in three runs", async (t) => {
  const hub = await startTestHub(t);
  const folder = tempDir(t);
  const made = writeTree(`${folder}/made`, { a: noise(20_000, 1) });
  const kept = await publishOn(hub, made, t.signal);
  await publishOn(hub, writeTree(`${folder}/lost`, { a: noise(20_000, 2) }), t.signal);
  const { cluster } = hub;
  const { tree, rows, since, files, bytes } = kept;
  const release = await seal(
    "release.1",
    {
      cluster: cluster.id,
      app: "shop",
      tree,
      rows,
      since,
      commit: null,
      source: { kind: "dir", name: "shop" },
      builder: cluster.operator.kid,
      created: new Date().toISOString(),
      files,
      bytes,
    },
    [cluster.operator],
  );
  await hub.client.call("postRelease", { body: { release } });
  const first = await hub.client.call("depotCollect", { body: { dryRun: false } });
  assert.deepEqual([first.kept.blobs, first.noted.blobs], [4, 3]);
  // The operator's session would not outlive the days that pass here.
  let days = 0;
  const clock = { ...hub.hub.core.clock, now: () => Date.now() + days * (DAY_MS + 60_000) };
  const later = { ...hub.hub, core: { ...hub.hub.core, clock } };
  for (const what of ["retired", "deleted"] as const) {
    days += 1;
    assert.equal((await collectDepot(later, false, t.signal))[what].blobs, 3, what);
  }
  await loadTree(new Fetcher([httpDepot(hub.client)], t.signal), kept);
  const names = await Array.fromAsync(hub.hub.core.depot.list("", t.signal));
  assert.equal(names.filter((name) => !/^(?:upkeep|owners)\//.test(name)).length, 4);
});

test("a dry run of a hub's collection leaves everything as it is", async (t) => {
  const hub = await startTestHub(t);
  await publishOn(hub, writeTree(`${tempDir(t)}/tree`, { a: noise(20_000, 1) }), t.signal);
  const before = await Array.fromAsync(hub.hub.core.depot.list("", t.signal));
  const counted = await hub.client.call("depotCollect", { body: { dryRun: true } });
  assert.equal(counted.noted.blobs, 4);
  assert.deepEqual(await Array.fromAsync(hub.hub.core.depot.list("", t.signal)), before);
});

/** A release that is told by a letter. */
const idOf = (letter: string): ReleaseId => createHash("md5").update(letter).digest("hex") as ReleaseId;

interface MadeOrder {
  readonly release: string;
  readonly selector?: string;
  readonly fallback?: string;
  readonly beside?: string;
  readonly settled?: boolean;
}

/** Which letters are kept. @param log newest first @param releases newest first */
async function keptOf(log: readonly MadeOrder[], releases: string, staged = ""): Promise<string> {
  const records = log.map((_, i): OrderRecord => {
    return {
      digest: digestOf(String(i)),
      epoch: 1,
      seq: log.length - i,
      order: { t: "order.1", p: "", s: [] },
    };
  });
  const made = (record: OrderRecord): MadeOrder => log[records.indexOf(record)] ?? { release: "" };
  const envelopes = await Promise.all(
    Array.from(releases, async (letter) => ({ letter, envelope: await releaseOf(letter) })),
  );
  const parts: Parameters<typeof keptReleases>[0] = {
    commands: { releases: () => Array.from(staged, (letter) => ({ app: "shop", release: idOf(letter) })) },
    orders: {
      appEnvs: () => [{ app: "shop", env: "default" }],
      log: () => records,
      body: (record) => {
        const { release, selector = "all", fallback, beside } = made(record);
        const body: Partial<Order> = {
          release: idOf(release),
          selector,
          fallback: fallback === undefined ? null : idOf(fallback),
          beside: beside === undefined ? [] : [idOf(beside)],
        };
        return body as Order;
      },
      settle: (order) => {
        const record = records.find(({ digest }) => String(digest) === order);
        const published = record !== undefined && made(record).settled === true;
        return { settle: { t: "settle.1", p: "", s: [] }, published, receipts: [] };
      },
    },
    releases: {
      get: (_app, id) => envelopes.find(({ letter }) => idOf(letter) === id)?.envelope,
      list: () =>
        envelopes.map(({ letter, envelope }) => ({
          id: idOf(letter),
          app: "shop",
          commit: null,
          created: "",
          files: 0,
          bytes: 0,
          release: envelope,
        })),
    },
  };
  const trees = new Set<string>([...keptReleases(parts, { orders: 2, releases: 2 })].map(({ tree }) => tree));
  return Array.from(releases)
    .filter((letter) => trees.has(digestOf(letter)))
    .join("");
}

async function releaseOf(letter: string) {
  const cluster = "0".repeat(32);
  const signer = generateSigner();
  const tree = digestOf(letter);
  const body = { cluster, app: "shop", tree, rows: tree, since: null, commit: null, builder: signer.kid };
  const more = { source: { kind: "dir", name: "" }, created: new Date(0).toISOString(), files: 0, bytes: 0 };
  return await seal("release.1", { ...body, ...more } as never, [signer]);
}

test("kept are the newest releases, what the newest orders name, and what a node may still come to", async () => {
  assert.equal(await keptOf([], "abcdef"), "ab");
  assert.equal(await keptOf([], "abcdef", "e"), "abe", "a node may still come and get it");
  assert.equal(await keptOf([{ release: "d", fallback: "e" }], "abcdef"), "abde");
  assert.equal(await keptOf([{ release: "d", beside: "f" }], "abcdef"), "abdf");
  const [old, older, oldest] = [{ release: "d" }, { release: "e" }, { release: "f" }];
  assert.equal(await keptOf([{ release: "c" }, old, older, oldest], "abcdef"), "abcd");
  assert.equal(await keptOf([{ release: "c" }, old, { ...older, settled: true }, oldest], "abcdef"), "abcde");
  assert.equal(
    await keptOf([{ release: "c" }, old, older, { ...oldest, selector: "role=db" }], "abcdef"),
    "abcdf",
  );
});
