import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import type { ProcessPlan } from "./release-plan.ts";
import { bench, deploy, get, listenAt, plainNode, processPlan, releasePlan } from "./runtime.fixture.ts";

test("a plain Node app is judged privately, attached, and replaced by the next version", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const web = processPlan("node app.js", { listen: { http: listenAt(port) } });
  const one = releasePlan(b.release({ "app.js": plainNode("one") }), web);
  await b.runtime.judge(one, {}, b.signal);
  assert.equal((await b.runtime.list())[0]?.state, "judging");
  await b.runtime.attach(one, b.signal);
  b.runtime.settle(one);
  assert.equal((await get(port)).body, "one");
  const two = releasePlan(b.release({ "app.js": plainNode("two") }), web);
  const { retired } = await deploy(b.runtime, two, one, b.signal);
  assert.equal(retired?.cut, 0);
  assert.equal((await get(port)).body, "two");
  const rows = await b.runtime.list();
  assert.deepEqual(
    rows.map((row) => [row.release, row.state, row.port]),
    [[two.release, "serving", port]],
  );
});

test("what served before is left alone where a run is given up that nobody remembers", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const plan = releasePlan(
    b.release({ "app.js": plainNode("one") }),
    processPlan("node app.js", { listen: { http: listenAt(port) } }),
  );
  await deploy(b.runtime, plan, undefined, b.signal);
  await b.runtime.abandon(plan, true);
  assert.equal((await get(port)).body, "one");
  await b.runtime.abandon(plan);
  assert.deepEqual(await b.runtime.list(), []);
});

test("an app with a port of its own gets one from the range", async (t) => {
  const b = await bench(t);
  const plan = releasePlan(
    b.release({ "app.js": plainNode("own") }),
    processPlan("node app.js", { listen: { http: listenAt(null) } }),
  );
  await deploy(b.runtime, plan, undefined, b.signal);
  const [row] = await b.runtime.list();
  assert.ok(row?.port !== null && row?.port !== undefined && row.port >= 20_000 && row.port < 30_000);
  assert.equal((await get(row.port)).body, "own");
});

test("a server that takes fd 3 is started privately, then on the public socket", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `require("http").createServer((q, r) => r.end("fd")).listen({ fd: Number(process.argv[2]) })`;
  const plan = releasePlan(
    b.release({ "app.js": app }),
    processPlan("node app.js $SKEIN_FD_HTTP", { listen: { http: listenAt(port, { handover: "socket" }) } }),
  );
  await deploy(b.runtime, plan, undefined, b.signal);
  assert.equal((await get(port)).body, "fd");
});

test("how one fares that is being judged is told from how one does that serves", async (t) => {
  const b = await bench(t);
  const plan = releasePlan(
    b.release({ "app.js": plainNode("one") }),
    processPlan("node app.js", { listen: { http: listenAt(await freePort()) } }),
  );
  const told: string[] = [];
  b.runtime.onEvent((event) => {
    const what = event.type === "status" ? event.line : event.type;
    told.push(`${what}: ${b.runtime.isOfJudged(event) ? "judged" : "serving"}`);
  });
  await deploy(b.runtime, plan, undefined, b.signal);
  assert.deepEqual(told, ["started: judged", "listening http: judged", "attached http: serving"]);
});

test("a check that is a command judges by its exit status, and is told where the judged instance listens (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const check = { type: "run", run: { argv: ["sh", "ready.sh"] } } as const;
  const planOf = (version: string, script: string, over: Partial<ProcessPlan["ready"]> = {}) =>
    releasePlan(
      b.release({ "app.js": plainNode(version), "ready.sh": script }),
      processPlan("node app.js", {
        listen: { http: listenAt(port) },
        ready: { ...processPlan("x").ready, check, ...over },
      }),
    );
  const asks = `exec node -e 'fetch("http://" + process.env.SKEIN_ADDRESS_HTTP).then(async (r) => process.exit(await r.text() === "one" ? 0 : 1))'`;
  const one = planOf("one", asks);
  await deploy(b.runtime, one, undefined, b.signal);
  const bad = planOf("two", "echo the greeting is wrong; exit 3", { withinMs: 3000 });
  await assert.rejects(b.runtime.judge(bad, {}, b.signal), {
    code: "HEALTH_TIMEOUT",
    message: /exit status 3: the greeting is wrong/,
  });
  assert.equal((await get(port)).body, "one");
});

test("time in which the agent was stopped is not the app's (long)", async (t) => {
  const b = await bench(t);
  const dir = b.release({ "app.js": plainNode("one"), "ready.sh": "touch asked; test -e well" });
  const check = { type: "run", run: { argv: ["sh", "ready.sh"] } } as const;
  const ready = { ...processPlan("x").ready, check, passes: 1, withinMs: 5000 };
  const plan = releasePlan(
    dir,
    processPlan("node app.js", { listen: { http: listenAt(await freePort()) }, ready }),
  );
  const judged = b.runtime.judge(plan, {}, b.signal);
  await eventually("it is judged", () => fs.existsSync(path.join(dir, "asked")));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5500); // this thread is the agent's
  fs.writeFileSync(path.join(dir, "well"), "");
  await judged;
});
