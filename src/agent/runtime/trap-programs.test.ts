/** The traps of the last table: programs that look like others, take a port in between, or write beside their code. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { bench, deploy, get, listenAt, plainNode, processPlan, releasePlan } from "./runtime.fixture.ts";
import { isNodeExecutable } from "./node-executable.ts";
import { swapUnderLoad } from "./swap.fixture.ts";

test("trap 8: a Node program in one executable is known for what it is, and loses nothing (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const build = b.release({
    "app.js": plainNode("sea"),
    "sea.json": JSON.stringify({ main: "app.js", output: "app", disableExperimentalSEAWarning: true }),
  });
  const made = spawnSync(process.execPath, ["--build-sea", "sea.json"], { cwd: build, encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  assert.deepEqual([path.join(build, "app"), process.execPath, "/"].map(isNodeExecutable), [
    true,
    false,
    false,
  ]);
  const planOf = (n: number) => {
    const dir = b.release({ version: String(n) });
    fs.linkSync(path.join(build, "app"), path.join(dir, "app"));
    const drain = { signal: "TERM", windowMs: 300, withinMs: 20_000, now: "KILL" } as const;
    return releasePlan(dir, processPlan("./app", { listen: { http: listenAt(port) }, drain }));
  };
  const { keep, one, cut } = await swapUnderLoad(b, port, planOf, { perSec: 60 });
  assert.deepEqual([keep.classes, one.classes, cut], [{}, {}, 0]);
});

test("a port of mode port that somebody takes in between: the instance gets another one", async (t) => {
  const b = await bench(t);
  // Takes the port that the app is about to bind, once, and stays when that attempt is cleared away.
  const thief = `const { spawn } = require("child_process"); const fs = require("fs");
    const code = 'require("net").createServer().listen(+process.argv[1], "127.0.0.1", () => console.log("taken"))';
    const child = spawn(process.execPath, ["-e", code, process.env.PORT], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
    child.stdout.once("data", () => { fs.writeFileSync("../../data/thief", child.pid + " " + process.env.PORT); process.exit(); });`;
  const dir = b.release({ "thief.js": thief, "app.js": plainNode("here") });
  const sh = "[ -e ../../data/thief ] || node thief.js; exec node app.js";
  const plan = releasePlan(dir, processPlan({ sh }, { listen: { http: listenAt(null) } }));
  await deploy(b.runtime, plan, undefined, b.signal);
  const [pid = 0, taken] = fs.readFileSync(path.join(plan.data, "thief"), "utf8").split(" ").map(Number);
  atEnd(t, () => process.kill(pid, "SIGKILL"));
  const [row] = await b.runtime.list();
  assert.ok(row?.port);
  assert.notEqual(row.port, taken);
  assert.equal((await get(row.port)).body, "here");
  await b.runtime.retire(plan);
});
