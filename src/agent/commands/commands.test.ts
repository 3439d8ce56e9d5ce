import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { answer, world, type World } from "../agent.fixture.ts";
import { ask } from "../programs/command.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

async function running(t: TestContext): Promise<{ w: World; port: number }> {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop\nprocesses: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }\nverify: sh smoke.sh\n`,
    "web.js": `console.log("hello"); require("node:http").createServer((q, r) => r.end(String(process.pid))).listen(process.env.PORT, process.env.HOST);`,
    "smoke.sh": `[ -n "$SKEIN_ADDRESS_HTTP" ] && [ ! -e "$SKEIN_DATA/broken" ] || { echo it is broken; exit 5; }`,
  });
  await w.receipt(ordered.digest, "ok");
  return { w, port };
}

test("logs gives the last lines of a process, then the result", async (t) => {
  const { w } = await running(t);
  const lines = await ask(w, "logs", { process: "web", lines: 5, follow: false });
  const web = [
    { type: "line", instance: "web.1", line: "hello" },
    { type: "result", ok: true },
  ];
  assert.deepEqual(lines, web);
  assert.deepEqual(await ask(w, "logs", { process: "web.1", lines: 5, follow: false }), web);
  const [elsewhere] = await ask(w, "verify", {}, { env: "staging" });
  assert.match(String(elsewhere?.["message"]), /holds shop in default, not in staging$/);
  const [hook] = await ask(w, "logs", { process: "hooks", lines: 5, follow: false });
  assert.match(String(hook?.["line"]), /verify \| /);
});

test("a unix socket is reported by its path", async (t) => {
  const w = await world(t);
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml":
      "app: shop\nrun: node web.js\nlisten: { http: { protocol: unix, path: web.sock, handover: socket } }\n",
    "web.js": `require("node:http").createServer((q, r) => r.end("here")).listen({ fd: 3 });`,
  });
  await w.receipt(ordered.digest, "ok");
  const socketPath = await eventually("its entry", () => w.report()?.instances[0]?.path);
  const answer = await new Promise((resolve, reject) => {
    const asked = http.get({ socketPath }, (got) => resolve(text(got)));
    asked.on("error", reject);
  });
  assert.equal(answer, "here");
});

test("verify runs the release's own verification where it serves", async (t) => {
  const { w } = await running(t);
  assert.deepEqual(await ask(w, "verify", {}), [{ type: "result", ok: true }]);
  fs.writeFileSync(path.join(w.paths.lib, "apps/shop/data/broken"), "");
  const [result] = await ask(w, "verify", {});
  assert.deepEqual([result?.["ok"], result?.["code"]], [false, "VERIFY_FAILED"]);
});

test("an instance is restarted and stopped by its name", async (t) => {
  const { w, port } = await running(t);
  const before = await answer(port);
  assert.equal((await ask(w, "restart-instance", { instance: "web.1" })).at(-1)?.["ok"], true);
  await eventually("another process", async () => (await answer(port)) !== before);
  assert.equal((await ask(w, "stop-instance", { instance: "web.1" })).at(-1)?.["ok"], true);
  const states = (): unknown => w.report()?.instances.map(({ state }) => state);
  await eventually("it is stopped", async () => String(states()) === "stopped");
  await sleep(500);
  assert.deepEqual(states(), ["stopped"], "nobody started it again");
  const start = async (): Promise<unknown> =>
    (await ask(w, "restart-instance", { instance: "web.1", idle: true }))[0]?.["line"];
  assert.equal(await start(), "started");
  const started = await eventually("it answers again", async () => await answer(port));
  assert.equal(await start(), "runs already");
  assert.equal(await answer(port), started);
  const [unknown] = await ask(w, "stop-instance", { instance: "web.9" });
  assert.equal(unknown?.["code"], "NOT_FOUND");
});

test("commands that nobody may give, or that this agent does not know, do nothing", async (t) => {
  const { w } = await running(t);
  const stranger = await ask(w, "verify", {}, { signer: generateSigner() });
  assert.equal(stranger[0]?.["code"], "DOC_UNSIGNED");
  const unknown = await ask(w, "exec", {});
  assert.equal(unknown[0]?.["code"], "NOT_AUTHORISED");
});

test("an answer that came to nobody is given again", async (t) => {
  const w = await world(t);
  const said: string[] = [];
  const logged: { level: string; msg: string }[] = [];
  await w.agent({
    onLog: (line) => void logged.push(JSON.parse(line) as (typeof logged)[number]),
    source: (folder) => ({
      wanted: async (etag, _waitMs, signal) => await folder.wanted(etag, 100, signal),
      answer: async (command, lines, signal) => {
        said.push(command);
        if (said.length === 1) throw new SkeinError("HUB_UNREACHABLE", "cut off");
        await folder.answer(command, lines, signal);
      },
    }),
  });
  const [line] = await ask(w, "verify", {});
  assert.equal(line?.["code"], "APP_NOT_FOUND");
  assert.equal(said.length, 2);
  const told = logged.filter(({ level }) => level === "warn" || level === "error");
  assert.deepEqual(
    told.map(({ level, msg }) => `${level} ${msg}`),
    ["warn nobody took the answer to a command"],
  );
});

test("a command that a source hands over again, also after a restart, acts once", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const end = await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop\nprocesses: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }\n`,
    "web.js": `require("node:http").createServer((q, r) => r.end(String(process.pid))).listen(process.env.PORT, process.env.HOST);`,
  });
  await w.receipt(ordered.digest, "ok");
  const pid = async (): Promise<string> => await eventually("the app", async () => await answer(port));
  const before = await pid();
  const lines = await ask(w, "restart-instance", { instance: "web.1" });
  assert.equal(lines.at(-1)?.["ok"], true);
  const after = await eventually("another process", async () => {
    const now = await answer(port);
    return now === before ? undefined : now;
  });
  const answers = path.join(w.home, "hub/answers");
  await end();
  fs.rmSync(answers, { recursive: true });
  fs.mkdirSync(answers);
  await w.agent();
  const file = await eventually("an answer", async () =>
    fs.readdirSync(answers).find((name) => name.endsWith(".ndjson")),
  );
  assert.match(fs.readFileSync(path.join(answers, file), "utf8"), /"code":"CONFLICT"/);
  assert.equal(await pid(), after);
});
