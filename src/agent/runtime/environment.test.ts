import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { isNodeCommand } from "./handover-style.ts";
import { startOrder } from "./release-plan.ts";
import { bench, deploy, get, listenAt, processPlan, releasePlan } from "./runtime.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

test("an instance sees its own environment and nothing of the agent's", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  process.env["SECRET_OF_THE_AGENT"] = "x";
  atEnd(t, () => delete process.env["SECRET_OF_THE_AGENT"]);
  const app = `require("http").createServer((q, r) => r.end(JSON.stringify({ env: process.env, cwd: process.cwd(), version: process.version, pid: process.pid }))).listen(process.env.PORT)`;
  const registry = "http://127.0.0.1:9/cap";
  const web = processPlan("node app.js", {
    listen: { "web-ui": listenAt(port) },
    env: { MODE: "test", LANG: "de" },
    registry,
  });
  const plan = releasePlan(b.release({ "app.js": app }), web, {
    commit: "c".repeat(40),
    env: { MODE: "no" },
  });
  await deploy(b.runtime, plan, undefined, b.signal);
  const { env, cwd, pid } = JSON.parse((await get(port)).body) as {
    env: Record<string, string>;
    cwd: string;
    pid: number;
  };
  const { SKEIN_HANDOVER, SKEIN_KEY, NODE_OPTIONS, PATH, ...rest } = env;
  assert.ok(SKEIN_HANDOVER && SKEIN_KEY && NODE_OPTIONS && PATH);
  assert.deepEqual(rest, {
    LANG: "de",
    MODE: "test",
    HOME: plan.data,
    SKEIN_DATA: plan.data,
    SKEIN_APP: "shop",
    SKEIN_ENV: "default",
    SKEIN_RELEASE: plan.release,
    SKEIN_NODE: "n1",
    SKEIN_INSTANCE: "web.1",
    SKEIN_REGISTRY: registry,
    COMMIT: "c".repeat(40),
    REPO: "shop",
    PROCESS_ID: "shop.web.1@n1",
    DRONE_ID: "n1",
    HOST: "127.0.0.1",
    PORT: String(port),
    SKEIN_PORT_WEB_UI: String(port),
    SKEIN_FD_WEB_UI: "3",
    LISTEN_FDS: "1",
    LISTEN_FDNAMES: "web-ui",
    LISTEN_PID: String(pid),
    NODE_CLUSTER_SCHED_POLICY: "none",
    PWD: plan.dir,
  });
  assert.equal(cwd, plan.dir);
});

test("where the machine has a Node of its own, an app's node is that one", async (t) => {
  const own = ["/usr/local/bin/node", "/usr/bin/node"].find((file) => fs.existsSync(file));
  if (own === undefined) return t.skip("this machine has none");
  const b = await bench(t);
  const out = path.join(b.home, "data", "exe");
  const app = `require("fs").writeFileSync(process.env.HOME + "/exe", process.execPath); setInterval(() => {}, 1000)`;
  const plan = releasePlan(b.release({ "app.js": app }), processPlan("node app.js", { name: "worker" }));
  await b.runtime.judge(plan, {}, b.signal);
  const exe = await eventually("its answer", () => fs.readFileSync(out, "utf8") || undefined);
  assert.equal(fs.realpathSync(exe), fs.realpathSync(own));
});

test("as root an app in mode node runs as its own user", { skip: process.getuid?.() !== 0 }, async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `require("http").createServer((q, r) => r.end(String(process.getuid()))).listen(process.env.PORT)`;
  const web = processPlan("node app.js", { listen: { http: listenAt(port) } });
  const plan = releasePlan(b.release({ "app.js": app }), web, {
    user: { uid: 70_998, gid: 70_998 },
  });
  fs.chownSync(plan.data, 70_998, 70_998);
  await deploy(b.runtime, plan, undefined, b.signal);
  assert.equal((await get(port)).body, "70998");
});

test("a Node command is recognised directly, through npm, a shell, env or a script's first line", async (t) => {
  const b = await bench(t);
  const dir = b.release({ "bin/server": "#!/usr/bin/env node\n", "bin/other": "#!/bin/sh\n" });
  const node = ["node app.js", "/usr/bin/node app.js", "npm start", "bin/server", "env A=1 B=2 node x"];
  const others = ["bin/other", "gunicorn app:app", "./nodes", "env A=1 python3 x"];
  for (const text of node) assert.ok(isNodeCommand({ argv: text.split(" ") }, dir), text);
  for (const text of others) assert.ok(!isNodeCommand({ argv: text.split(" ") }, dir), text);
  assert.ok(isNodeCommand({ sh: "cd x && A=1 exec node app.js" }, dir));
  assert.ok(!isNodeCommand({ sh: "python3 node.py" }, dir));
});

test("processes start in the order of their after, those without one first", () => {
  const named = (name: string, after: string[] = []) => processPlan("x", { name, after });
  const order = startOrder([named("c", ["b"]), named("a"), named("b", ["a", "elsewhere"]), named("d")]);
  assert.deepEqual(
    order.map((group) => group.map((p) => p.name)),
    [["a", "d"], ["b"], ["c"]],
  );
});
