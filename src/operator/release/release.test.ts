import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { globSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "../../lib/time/clock.ts";
import type { Depot } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { GRACE_MS } from "../../release/tree/published.ts";
import { noise, plainSource, writeTree } from "../../release/release.fixture.ts";
import { isStored } from "../../release/fetch/tree-blobs.ts";
import { removeDamaged } from "../../release/upkeep/damaged.ts";
import { cluster } from "../cluster.fixture.ts";
import { findTarget } from "../deploy/target.ts";
import { makeRelease } from "./release.fixture.ts";
import { beginRelease, lookAhead } from "./release.ts";

test("a publisher whose machine slept for days in the middle sends again what the hub collected meanwhile", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const source = plainSource(writeTree(path.join(dir, "app"), { big: noise(1_000_000, 1) }));
  const packs = (): string[] => globSync(path.join(dir, "**/packs/*")).sort();
  let looks = 0;
  let before: string[] = [];
  const sleepy = {
    ...operator,
    clock: {
      ...systemClock,
      now() {
        looks += 1;
        if (looks === 1) return Date.now();
        // It wakes, and this is what three collections have left.
        if (before.length === 0) before = packs();
        for (const pack of before) rmSync(pack, { force: true });
        return Date.now() + GRACE_MS;
      },
    },
  };
  await makeRelease(sleepy, { source, app: "app", depot: httpDepot(operator.client), signal });
  assert.ok(before.length > 0);
  assert.deepEqual(packs(), before);
});

test("what a collection takes out of use between a publisher's look and its release is sent again", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const depot = httpDepot(operator.client);
  const app = writeTree(path.join(dir, "app"), { small: noise(1000, 1) });
  await makeRelease(operator, { source: plainSource(app), app: "app", depot, signal });
  const shared = globSync(path.join(dir, "**/packs/*"));
  assert.ok(shared.length > 0);
  writeFileSync(path.join(app, "more"), "more");
  const ahead = lookAhead(operator, "app", depot, signal);
  const postRelease = operator.client.postRelease.bind(operator.client);
  const begun = beginRelease(operator, { source: plainSource(app), ahead, signal });
  t.mock.method(operator.client, "postRelease", async (...args: Parameters<typeof postRelease>) => {
    for (const pack of shared) rmSync(pack, { force: true });
    return await postRelease(...args);
  });
  const { posted, release } = await begun;
  await posted;
  assert.ok(await isStored(depot, release, signal));
});

test("a release whose publishing was answered, and the answer lost, is sent again", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const source = plainSource(writeTree(path.join(dir, "app"), { small: "small" }));
  const lost = new SkeinError("HUB_UNREACHABLE", "did not answer within 30000 ms");
  let sent = 0;
  for (const name of ["postRelease", "release"] as const) {
    const whole = operator.client[name].bind(operator.client) as (...args: unknown[]) => Promise<unknown>;
    let isFirst = true;
    t.mock.method(operator.client, name, async (...args: unknown[]) => {
      sent += name === "postRelease" ? 1 : 0;
      const answer = await whole(...args).catch((err: unknown) => {
        if (!isFirst) throw err;
      });
      if (!isFirst) return answer;
      isFirst = false;
      throw lost;
    });
  }
  const quick = { ...operator, clock: { ...operator.clock, sleep: async () => await Promise.resolve() } };
  const depot = httpDepot(operator.client);
  const { id } = await makeRelease(quick, { source, app: "app", depot, signal });
  assert.equal(sent, 2);
  assert.ok((await operator.client.releases({ app: "app" }, signal)).some((one) => one.id === id));
});

test("what is damaged in a hub's depot is found from afar and removed, and sent again by who publishes", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const source = plainSource(writeTree(path.join(dir, "app"), { big: noise(1_000_000, 1) }));
  const depot = httpDepot(operator.client);
  const make = async () => {
    await makeRelease(operator, { source, app: "app", depot, signal });
    return (
      globSync(path.join(dir, "**/packs/*")).find((file) => statSync(file).size > 1_000_000) ?? assert.fail()
    );
  };
  const pack = await make();
  const good = readFileSync(pack);
  const bad = Buffer.from(good);
  bad.writeUInt8(bad.readUInt8(500_000) ^ 1, 500_000);
  writeFileSync(pack, bad);
  const damaged = async () => (await removeDamaged({ depot, dryRun: false, signal })).damaged.length;
  assert.deepEqual([await damaged(), await damaged()], [1, 0]);
  assert.equal(await make(), pack);
  assert.ok(readFileSync(pack).equals(good));
});

test("where the blobs of a release that is known do not arrive, whoever waits for it is told, however late", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const source = plainSource(writeTree(path.join(dir, "app"), { small: "a" }));
  const whole = httpDepot(operator.client);
  await makeRelease(operator, { source, app: "app", depot: whole, signal });
  for (const pack of globSync(path.join(dir, "**/packs/*"))) rmSync(pack);
  const lost = new Error("lost");
  const broken: Depot = { ...whole, put: async () => await Promise.reject(lost) };
  const begun = await beginRelease(operator, {
    source,
    ahead: lookAhead(operator, "app", broken, signal),
    signal,
  });
  assert.ok(begun.already);
  for (let turns = 0; turns < 100; turns += 1) await turn(); // rejected by now, and nobody waits
  await assert.rejects(begun.posted, lost);
});

test("a commit whose bytes the depot has lost is published again by whoever deploys it, whatever it is called", async (t) => {
  const { operator, options, dir } = await cluster(t);
  const repo = writeTree(path.join(dir, "shop"), { "skein.yaml": "kind: files\n", a: "a" });
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args], { cwd: repo });
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-qm", "one");
  const first = await findTarget(operator, options({ cwd: repo }));
  const packs = (): string[] => globSync(path.join(dir, "**/packs/*")).sort();
  const whole = packs();
  assert.ok(whole.length > 0);
  for (const version of [null, "main", first.release]) {
    for (const pack of packs()) rmSync(pack);
    const again = await findTarget(operator, options({ cwd: repo, app: "shop", version }));
    assert.equal(again.release, first.release);
    assert.deepEqual(packs(), whole, `named ${version}`);
  }
});
