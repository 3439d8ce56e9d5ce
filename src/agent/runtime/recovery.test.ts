import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { startKeeper } from "../../keeper/client.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { Load } from "./load.fixture.ts";
import type { ReleasePlan } from "./release-plan.ts";
import {
  bench,
  deploy,
  endKeeper,
  get,
  listenAt,
  plainNode,
  processesOf,
  processPlan,
  releasePlan,
  untilKeeper,
  type Bench,
} from "./runtime.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const webPlan = (b: Bench, port: number, version: string): ReleasePlan =>
  releasePlan(
    b.release({ "app.js": plainNode(version) }),
    processPlan("node app.js", { listen: { http: listenAt(port) } }),
  );

test("an agent that comes back finds its instances and goes on with them", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const one = webPlan(b, port, "one");
  await deploy(b.runtime, one, undefined, b.signal);
  const before = await b.runtime.list();
  await b.runtime[Symbol.asyncDispose]();
  const again = await b.openAnother();
  assert.deepEqual(await again.list(), before);
  const two = webPlan(b, port, "two");
  await deploy(again, two, one, b.signal);
  assert.equal((await get(port)).body, "two");
  const moved = await b.openAnother("192.0.2.7");
  assert.deepEqual(
    (await moved.list()).map(({ host }) => host),
    ["192.0.2.7"],
  );
});

test("an agent that dies between judging and attaching leaves nothing that reconcile does not mend", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const [one, two] = [webPlan(b, port, "one"), webPlan(b, port, "two")];
  await deploy(b.runtime, one, undefined, b.signal);
  await b.runtime.judge(two, {}, b.signal);
  await b.runtime[Symbol.asyncDispose]();
  const again = await b.openAnother();
  await again.reconcile([one], [], b.signal);
  const rows = await again.list();
  assert.deepEqual(
    rows.map((row) => [row.release, row.state]),
    [[one.release, "serving"]],
  );
  await again.reconcile([two], [], b.signal);
  assert.equal((await get(port)).body, "two");
  await again.reconcile([], ["shop"], b.signal);
  assert.deepEqual(await again.list(), []);
  await assert.rejects(get(port), { code: "ECONNREFUSED" });
});

test("a killed keeper's successor takes instances and sockets over, and no request is lost", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const one = webPlan(b, port, "one");
  await deploy(b.runtime, one, undefined, b.signal);
  const [before] = await b.runtime.list();
  using load = new Load({ port, perSec: 100, mode: "one", timeoutMs: PATIENCE_MS });
  await eventually("an answer", () => load.heard("one") > 0);
  const pid = b.keeperPid();
  // The first successor dies while it takes over.
  process.env["SKEIN_KEEPER_FAULT"] = "keeper.recover";
  process.kill(pid, "SIGKILL");
  const isNext = (one: number): boolean => one !== pid;
  const first = await eventually("a successor", () => processesOf(b.run).find(isNext));
  delete process.env["SKEIN_KEEPER_FAULT"];
  await eventually("another keeper", () => b.keeperPid() !== pid);
  assert.notEqual(b.keeperPid(), first);
  const hello = (await b.runtime.link.client()).hello;
  assert.deepEqual([hello.lost, hello.adopted], [[], [before?.key]]);
  const [after] = await b.runtime.list();
  assert.equal(after?.pid, before?.pid);
  const two = webPlan(b, port, "two");
  await deploy(b.runtime, two, one, b.signal);
  await eventually("an answer of the next", () => load.heard("two") > 0);
  assert.deepEqual((await load.end()).classes, {});
});

test("an adopted instance that dies is noticed and started again with its own environment", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const tells = `require("http").createServer((q, r) => r.end(process.env.COMMIT + process.env.MODE)).listen(process.env.PORT)`;
  const planOf = (commit: string, at: number | null): ReleasePlan =>
    releasePlan(
      b.release({ "app.js": tells }),
      processPlan("node app.js", { listen: { http: listenAt(at) }, env: { MODE: ` mode of ${commit}` } }),
      { commit: commit.repeat(40) },
    );
  const one = planOf("1", port);
  await deploy(b.runtime, one, undefined, b.signal);
  const [before] = await b.runtime.list();
  const keeper = b.keeperPid();
  process.kill(keeper, "SIGKILL");
  await eventually("another keeper", () => b.keeperPid() !== keeper);
  // A newer one is started after it, beside it.
  await deploy(b.runtime, planOf("2", null), undefined, b.signal);
  process.kill(-(before?.pid ?? 1), "SIGKILL");
  const after = await eventually("it serves again", async () => {
    const row = (await b.runtime.list()).find(({ release }) => release === one.release);
    return row?.state === "serving" && row.pid !== before?.pid ? row : undefined;
  });
  assert.equal(after.crashes, 1);
  const { body } = await eventually("an answer", async () => await get(port));
  assert.equal(body, `${"1".repeat(40)} mode of 1`);
});

test("what a keeper lost together with all of its instances is said and bound anew", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  await deploy(b.runtime, webPlan(b, port, "one"), undefined, b.signal);
  const [before] = await b.runtime.list();
  await b.runtime[Symbol.asyncDispose]();
  process.kill(b.keeperPid(), "SIGKILL");
  process.kill(-(before?.pid ?? 1), "SIGKILL");
  const again = await b.openAnother();
  const { lost } = (await again.link.client()).hello;
  assert.equal(lost.length, 2, lost.join("\n"));
  assert.match(lost.join("\n"), /bound anew/);
  assert.equal((await eventually("an answer", async () => await get(port))).body, "one");
});

/** Every place where the keeper may be killed, and how often it is passed before the second version is asked for. */
const FAULTS = [
  "keeper.listen",
  "keeper.listen:2",
  "keeper.spawn",
  "keeper.spawn:2",
  "keeper.spawned",
  "keeper.spawned:2",
  "keeper.attach",
  "keeper.attach:2",
  "keeper.stop",
  "keeper.stopped",
  "keeper.started",
  "keeper.started:2",
  "keeper.forget",
];

for (const fault of FAULTS) {
  test(`a keeper killed at ${fault} leaves what reconcile makes whole${fault.includes(":") ? " (long)" : ""}`, async (t) => {
    const b = await bench(t);
    await b.runtime[Symbol.asyncDispose]();
    await endKeeper(b.run);
    process.env["SKEIN_KEEPER_FAULT"] = fault;
    startKeeper({ run: b.run, logFile: path.join(b.home, "log", "keeper.log") });
    delete process.env["SKEIN_KEEPER_FAULT"];
    await untilKeeper(b.run);
    const runtime = await b.openAnother();
    const pid = b.keeperPid();
    const port = await freePort();
    const [one, two] = [webPlan(b, port, "one"), webPlan(b, port, "two")];
    const attempt = async (): Promise<void> => {
      await deploy(runtime, one, undefined, b.signal);
      await deploy(runtime, two, one, b.signal);
    };
    await assert.rejects(attempt(), { code: "KEEPER_UNREACHABLE" });
    await eventually("another keeper", () => b.keeperPid() !== pid);
    await runtime.reconcile([two], [], b.signal);
    const rows = await runtime.list();
    assert.deepEqual(
      rows.map((row) => [row.release, row.state]),
      [[two.release, "serving"]],
    );
    for (let n = 0; n < 5; n++) assert.equal((await get(port)).body, "two");
    assert.deepEqual(
      strays(
        b,
        rows.map((row) => row.pid),
      ),
      [],
    );
  });
}

/** Processes of this test's apps that the keeper does not know. */
function strays(b: Bench, known: readonly number[]): string[] {
  return fs.readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || known.includes(Number(pid))) return false;
    try {
      return fs.readFileSync(`/proc/${pid}/environ`, "latin1").includes(`SKEIN_DATA=${b.home}`);
    } catch {
      return false;
    }
  });
}

test("one app that does not come up keeps no other from it, and the reason is told", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const good = webPlan(b, port, "good");
  const bad = releasePlan(
    b.release({ a: "" }),
    processPlan("no-such-program", { listen: { http: listenAt(null) } }),
    { app: "bad" },
  );
  const { warnings } = await b.runtime.reconcile([bad, good], [], b.signal);
  assert.deepEqual(
    warnings.map((warning) => [warning.code, warning.data["app"]]),
    [["START_FAILED", "bad"]],
  );
  assert.equal((await get(port)).body, "good");
});
