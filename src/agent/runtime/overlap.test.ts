import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { Load } from "./load.fixture.ts";
import type { ReleasePlan } from "./release-plan.ts";
import {
  bench,
  type Bench,
  deploy,
  get,
  listenAt,
  plainNode,
  processPlan,
  releasePlan,
} from "./runtime.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

/** Who is told to end stays at least as long as this is there. */
const holdOf = (home: string): string => path.join(home, "hold");

/** Fails when another one of its kind holds the lock, and writes its life into a journal, once a signal ends it well. */
const worker = (home: string, version: string): string => `
  const fs = require("fs");
  const lock = ${JSON.stringify(path.join(home, "lock"))};
  fs.writeFileSync(lock, "", { flag: "wx" });
  setInterval(() => {}, 1000);
  process.on("SIGTERM", () => setInterval(() => {
    if (fs.existsSync(${JSON.stringify(holdOf(home))})) return;
    fs.appendFileSync(${JSON.stringify(path.join(home, "journal"))}, "end ${version}\\n");
    fs.rmSync(lock);
    process.exit(0);
  }, 100));
  fs.appendFileSync(${JSON.stringify(path.join(home, "journal"))}, "start ${version}\\n");
`;

const journalOf = ({ home }: Bench): string[] =>
  fs.readFileSync(path.join(home, "journal"), "utf8").trim().split("\n");

/** A whole hand-over to a worker that has come to its first line: until then a signal ends it without a word. */
async function replaced(b: Bench, plan: ReleasePlan, old: ReleasePlan | undefined, version: string) {
  await deploy(b.runtime, plan, old, b.signal);
  await eventually(version, () => journalOf(b).at(-1) === `start ${version}`);
}

test("a worker that must never run twice never does, and a bad successor brings the old one back", async (t) => {
  const b = await bench(t);
  const solo = processPlan("node app.js", { name: "worker", overlap: false });
  const one = releasePlan(b.release({ "app.js": worker(b.home, "one") }), solo);
  const two = releasePlan(b.release({ "app.js": worker(b.home, "two") }), solo);
  const bad = releasePlan(
    b.release({ "app.js": `${worker(b.home, "bad")}; fs.rmSync(lock); process.exit(1)` }),
    { ...solo, ready: { ...solo.ready, aliveMs: 30_000 } },
  );
  await replaced(b, one, undefined, "one");
  await replaced(b, two, one, "two");
  await assert.rejects(b.runtime.judge(bad, {}, b.signal), { code: "APP_EXITED" });
  const journal = await eventually("six lines", () => {
    const lines = journalOf(b);
    return lines.length === 6 && lines;
  });
  assert.deepEqual(journal, ["start one", "end one", "start two", "end two", "start bad", "start two"]);
  const rows = await b.runtime.list();
  assert.deepEqual(
    rows.map((row) => [row.release, row.state]),
    [[two.release, "serving"]],
  );
});

test("what is being ended is not brought back by who has it started again", async (t) => {
  const b = await bench(t);
  const solo = processPlan("node app.js", { name: "worker", overlap: false });
  const [one, two, three] = ["one", "two", "three"].map((version) =>
    releasePlan(b.release({ "app.js": worker(b.home, version) }), solo),
  );
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const keyOf = async (): Promise<string> => (await b.runtime.list())[0]?.key ?? "";
  await replaced(b, one, undefined, "one");
  const first = await keyOf();
  hold(b);
  const [, after] = await Promise.all([replaced(b, two, one, "two"), startedAgain(b, first, "draining")]);
  assert.equal(after, false, "asked for while it made way");
  const second = await keyOf();
  const before = b.runtime.bounce(second);
  const verify = async (): Promise<void> => assert.equal(await b.runtime.bounce(second), false, "after that");
  await b.runtime.judge(three, { verify }, b.signal);
  await replaced(b, three, two, "three");
  assert.equal(await before, false, "asked for before it made way");
  assert.equal(await b.runtime.bounce(await keyOf()), true);
  const lives = ["one", "two", "three"].flatMap((version) => [`start ${version}`, `end ${version}`]);
  assert.deepEqual(journalOf(b).slice(0, 6), lives);
});

test("what two have started again at once is started once", async (t) => {
  const b = await bench(t);
  const solo = processPlan("node app.js", { name: "worker", overlap: false });
  const one = releasePlan(b.release({ "app.js": worker(b.home, "one") }), solo);
  await replaced(b, one, undefined, "one");
  const key = (await b.runtime.list())[0]?.key ?? "";
  hold(b);
  const bounced = b.runtime.bounce(key);
  await untilIn(b, key, "draining");
  const attached = b.runtime.attach(one, b.signal);
  await sleep(100); // it has asked for that, too, where the machine is not too slow
  letGo(b);
  await attached;
  assert.equal(await bounced, true);
  await eventually("three lines", () => journalOf(b).length === 3);
  assert.deepEqual(journalOf(b), ["start one", "end one", "start one"]);
});

const hold = ({ home }: Bench): void => fs.writeFileSync(holdOf(home), "");
const letGo = ({ home }: Bench): void => fs.rmSync(holdOf(home));

async function untilIn(b: Bench, key: string, state: string): Promise<void> {
  const isIn = async (): Promise<boolean> =>
    (await b.runtime.list()).some((row) => row.key === key && row.state === state);
  await eventually(state, isIn, { everyMs: 1 });
}

/** What comes of having it started again once it is in this state, in which it is held. */
async function startedAgain(b: Bench, key: string, state: string): Promise<boolean> {
  await untilIn(b, key, state);
  const again = b.runtime.bounce(key);
  letGo(b);
  return await again;
}

test("what may not run in two versions is not started beside one that is to go on", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const release = (text: string): string =>
    b.release({ "app.js": plainNode(text), "idle.js": "setInterval(() => {}, 1000)" });
  const web = processPlan("node app.js", { listen: { http: listenAt(port) } });
  const solo = (name: string) => processPlan("node idle.js", { name, overlap: false });
  const api = processPlan("node app.js", {
    name: "api",
    listen: { http: listenAt(port, { handover: "gap" }) },
  });
  const one = releasePlan(release("one"), [web, solo("worker")]);
  await deploy(b.runtime, one, undefined, b.signal);
  const two = release("two");
  const beside = async (...processes: ReturnType<typeof processPlan>[]): Promise<void> => {
    const plan = releasePlan(two, processes);
    await b.runtime.judge(plan, { replaces: [] }, b.signal);
    await b.runtime.abandon(plan);
  };
  await beside(web, solo("other"));
  const refused = (message: RegExp) => ({ code: "HANDOVER_REFUSED", message });
  await assert.rejects(beside(web, solo("worker")), refused(/^worker may not .*overlap: false/));
  await assert.rejects(beside(api), refused(/^api may not .*handover: gap/));
  assert.equal((await get(port)).body, "one");
  const rows = await b.runtime.list();
  assert.deepEqual(
    rows.map((row) => `${row.process} ${row.release} ${row.state}`).sort(),
    ["web", "worker"].map((name) => `${name} ${one.release} serving`),
  );
});

test("a port goes from a held socket to an app that binds it itself and back, whichever process has it (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const plan = (name: string, handover: "node" | "socket" | "gap", text: string, source = plainNode(text)) =>
    releasePlan(
      b.release({ "app.js": source }),
      processPlan("node app.js", { name, listen: { http: listenAt(port, { handover }) } }),
    );
  const answers = async (text: string): Promise<void> => {
    assert.equal((await eventually("an answer", async () => await get(port))).body, text);
    assert.equal((await b.runtime.list()).filter(({ state }) => state === "serving").length, 1);
  };
  const held = plan("web", "node", "held");
  await deploy(b.runtime, held, undefined, b.signal);
  const bad = plan("web", "gap", "bad", "process.exit(3)");
  await assert.rejects(b.runtime.judge(bad, {}, b.signal), { code: "APP_EXITED" });
  await answers("held");
  const own = plan("web", "gap", "own");
  await deploy(b.runtime, own, held, b.signal);
  await answers("own");
  const other = plan("api", "gap", "other");
  await deploy(b.runtime, other, own, b.signal);
  await answers("other");
  const broken = plan("web", "node", "broken", "process.exit(3)");
  await assert.rejects(b.runtime.judge(broken, {}, b.signal), { code: "APP_EXITED" });
  await answers("other");
  const again = plan("web", "node", "again");
  await deploy(b.runtime, again, other, b.signal);
  await answers("again");
  const third = plan("api", "gap", "third");
  await deploy(b.runtime, third, again, b.signal);
  await answers("third");
  await b.runtime.reconcile([held], [], b.signal);
  await answers("held");
  await b.runtime.reconcile([third], [], b.signal);
  await answers("third");
});

test("with overlap: false requests wait in the socket's queue and none is lost", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = (v: string) => `setTimeout(() => { ${plainNode(v)} }, 200)`;
  const web = processPlan("node app.js", { overlap: false, listen: { http: listenAt(port) } });
  const one = releasePlan(b.release({ "app.js": app("one") }), web);
  const two = releasePlan(b.release({ "app.js": app("two") }), web);
  await deploy(b.runtime, one, undefined, b.signal);
  using load = new Load({ port, perSec: 80, mode: "one", timeoutMs: PATIENCE_MS });
  await eventually("an answer of the first", () => load.heard("one") > 0);
  await deploy(b.runtime, two, one, b.signal);
  await eventually("an answer of the second", () => load.heard("two") > 0);
  const result = await load.end();
  assert.deepEqual(result.classes, {});
  assert.deepEqual(Object.keys(result.bodies).sort(), ["one", "two"]);
});

test("a gap is said with its length, and a bad successor brings the old one back", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const listen = { http: listenAt(port, { handover: "gap" }) };
  const server = processPlan("/usr/bin/python3 -m http.server $PORT --bind $HOST", { listen });
  const one = releasePlan(b.release({ v: "one" }), server);
  const two = releasePlan(b.release({ v: "two" }), server);
  const bad = releasePlan(b.release({ v: "bad" }), processPlan("/bin/false", { listen }));
  await deploy(b.runtime, one, undefined, b.signal);
  assert.equal((await get(port, "/v")).body, "one");
  const { attached } = await deploy(b.runtime, two, one, b.signal);
  const gap = attached.warnings.find((warning) => "gapMs" in warning.data);
  assert.ok(Number(gap?.data["gapMs"]) > 0, JSON.stringify(attached.warnings));
  assert.equal((await get(port, "/v")).body, "two");
  await assert.rejects(b.runtime.judge(bad, {}, b.signal), { code: "APP_EXITED" });
  const answer = await eventually("an answer", async () => await get(port, "/v"));
  assert.equal(answer.body, "two");
});

test("sockets of one process cannot mix hand-overs that exclude each other", async (t) => {
  const b = await bench(t);
  const listen = { a: listenAt(1, { handover: "node" }), b: listenAt(2, { handover: "gap" }) };
  const plan = releasePlan(b.release({ "app.js": "" }), processPlan("node app.js", { listen }));
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "HANDOVER_REFUSED" });
});

test("a process starts after those that it names", async (t) => {
  const b = await bench(t);
  const journal = path.join(b.home, "journal");
  const web = { sh: `echo web >> ${journal}; sleep 60` };
  const say = { sh: `sleep 0.1; echo say >> ${journal}; sleep 60` };
  const hasSaid = { type: "run", run: { argv: ["grep", "say", journal] } } as const;
  const plan = releasePlan(b.release({ a: "" }), [
    processPlan(web, { name: "web", after: ["say"] }),
    processPlan(say, { name: "say", ready: { ...processPlan("x").ready, check: hasSaid } }),
  ]);
  await b.runtime.judge(plan, {}, b.signal);
  await eventually("web's line", () => journalOf(b).includes("web"));
  assert.equal(fs.readFileSync(journal, "utf8"), "say\nweb\n");
});

test("with overlap: false in mode socket the queue holds requests while no version runs", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = (v: string) =>
    `const s = require("http").createServer((q, r) => r.end("${v}")).listen({ fd: 3 }); process.on("SIGTERM", () => s.close(() => process.exit(0)))`;
  const web = processPlan("node app.js", {
    overlap: false,
    listen: { http: listenAt(port, { handover: "socket" }) },
  });
  const one = releasePlan(b.release({ "app.js": app("one") }), web);
  const two = releasePlan(b.release({ "app.js": app("two") }), web);
  await deploy(b.runtime, one, undefined, b.signal);
  using load = new Load({ port, perSec: 60, mode: "one", timeoutMs: PATIENCE_MS });
  await eventually("an answer of the first", () => load.heard("one") > 0);
  await deploy(b.runtime, two, one, b.signal);
  await eventually("an answer of the second", () => load.heard("two") > 0);
  const result = await load.end();
  assert.deepEqual(Object.keys(result.bodies).sort(), ["one", "two"]);
  // Node's own close() resets a connection that it accepted and has not read yet: at most one per swap and core
  assert.ok(result.lost <= 2, JSON.stringify(result.classes));
});
