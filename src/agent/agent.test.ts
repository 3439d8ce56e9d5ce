import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { systemClock } from "../lib/time/clock.ts";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import type { Report } from "../api/schemas.ts";
import { labelFor } from "../trust/cluster.fixture.ts";
import { readUnverified, seal, type Envelope } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { answer, ended, settleOf, webApp, world, type World } from "./agent.fixture.ts";
import { endKeeper } from "./runtime/runtime.fixture.ts";
import { KeeperClient } from "../keeper/client.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { watchful, WINDOW_MS } from "./watchful.fixture.ts";

/** Quick to judge: ready when it waits on its socket. */
const quick = (port: number, version: string, extra = ""): Record<string, string> => ({
  ...(webApp(port, version) as Record<string, string>),
  "skein.yaml": `app: shop\nprocesses:\n  web:\n    run: node web.js\n    listen: ${port}\n    drain: { window: ${WINDOW_MS}ms, within: 20s }\n${extra}`,
});

async function started(t: TestContext): Promise<{ w: World; port: number }> {
  const w = await world(t);
  await w.agent();
  return { w, port: await freePort() };
}

/** Asks without pause until `stop` is called; gives every answer that was lost or not one of `good`. */
function load(
  t: TestContext,
  port: number,
  good: readonly string[],
): () => Promise<{ asked: number; bad: readonly string[] }> {
  const asking = watchful(port, new Set(good), 0);
  atEnd(t, async () => await asking.end());
  return async () => ({ asked: await asking.end(), bad: asking.bad });
}

test("a first order is fetched, judged, attached and answered with a receipt", async (t) => {
  const { w, port } = await started(t);
  const first = await w.deploy(webApp(port, "one"));
  const receipt = await w.receipt(first.digest);
  assert.deepEqual([receipt.verdict, receipt.code, receipt.release], ["ok", null, first.release]);
  assert.equal(await answer(port), "one");
  assert.equal(w.current(), first.release);
  await eventually("a report of it", async () => {
    const report = w.report();
    return report?.apps[0]?.state === "running" && report.instances[0]?.state === "serving";
  });
});

test("versions change hands under load, and one whose verify fails is undone by itself", async (t) => {
  const { w, port } = await started(t);
  await w.receipt((await w.deploy(quick(port, "one"))).digest);
  const stop = load(t, port, ["one", "two"]);
  const second = await w.deploy(quick(port, "two"));
  assert.equal((await w.receipt(second.digest)).verdict, "ok");
  const bad = await w.deploy(quick(port, "three", "verify: sh check.sh\n"));
  assert.equal((await w.receipt(bad.digest)).verdict, "failed");
  const { asked, bad: lost } = await stop();
  assert.deepEqual(lost, [], `of ${asked}`);
  assert.equal(await answer(port), "two");
  assert.equal(w.current(), second.release);
});

test("the receipt of a failed verify says what it said", async (t) => {
  const { w, port } = await started(t);
  const bad = await w.deploy({
    ...quick(port, "one", "verify: sh check.sh\n"),
    "check.sh": "echo no greeting; exit 4",
  });
  const receipt = await w.receipt(bad.digest);
  assert.equal(receipt.code, "VERIFY_FAILED");
  assert.match(receipt.message ?? "", /verify: exit status 4: no greeting \(nothing runs\)/);
  assert.equal(w.current(), undefined);
  await assert.rejects(answer(port));
});

test("the receipt of a failure says what to do, where that is more than its code says", async (t) => {
  const { w, port } = await started(t);
  const listen = `{ a: { port: ${port}, handover: node }, b: { port: ${await freePort()}, handover: gap } }`;
  const mixed = await w.deploy({
    ...webApp(port, "one"),
    "skein.yaml": `app: shop\nprocesses: { web: { run: node web.js, listen: ${listen} } }\n`,
  });
  const receipt = await w.receipt(mixed.digest);
  assert.equal(receipt.code, "HANDOVER_REFUSED");
  assert.match(receipt.hint ?? "", /^Give all sockets of one process the same handover/);
  const bad = await w.deploy({ ...quick(port, "two", "verify: sh check.sh\n"), "check.sh": "exit 4" });
  assert.equal((await w.receipt(bad.digest)).hint, undefined, "the code's own is known to whoever reads it");
});

const HOOKS = [
  ["post-sync", "exit 3", undefined, "HOOK_FAILED one"],
  ["post-sync", "sleep 30", 300, "HOOK_TIMEOUT one"],
  ["pre-jump", "exit 3", undefined, "HOOK_FAILED one"],
  ["pre-jump", "sleep 30", 300, "HOOK_TIMEOUT one"],
  ["post-jump", "exit 3", undefined, "HOOK_FAILED one"],
  ["post-jump", "sleep 30", 300, "HOOK_TIMEOUT one"],
] as const;

test("a hook that fails or hangs leaves the old version serving", async (t) => {
  const { w, port } = await started(t);
  const trace = 'echo "$SKEIN_HOOK ${SKEIN_RELEASE} ${SKEIN_PREVIOUS}" >> "$SKEIN_DATA/trace"\n';
  const traced = (): string[] =>
    fs.readFileSync(path.join(w.paths.lib, "apps/shop/data/trace"), "utf8").trim().split("\n");
  const hooks = Object.fromEntries(
    ["post-sync", "pre-jump", "un-jump", "post-jump"].map((name) => [`${name}.sh`, trace]),
  );
  const one = await w.deploy({ ...quick(port, "one"), ...hooks });
  await w.receipt(one.digest);
  for (const [hook, text, withinMs, outcome] of HOOKS) {
    await t.test(`a ${hook} that ${withinMs === undefined ? "fails" : "hangs"}`, async () => {
      const before = traced().length;
      const key = hook.replace("-", "_");
      const manifest =
        withinMs === undefined ? "" : `hooks: { ${key}: { run: '${text}', within: ${withinMs}ms } }\n`;
      const own = withinMs === undefined ? { [`${hook}.sh`]: `${trace}${text}\n` } : {};
      const tree = { ...quick(port, "two", manifest), ...hooks, ...own };
      const two = await w.deploy(tree, { fallback: one.release });
      const receipt = await w.receipt(two.digest);
      assert.equal(`${receipt.code} ${await answer(port)}`, outcome);
      assert.equal(w.current(), one.release);
      const second = traced()
        .slice(before)
        .map((line) => line.replaceAll(one.release, "A").replaceAll(two.release, "B"));
      const past = [
        "post-sync B A",
        "pre-jump B A",
        "un-jump A B",
        "post-jump B A",
        "un-jump B A",
        "pre-jump A B",
        "post-jump A B",
      ];
      const expected = { "post-sync": past.slice(0, 1), "pre-jump": past.slice(0, 2), "post-jump": past }[
        hook
      ];
      assert.deepEqual(
        second,
        withinMs === undefined ? expected : expected.filter((line) => !line.startsWith(`${hook} B`)),
      );
    });
  }
});

test("a failing un-jump does not hold the node back", async (t) => {
  const { w, port } = await started(t);
  await w.receipt((await w.deploy({ ...quick(port, "one"), "un-jump.sh": "exit 9" })).digest);
  const two = await w.deploy(quick(port, "two"));
  const { verdict, code, message } = await w.receipt(two.digest);
  assert.deepEqual([verdict, code, message], ["ok", "HOOK_FAILED", "un-jump: exit status 9"]);
  assert.equal(await answer(port), "two");
  assert.match(w.hooksLog(), /un-jump \| \(exit status 9\)/);
});

/** A hook that writes down its process and hangs. */
const HANGS = "echo $$ > $SKEIN_DATA/pid; exec sleep 50";

for (const hook of ["pre-jump", "un-jump"]) {
  test(`a ${hook} that hangs when its order is taken back is waited for; killed by hand, it lets the node go back`, async (t) => {
    const w = await world(t);
    const port = await freePort();
    let [isTold, isHeard] = [false, false];
    await w.agent({
      source: (folder) => ({
        wanted: async (...args) => {
          isHeard ||= isTold; // who asks again has taken in what it was told
          const wanted = await folder.wanted(...args);
          isTold ||= Object.values(wanted?.apps[0]?.gates ?? {}).includes("undo");
          return wanted;
        },
      }),
    });
    const trace = 'echo "$SKEIN_HOOK" >> "$SKEIN_DATA/trace"\n';
    const hooks = { "pre-jump.sh": trace, "post-jump.sh": trace };
    const one = await w.deploy({
      ...quick(port, "one"),
      ...hooks,
      ...(hook === "un-jump" ? { "un-jump.sh": HANGS } : {}),
    });
    await w.receipt(one.digest);
    const two = await w.deploy(
      { ...quick(port, "two"), ...(hook === "pre-jump" ? { "pre-jump.sh": HANGS } : {}) },
      { fallback: one.release },
    );
    const data = (name: string): string => path.join(w.paths.lib, "apps/shop/data", name);
    const pid = await eventually("its pid", () => fs.existsSync(data("pid")) && readPid(data("pid")));
    w.offer({ gates: { [two.digest]: "undo" } });
    await eventually("the agent has heard it", () => isHeard);
    process.kill(pid, "SIGKILL");
    const { verdict, code } = await w.receipt(two.digest);
    assert.deepEqual([verdict, code], ["undone", "UNDONE_BY_HUB"]);
    assert.deepEqual([w.current(), await answer(port)], [one.release, "one"]);
    const once = ["pre-jump", "post-jump"];
    const ran = fs.readFileSync(data("trace"), "utf8").trim().split("\n");
    assert.deepEqual(
      ran,
      hook === "un-jump" ? [...once, ...once] : once,
      "who had begun to leave comes back",
    );
  });
}

const readPid = (file: string): number => Number(fs.readFileSync(file, "utf8"));

test("a first deployment whose post-jump fails leaves no current and nothing on the port", async (t) => {
  const { w, port } = await started(t);
  const one = await w.deploy({ ...quick(port, "one"), "post-jump.sh": "exit 1", "un-jump.sh": "echo left" });
  const receipt = await w.receipt(one.digest);
  assert.deepEqual([receipt.verdict, receipt.code], ["failed", "HOOK_FAILED"]);
  assert.equal(w.current(), undefined);
  await assert.rejects(answer(port));
  assert.match(w.hooksLog(), /un-jump \| left/);
});

test("an order without hooks runs none", async (t) => {
  const { w, port } = await started(t);
  const one = await w.deploy({ ...quick(port, "one"), "post-jump.sh": "exit 1" }, { hooks: "skip" });
  assert.equal((await w.receipt(one.digest)).verdict, "ok");
});

test("the hub takes an order back: the node returns to the fallback and says so (long)", async (t) => {
  const { w, port } = await started(t);
  const one = await w.deploy(quick(port, "one"));
  await w.receipt(one.digest);
  const two = await w.deploy(quick(port, "two"));
  await w.receipt(two.digest, "ok");
  const stop = load(t, port, ["one", "two"]);
  w.offer({ gates: { [two.digest]: "undo" } });
  assert.equal((await w.receipt(two.digest, "undone")).code, "UNDONE_BY_HUB");
  assert.deepEqual((await stop()).bad, []);
  assert.equal(await answer(port), "one");
  assert.equal(w.current(), one.release);
});

test("an undo after the settle, or of an order never begun (long)", async (t) => {
  const { w, port } = await started(t);
  const one = await w.deploy(quick(port, "one"), { settle: true });
  await w.receipt(one.digest, "ok");
  const held = await w.deploy(quick(port, "two"), { gate: "hold" });
  await eventually("the head", async () => w.report()?.apps[0]?.head === held.digest);
  assert.equal(await answer(port), "one");
  w.offer({ gates: { [held.digest]: "undo" } });
  assert.equal((await w.receipt(held.digest)).verdict, "undone");
  assert.equal(await answer(port), "one");
});

test("a held order waits for its gate", async (t) => {
  const { w, port } = await started(t);
  const one = await w.deploy(quick(port, "one"), { gate: "hold" });
  await eventually("the head in a report", async () => {
    return w.report() !== undefined && fs.existsSync(path.join(w.paths.lib, "state/documents"));
  });
  assert.notEqual(await answer(port).catch(() => "nobody is there"), "one");
  w.offer({ gates: { [one.digest]: "go" } });
  assert.equal((await w.receipt(one.digest)).verdict, "ok");
});

test("documents that nothing leads to any more go while the agent runs, and those of what is installed stay (long)", async (t) => {
  const { w, port } = await started(t);
  const folder = path.join(w.paths.lib, "state", "documents");
  const one = await w.deploy(quick(port, "one"));
  await w.receipt(one.digest);
  const bad = await w.deploy({ ...quick(port, "bad"), "post-sync.sh": "x:#!/bin/sh\nexit 1\n" });
  assert.equal((await w.receipt(bad.digest)).verdict, "failed");
  const first = w.offered.releases[0]!;
  // Of releases that no order names, which a source may hand over all the same.
  const other = readUnverified(await w.publish({ "page.html": "other" }), "release.1");
  const others = Array.from({ length: 250 }, async (_, n) => {
    const release = { ...other, commit: n.toString(16).padStart(40, "0") };
    return await seal("release.1", release, [w.cluster.alice]);
  });
  const again = async (more: readonly Envelope[]): Promise<readonly string[]> => {
    const next = await w.order(first);
    w.offer({ orders: [next.envelope], releases: [first, ...more], gates: { [next.digest]: "go" } });
    await w.receipt(next.digest);
    return fs.readdirSync(folder);
  };
  // So that no order leads to what failed.
  for (let n = 0; n < 3; n++) await again([]);
  assert.ok((await again(await Promise.all(others))).length > 250);
  await again([]);
  await eventually("their end", () => Promise.resolve(fs.readdirSync(folder).length < 20));
  for (const { release } of [one, bad]) assert.ok(fs.readdirSync(folder).includes(`${release}.json`));
});

test("stop, start and restart of one release (long)", async (t) => {
  const { w, port } = await started(t);
  const tree = quick(port, "one");
  await w.receipt((await w.deploy(tree)).digest);
  const release = w.offered.releases[0]!;
  const next = async (change: object): Promise<string> => {
    const ordered = await w.order(release, change);
    w.offer({ orders: [ordered.envelope], gates: { [ordered.digest]: "go" } });
    return (await w.receipt(ordered.digest)).verdict;
  };
  const pid = async (): Promise<number | null | undefined> => {
    const client = await KeeperClient.connect(path.join(w.paths.run, "keeper.sock"));
    const { instances } = await client.call("list", {});
    await client[Symbol.asyncDispose]();
    return instances.find((one) => one.state === "running")?.pid;
  };
  assert.equal(await next({ state: "stopped" }), "ok");
  await assert.rejects(answer(port));
  assert.equal(await pid(), undefined);
  assert.equal(await next({ state: "run" }), "ok");
  assert.equal(await answer(port), "one");
  const before = await pid();
  const stop = load(t, port, ["one"]);
  assert.equal(await next({ generation: 1 }), "ok");
  assert.deepEqual((await stop()).bad, []);
  assert.notEqual(await pid(), before);
});

test("a release kept beside goes on answering on its own port until it is retired (long)", async (t) => {
  const { w } = await started(t);
  const tree = (version: string): Record<string, string> => ({
    ...quick(0, version),
    "skein.yaml":
      "app: shop\nprocesses: { web: { run: node web.js, listen: { http: { port: auto } }, drain: { window: 50ms, within: 20s } } }\n",
  });
  const one = await w.deploy(tree("one"));
  await w.receipt(one.digest);
  const two = await w.deploy(tree("two"), { beside: [one.release] });
  await w.receipt(two.digest);
  const rows = await eventually("both in the report", async () => {
    const found = w.report()?.instances.filter(({ state }) => state === "serving");
    return found?.length === 2 ? found : undefined;
  });
  const answers = await Promise.all(rows.map(async ({ port }) => await answer(port!)));
  assert.deepEqual(answers.sort(), ["one", "two"]);
  const ordered = await w.order(w.offered.releases[1]!, { beside: [] });
  w.offer({ orders: [ordered.envelope], gates: { [ordered.digest]: "go" } });
  await w.receipt(ordered.digest);
  await eventually("one instance", async () => w.report()?.instances.length === 1);
});

test("instances find each other in the registry, and a dead one leaves it before its entry runs out (long)", async (t) => {
  const { w, port } = await started(t);
  const tree = {
    "skein.yaml": `app: shop\nprocesses:\n  web: { run: node web.js, listen: ${port}, after: [say], drain: { window: ${WINDOW_MS}ms, within: 20s } }\n  say: { run: node say.js, listen: { say: { port: auto } }, restart: { backoff: 60s..60s } }\n`,
    "web.js": `const http = require("node:http");
      http.createServer(async (q, r) => {
        if (q.url === "/table") return r.end(await (await fetch(process.env.SKEIN_REGISTRY + "/services/say")).text());
        const [say] = await (await fetch(process.env.SKEIN_REGISTRY + "/services/say?wait=5s")).json();
        r.end(await (await fetch("http://" + say.host + ":" + say.port)).text());
      }).listen(process.env.PORT, process.env.HOST);`,
    "say.js": `require("node:http").createServer((q, r) => r.end("HUG")).listen(process.env.PORT, process.env.HOST);`,
  };
  await w.receipt((await w.deploy(tree)).digest);
  assert.equal(await answer(port), "HUG");
  const pid = await eventually(
    "say in a report",
    () => w.report()?.instances.find(({ process: name }) => name === "say")?.pid,
  );
  process.kill(pid, "SIGKILL");
  const killed = performance.now();
  const table = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${port}/table`)).text();
  await eventually("an empty table", async () => (await table()).trim() === "[]");
  t.diagnostic(`gone after ${Math.round(performance.now() - killed)} ms`);
});

test("the registry's address and capabilities survive the agent's restart, callers wait meanwhile (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const end = await w.agent();
  const tree = {
    ...quick(port, "x"),
    "web.js": `require("node:http").createServer(async (q, r) => r.end(await (await fetch(process.env.SKEIN_REGISTRY + "/services")).text())).listen(process.env.PORT, process.env.HOST);`,
  };
  await w.receipt((await w.deploy(tree)).digest);
  await end();
  const asked = answer(port);
  await w.agent();
  assert.match(await asked, /"name":"web"/);
});

test("an address that changes while the agent runs is told to the hub, to peers and to instances", async (t) => {
  const w = await world(t);
  const port = await freePort();
  let address = "127.0.0.1";
  await w.agent({ address: () => address, reportEveryMs: 100 });
  const { digest } = await w.deploy({
    ...quick(port, "one"),
    "web.js": `require("node:http").createServer(async (q, r) => r.end(await (await fetch(process.env.SKEIN_REGISTRY + "/services")).text())).listen(process.env.PORT, process.env.HOST);`,
  });
  await w.receipt(digest);
  const told = async (): Promise<readonly unknown[]> => {
    const { address: own, endpoint, instances } = w.report() ?? {};
    const peer = endpoint ? readUnverified(endpoint, "endpoint.1").addresses[0] : undefined;
    const services = JSON.parse(await answer(port)) as { readonly host: string }[];
    const hosts = [...(instances ?? []), ...services].map(({ host }) => host);
    return [own, peer?.split(":")[0], ...hosts];
  };
  const isTold = async (): Promise<boolean> => {
    const all = await told();
    return all.length === 4 && all.every((one) => one === address);
  };
  await eventually("the first address", isTold);
  address = "127.0.0.2";
  await eventually("the second one", isTold);
});

test("a machine that starts with a clock of long ago brings back what ran (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const end = await w.agent();
  await w.receipt((await w.deploy(quick(port, "one"), { settle: true })).digest);
  await end();
  await endKeeper(w.paths.run);
  await assert.rejects(answer(port));
  await w.agent({ clock: { ...systemClock, now: () => Date.now() - 365 * 86_400_000 } });
  await eventually("an answer", async () => (await answer(port).catch(() => "")) === "one");
});

test("a report that brings a receipt tells what the node has come to (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  // Slower than reports are gathered: what is told may not wait for what is written down.
  const flush = fs.fsync.bind(fs);
  t.mock.method(fs, "fsync", (fd: number, done: fs.NoParamCallback) => {
    setTimeout(() => flush(fd, done), 60);
  });
  const told = new Map<string, string>();
  const onReport = ({ receipts, apps: [app], progress }: Report): void => {
    for (const receipt of receipts) {
      const { order } = readUnverified(receipt, "receipt.1");
      if (!told.has(order)) told.set(order, `${app?.state} ${app?.release} ${progress.length}`);
    }
  };
  await w.agent({ onReport });
  const one = await w.deploy(quick(port, "one"));
  await w.receipt(one.digest);
  const two = await w.deploy(quick(port, "two"));
  await w.receipt(two.digest);
  const broken = await w.deploy({ ...quick(port, "three"), "web.js": "process.exit(1)" });
  await w.receipt(broken.digest, "failed");
  await eventually("three reports", () => told.size === 3);
  assert.deepEqual(
    [one, two, broken].map(({ digest }) => told.get(digest)),
    [`running ${one.release} 0`, `running ${two.release} 0`, `running ${two.release} 0`],
  );
});

test("receipts that nobody takes are told now and then, and not without pause (long)", async (t) => {
  const w = await world(t);
  let reports = 0;
  await w.agent({
    source: (folder) => ({
      report: async (report, signal) => {
        reports += 1;
        // As a hub answers that has forgotten the order.
        return { ...(await folder.report(report, signal)), receipts: [] };
      },
    }),
  });
  const { digest } = await w.deploy({ "skein.yaml": "app: shop\nkind: files\n" });
  await w.receipt(digest, "ok");
  const before = reports;
  await new Promise((resolve) => setTimeout(resolve, 2000));
  assert.ok(reports - before < 8, `${reports - before} times`);
});

test("an app of which an instance is given up has failed, and says how it ended (long)", async (t) => {
  const w = await world(t);
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop
processes:
  web:
    run: node web.js
    listen: auto
    health: { ready: { tcp: true, every: 50ms } }
    restart: { backoff: 50ms..50ms, limit: 1 in 1m }
`,
    "web.js": `require("node:net").createServer().listen(process.env.PORT, process.env.HOST);
setInterval(() => { if (require("node:fs").existsSync(process.env.SKEIN_DATA + "/die")) process.exit(9); }, 50);
`,
  });
  await w.receipt(ordered.digest, "ok");
  fs.writeFileSync(path.join(w.paths.lib, "apps/shop/data/die"), "");
  const told = await eventually("it is given up", () => {
    const [app] = w.report()?.apps ?? [];
    return app?.state === "failed" && app;
  });
  assert.equal(told.release, ordered.release);
  assert.equal(told.unwell?.message, "web.1 ended by itself (exit status 9), 2 times");
});

test("what crashes after it was switched to and before the receipt is told as that order's (long)", async (t) => {
  const w = await world(t);
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop
processes:
  web:
    run: node web.js
    listen: auto
    health: { ready: { tcp: true, every: 50ms } }
    restart: { backoff: 50ms..50ms }
hooks:
  post_jump: { run: "touch $SKEIN_DATA/die; until [ -e $SKEIN_DATA/died ]; do sleep 0.05; done", within: 20s }
`,
    "web.js": `require("node:net").createServer().listen(process.env.PORT, process.env.HOST);
const fs = require("node:fs"), data = process.env.SKEIN_DATA;
setInterval(() => {
  if (!fs.existsSync(data + "/die") || fs.existsSync(data + "/died")) return;
  fs.writeFileSync(data + "/died", "");
  process.exit(9);
}, 20);
`,
  });
  const receipt = await w.receipt(ordered.digest, "ok");
  const told = await eventually("it is told", () => w.report()?.apps[0]?.unwell);
  assert.match(told.message, /^web\.1 ended by itself \(exit status 9\)/);
  assert.ok(told.at <= receipt.at, "it was before the receipt");
  assert.equal(told.order, ordered.digest);
});

test("an agent's end and restart stop nobody; without any source it brings back what should run (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const end = await w.agent();
  const one = await w.deploy(quick(port, "one"));
  await w.receipt(one.digest);
  const stop = load(t, port, ["one"]);
  await end();
  const again = await w.agent();
  await eventually("a report", async () => w.report()?.apps[0]?.state === "running");
  await again();
  assert.deepEqual((await stop()).bad, []);
  await endKeeper(w.paths.run);
  await assert.rejects(answer(port));
  fs.renameSync(path.join(w.home, "hub"), path.join(w.home, "away"));
  await w.agent();
  assert.equal(await eventually("an answer", async () => await answer(port)), "one");
});

test("an instance that fails its live checks is replaced (long)", async (t) => {
  const { w, port } = await started(t);
  const tree = {
    ...quick(port, "x", ""),
    "skein.yaml": `app: shop\nprocesses:\n  web:\n    run: node web.js\n    listen: ${port}\n    drain: { window: ${WINDOW_MS}ms, within: 20s }\n    health: { live: { http: /live, every: 200ms, fails: 2 } }\n`,
    "web.js": `let sick = false; require("node:http").createServer((q, r) => {
      if (q.url === "/sicken") sick = true;
      r.statusCode = q.url === "/live" && sick ? 500 : 200; r.end(String(process.pid)); }).listen(process.env.PORT, process.env.HOST);`,
  };
  await w.receipt((await w.deploy(tree)).digest);
  const before = await answer(port);
  await fetch(`http://127.0.0.1:${port}/sicken`);
  await eventually("another process", async () => (await answer(port)) !== before);
});

test("old releases are removed after their pre-remove, never what runs or ran well before (long)", async (t) => {
  const { w, port } = await started(t);
  const keep = "keep: { releases: 2, good: 2 }\n";
  const releases: string[] = [];
  for (const version of ["one", "two", "three", "four"]) {
    const ordered = await w.deploy({
      ...quick(port, version, keep),
      "pre-remove.sh": `echo ${version} leaves`,
    });
    await w.receipt(ordered.digest);
    releases.push(ordered.release);
  }
  const there = await eventually("two releases", async () => {
    const names = fs
      .readdirSync(path.join(w.paths.lib, "apps/shop/revs"))
      .filter((name) => /^[0-9a-f]{32}$/.test(name));
    return names.length === 2 ? names : undefined;
  });
  assert.deepEqual(new Set(there), new Set(releases.slice(2)));
  assert.match(w.hooksLog(), /one leaves[^]*two leaves/);
});

test("folders named writable are the app's own and outlive releases (long)", async (t) => {
  const { w, port } = await started(t);
  const tree = (version: string): Record<string, string> => ({
    ...quick(port, version, "writable: [tmp, .cache/x]\n"),
    "tmp/shipped": "never seen",
    "web.js": `const fs = require("node:fs"); fs.appendFileSync("tmp/kept", "${version} "); fs.writeFileSync(".cache/x/y", "");
      require("node:http").createServer((q, r) => r.end(fs.readFileSync("tmp/kept"))).listen(process.env.PORT, process.env.HOST);`,
  });
  await w.receipt((await w.deploy(tree("one"))).digest);
  const receipt = await w.receipt((await w.deploy(tree("two"))).digest);
  assert.equal(receipt.message, null);
  assert.equal(await answer(port), "one two ");
});

test("a file in the place of a writable folder is laid, or the order refused, and never gone (long)", async (t) => {
  const { w, port } = await started(t);
  const reads = `require("node:http").createServer((q, r) => r.end(require("node:fs").readFileSync("conf/a", "utf8"))).listen(process.env.PORT, process.env.HOST);`;
  const tree = (version: string, writable: string): Record<string, string> => ({
    ...quick(port, version, `writable: [${writable}]\n`),
    "web.js": reads,
    "conf/a": version,
  });
  const one = await w.deploy({ ...quick(port, "one", "writable: [conf/a/b, tmp, tmp/x]\n") });
  assert.equal((await w.receipt(one.digest)).message, null);
  // Its manifest asks for nothing there: that the one before it did is of no matter.
  const two = await w.deploy(tree("two", "tmp"));
  assert.equal((await w.receipt(two.digest)).message, null);
  assert.equal(await answer(port), "two");
  const three = await w.deploy(tree("three", "conf/a"));
  const receipt = await w.receipt(three.digest);
  assert.equal(receipt.code, "MANIFEST_INVALID");
  assert.match(receipt.message ?? "", /writable: conf\/a is a file in this release of shop/);
  assert.deepEqual([await answer(port), w.current()], ["two", two.release]);
});

test("the agent's own command runs in place of a release's processes", async (t) => {
  const w = await world(t);
  await w.agent({
    command: [
      "node",
      "-e",
      "require('http').createServer((q,r)=>r.end('own '+process.env.COMMIT)).listen(process.env.PORT)",
    ],
  });
  const release = await w.publish(quick(1, "x"), { commit: "c0ffee".padEnd(40, "0") });
  const ordered = await w.order(release);
  w.offer({ orders: [ordered.envelope], releases: [release], gates: { [ordered.digest]: "go" } });
  assert.equal((await w.receipt(ordered.digest)).message, null);
  const row = await eventually("its port", async () =>
    w.report()?.instances.find(({ state }) => state === "serving"),
  );
  assert.equal(row.process, "n1");
  assert.equal(await answer(row.port!), `own ${"c0ffee".padEnd(40, "0")}`);
});

test("kind files: the tree and current are all there is", async (t) => {
  const { w } = await started(t);
  const one = await w.deploy({
    "skein.yaml": "app: shop\nkind: files\n",
    "conf/a.txt": "A",
    "post-jump.sh": "cat ../../current/conf/a.txt",
  });
  assert.deepEqual([(await w.receipt(one.digest)).verdict, w.current()], ["ok", one.release]);
  assert.match(w.hooksLog(), /post-jump \| A/);
  const two = await w.deploy({ "skein.yaml": "app: shop\nkind: files\n", "conf/a.txt": "B" });
  assert.deepEqual([(await w.receipt(two.digest)).verdict, w.current()], ["ok", two.release]);
});

test("new labels move a node out of an order's reach and in again", async (t) => {
  const { w, port } = await started(t);
  w.offer({
    label: await labelFor(w.cluster.alice, w.node.signer.kid, {
      name: "n1",
      labels: { role: "db" },
      issued: timeOf(Date.now()),
    }),
  });
  const order = await w.deploy(quick(port, "one"), { selector: "role=web" });
  assert.equal((await w.receipt(order.digest)).code, "ORDER_NOT_FOR_NODE");
  const other = await w.deploy(quick(port, "two"), { selector: "role=db" });
  assert.equal((await w.receipt(other.digest)).verdict, "ok");
});

test("two agents for one home: the second is refused", async (t) => {
  const { w } = await started(t);
  await eventually("the first", async () => w.report());
  const { code } = await ended(w.child());
  assert.equal(code, 1);
  void settleOf;
});
