/** What gc, purge and pins remove and keep on a node, also while it is being deployed to. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { releaseIdOf } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { answer, webApp, world, type World } from "../agent.fixture.ts";
import { ask, type Line } from "../programs/command.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const idOf = (release: Envelope): ReleaseId => releaseIdOf(readUnverified(release, "release.1"));
const revs = (w: World): Set<string> =>
  new Set(
    fs.readdirSync(path.join(w.paths.lib, "apps/shop/revs")).filter((name) => /^[0-9a-f]{32}$/.test(name)),
  );

async function stage(w: World, release: Envelope): Promise<void> {
  const lines = await ask(w, "stage", { release: idOf(release), document: JSON.stringify(release) });
  assert.equal(lines.at(-1)?.["ok"], true);
}

const removedIn = (lines: readonly Line[]): unknown[] =>
  lines.filter(({ type }) => type === "removed").map(({ release }) => release);

test("one release is purged by name; what is active, held by an order or pinned is not (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const [spare, held] = [await w.publish(webApp(port, "spare")), await w.publish(webApp(port, "held"))];
  const running = await w.deploy(webApp(port, "v1"));
  await w.receipt(running.digest, "ok");
  await stage(w, spare);
  const refusal = async (release: string): Promise<unknown> =>
    (await ask(w, "purge", { release })).at(-1)?.["code"];
  assert.equal(await refusal(running.release), "REVISION_ACTIVE");
  await ask(w, "pin", { release: idOf(spare), pinned: true });
  assert.equal(await refusal(idOf(spare)), "REVISION_ACTIVE");
  await ask(w, "pin", { release: idOf(spare), pinned: false });
  assert.deepEqual(removedIn(await ask(w, "purge", { release: idOf(spare), dry: true })), [idOf(spare)]);
  assert.ok(revs(w).has(idOf(spare)), "only asked");
  assert.deepEqual(removedIn(await ask(w, "purge", { release: idOf(spare) })), [idOf(spare)]);
  assert.deepEqual(revs(w), new Set([running.release]));
  assert.deepEqual(removedIn(await ask(w, "purge", { release: idOf(spare) })), [], "it is gone already");
  // An order that may not start yet needs its release all the same.
  await stage(w, held);
  const order = await w.order(held);
  const releases = [...w.offered.releases, held];
  w.offer({ orders: [order.envelope], releases, gates: { [order.digest]: "hold" } });
  await eventually("the order is known", async () => {
    const head = w.report()?.apps[0]?.head;
    return head === order.digest;
  });
  assert.equal(await refusal(idOf(held)), "REVISION_ACTIVE");
});

test("a node that was never told to run an app has nothing to refuse, and lets go what was staged there", async (t) => {
  const w = await world(t);
  await w.agent();
  const spare = await w.publish(webApp(await freePort(), "spare"));
  const release = idOf(spare);
  assert.deepEqual(await ask(w, "gc", {}), [{ type: "result", ok: true }]);
  assert.deepEqual(await ask(w, "purge", { release }), [{ type: "result", ok: true }]);
  await stage(w, spare);
  assert.deepEqual(removedIn(await ask(w, "gc", {})), [], "it is kept for its deployment");
  assert.deepEqual(removedIn(await ask(w, "purge", { release })), [release]);
  assert.deepEqual(revs(w), new Set());
});

test("who may deploy one environment pins nothing where the node holds another", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const release = idOf(await w.publish(webApp(port, "spare")));
  const pin = async (env: string, pinned: boolean): Promise<unknown> =>
    (await ask(w, "pin", { release, pinned }, { env })).at(-1)?.["code"];
  assert.equal(await pin("staging", true), undefined, "it holds none yet");
  assert.equal(await pin("staging", false), undefined);
  const running = await w.deploy(webApp(port, "v1"));
  await w.receipt(running.digest, "ok");
  assert.equal(await pin("staging", true), "APP_NOT_FOUND");
  assert.equal(await pin("default", true), undefined);
});

test("gc keeps pins whatever it is told, goes by count and age, and tells before it does (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const ids: ReleaseId[] = [];
  for (const version of ["v1", "v2", "v3", "v4"]) {
    const deployed = await w.deploy(webApp(port, version));
    await w.receipt(deployed.digest, "ok");
    ids.push(deployed.release);
  }
  const [v1, v2, v3, v4] = ids;
  await ask(w, "pin", { release: v1 ?? "", pinned: true });
  const tomorrow = Date.now() + 86_400_000;
  assert.deepEqual(removedIn(await ask(w, "gc", { count: 1, before: 1 })), [], "nothing is that old");
  assert.deepEqual(removedIn(await ask(w, "gc", { count: 1, dry: true })), [v2]);
  assert.equal(revs(w).size, 4);
  assert.deepEqual(removedIn(await ask(w, "gc", { count: 1, before: tomorrow })), [v2]);
  assert.deepEqual(revs(w), new Set([v1, v3, v4]), "the pin, what was good before, what runs");
  assert.equal(await answer(port), "v4");
});

test("what gc removed and an order brings back is made ready anew (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const trace = `echo "$SKEIN_HOOK $(cat version)" >> "$SKEIN_DATA/trace"\n`;
  const hooks = { "post-sync.sh": trace, "pre-remove.sh": trace };
  const deploy = async (version: string): Promise<void> => {
    const deployed = await w.deploy({ ...webApp(port, version), ...hooks, version });
    await w.receipt(deployed.digest, "ok");
  };
  for (const version of ["v1", "v2", "v3"]) await deploy(version);
  await ask(w, "gc", { count: 1 });
  await deploy("v1");
  await deploy("v3");
  const lines = fs.readFileSync(path.join(w.paths.lib, "apps/shop/data/trace"), "utf8").trim().split("\n");
  const first = ["v1", "v2", "v3"].map((version) => `post-sync ${version}`);
  assert.deepEqual(lines, [...first, "pre-remove v1", "post-sync v1"]);
});

test("a forecast tells what a release would cost, and what gc would free, which gc then frees (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const tree = (version: string, more = ""): Record<string, string> => ({
    "skein.yaml": `${String(webApp(port, version)["skein.yaml"])}keep: { releases: 1, good: 1 }\n`,
    "web.js": String(webApp(port, version)["web.js"]),
    "own.txt": more,
  });
  const first = await w.deploy(tree("v1", "x".repeat(50_000)));
  await w.receipt(first.digest, "ok");
  await ask(w, "pin", { release: first.release, pinned: true });
  for (const version of ["v2", "v3"]) await w.receipt((await w.deploy(tree(version))).digest, "ok");
  const next = await w.publish(tree("v4", "y".repeat(20_000)));
  const told = async (): Promise<Line> => {
    const [line] = await ask(w, "forecast", { release: idOf(next), document: JSON.stringify(next) });
    return line ?? {};
  };
  const pinned = await told();
  assert.deepEqual([pinned["gcReleases"], pinned["gcBytes"]], [0, 0]);
  assert.ok(Number(pinned["diskBytes"]) >= 20_000);
  await ask(w, "pin", { release: first.release, pinned: false });
  const free = await told();
  assert.equal(free["gcReleases"], 1);
  assert.ok(Number(free["gcBytes"]) >= 50_000, JSON.stringify(free));
  assert.deepEqual(removedIn(await ask(w, "gc", {})), [first.release]);
});

test("a release that is only pinned can still be looked at after a restart of the agent (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const stop = await w.agent();
  const running = await w.deploy(webApp(port, "v1"));
  await w.receipt(running.digest, "ok");
  const pinned = await w.publish(webApp(port, "pinned"));
  await stage(w, pinned);
  await ask(w, "pin", { release: idOf(pinned), pinned: true });
  for (const later of ["a", "b", "c"]) await stage(w, await w.publish(webApp(port, later)));
  await stop();
  await w.agent();
  const lines = await ask(w, "drift", { files: true, release: idOf(pinned) });
  assert.deepEqual(
    lines.map(({ type, ok, code }) => [type, ok, code]),
    [
      ["compared", undefined, undefined],
      ["result", true, undefined],
    ],
  );
});

test("what was fetched of a release that nobody wants any more goes with the next deployment (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const first = await w.deploy(webApp(port, "v1"));
  await w.receipt(first.digest, "ok");
  const installs = path.join(w.paths.lib, "apps/shop/revs/.install");
  const staged = idOf(await w.publish(webApp(port, "staged")));
  await ask(w, "pin", { release: staged, pinned: true });
  const begun = [`${"0".repeat(32)}.stage`, `${"1".repeat(32)}.fresh`, `${staged}.stage`];
  for (const name of begun) fs.mkdirSync(path.join(installs, name, "folder"), { recursive: true });
  fs.mkdirSync(path.join(path.dirname(installs), "2".repeat(32)));
  const next = await w.deploy(webApp(port, "v2"));
  await w.receipt(next.digest, "ok");
  await eventually("it is gone", async () => {
    const left = fs.readdirSync(installs).filter((name) => !/\.(record|synced)$/.test(name));
    assert.deepEqual(left, [`${staged}.stage`]);
    assert.deepEqual(revs(w), new Set([first.release, next.release]));
    return true;
  });
});

test("no gc takes what is being installed, staged or switched to (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const first = await w.deploy(webApp(port, "v0"));
  await w.receipt(first.digest, "ok");
  const stop = new AbortController();
  const collecting = (async () => {
    while (!stop.signal.aborted) assert.equal((await ask(w, "gc", { count: 0 })).at(-1)?.["ok"], true);
  })();
  for (const version of ["v1", "v2"]) {
    const noise = { "noise.txt": `${version} `.repeat(200_000) };
    const next = await w.publish(webApp(port, version, noise));
    await stage(w, next);
    const ordered = await w.order(next);
    const releases = [...w.offered.releases, next];
    w.offer({ orders: [ordered.envelope], releases, gates: { [ordered.digest]: "go" } });
    await w.receipt(ordered.digest, "ok");
    assert.equal(await answer(port), version);
    const drift = await ask(w, "drift", { files: true });
    assert.deepEqual(
      drift.filter(({ type }) => type === "difference" || type === "missing"),
      [],
    );
  }
  stop.abort();
  await collecting;
});
