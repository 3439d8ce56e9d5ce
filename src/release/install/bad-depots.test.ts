/** Installing from buckets and hubs that fail, cut, shorten and alter what they send. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { badHub } from "../../depot/http/bad-hub.fixture.ts";
import type { Fault } from "../../depot/seam/depot-faults.conformance.ts";
import type { Depot, DepotReader } from "../../depot/seam/depot.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { badMiddle } from "../../depot/s3/bad-middle.fixture.ts";
import { openBucket } from "../../depot/s3/bucket.ts";
import { s3Depot } from "../../depot/s3/s3-depot.ts";
import { freshBucket, sharedS3Server } from "../../depot/s3/s3-server.fixture.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { install } from "./install.ts";
import { publish, type Published } from "../publish/publish.ts";
import {
  noise,
  plainSource,
  readTree,
  releaseId,
  tempDir,
  writeTree,
  type Tree,
} from "../release.fixture.ts";

const server = sharedS3Server({ conditional: false });
const TREE: Tree = {
  "a/b.txt": "hello",
  big: noise(900_000, 5),
  other: noise(300_000, 7),
  "x.sh": "x:#!/bin/sh",
};
const PATIENCE = { answerMs: 5000, pace: { windowMs: 5000, leastBytes: 1000 } };
const clock = { now: () => Date.now(), sleep: async () => await Promise.resolve() };

interface BadWorld {
  readonly folder: string;
  readonly tree: Published;
  readonly bad: DepotReader;
  readonly honest: DepotReader;
  /** What becomes of the `n`th request for a blob. */
  misbehave: (n: number) => Fault | undefined;
  /** Alters a blob's bytes. */
  distort: (name: string, body: Buffer) => Buffer;
}

async function publishTo(t: TestContext, folder: string, depot: Depot): Promise<Published> {
  const source = plainSource(writeTree(path.join(folder, "tree"), TREE));
  return await publish({ source, depot, previous: null, now: 0, cacheDir: null, signal: t.signal });
}

async function badBucket(t: TestContext): Promise<BadWorld> {
  const folder = tempDir(t);
  const middle = await badMiddle(t, await server());
  const options = { clock, patience: { connectMs: 5000, ...PATIENCE } };
  const bucket = await freshBucket(t, await server(), options, middle.env);
  const straight = await openBucket(bucket.name, (await server()).env);
  atEnd(t, () => straight[Symbol.dispose]());
  const honest = s3Depot(straight, "");
  let requests = 0;
  const tree = await publishTo(t, folder, honest);
  const world: BadWorld = {
    folder,
    tree,
    honest,
    bad: s3Depot(bucket, ""),
    misbehave: () => undefined,
    distort: (_name, body) => body,
  };
  middle.misbehave = () => world.misbehave((requests += 1));
  middle.distort = ({ url = "" }, body) => world.distort(url, body);
  return world;
}

async function lyingHub(t: TestContext): Promise<BadWorld> {
  const folder = tempDir(t);
  const honest = directoryDepot(path.join(folder, "depot"));
  const tree = await publishTo(t, folder, honest);
  const hub = await badHub(t, honest);
  const world: BadWorld = {
    folder,
    tree,
    honest,
    bad: httpDepot(hub.transport, { clock, ...PATIENCE }),
    misbehave: () => undefined,
    distort: (_name, body) => body,
  };
  hub.misbehave = (n) => world.misbehave(n);
  hub.distort = (name, body) => world.distort(name, body);
  return world;
}

async function installFrom(t: TestContext, world: BadWorld, depots: readonly DepotReader[]): Promise<string> {
  const revs = path.join(world.folder, "revs");
  const options = { release: releaseId(1), tree: world.tree, revs, link: false, signal: t.signal };
  return (await install({ ...options, depots })).dir;
}

function assertWhole(dir: string): void {
  const found = readTree(dir);
  for (const [at, content] of Object.entries(TREE)) assert.deepEqual(found[at], content, at);
}

for (const [kind, open] of [
  ["a bucket", badBucket],
  ["a hub", lyingHub],
] as const) {
  test(`from ${kind} that fails again and again, a release is put down whole`, async (t) => {
    const world = await open(t);
    const faults: readonly Fault[] = [
      { kind: "cut", afterBytes: 5000 },
      { kind: "status", status: 500 },
      { kind: "shorten" },
      { kind: "garbage" },
      { kind: "cut", afterBytes: 200_000 },
    ];
    world.misbehave = (n) => (n % 2 === 0 ? faults[(n / 2) % faults.length] : undefined);
    assertWhole(await installFrom(t, world, [world.bad]));
  });

  for (const folder of ["packs/", "index/", "rows/", "since/"]) {
    test(`from ${kind} whose ${folder} are altered nothing is activated, and elsewhere it goes on`, async (t) => {
      const world = await open(t);
      world.distort = (name, body) => {
        if (!name.includes(folder) || body.length === 0) return body;
        const bad = Buffer.from(body);
        const at = bad.length >> 1;
        bad[at] = (bad[at] ?? 0) ^ 0x55;
        return bad;
      };
      const outcome = await installFrom(t, world, [world.bad]).catch((err: unknown) => err);
      assert.ok(isSkeinError(outcome), String(outcome));
      assert.match(outcome.code, /CORRUPT|MISSING|REFUSED/, outcome.message);
      assert.ok(!fs.existsSync(path.join(world.folder, "revs", releaseId(1))), "it is not there");
      assertWhole(await installFrom(t, world, [world.bad, world.honest]));
    });
  }
}
