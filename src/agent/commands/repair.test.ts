/** Damage of every kind on a node that serves, found and mended by signed commands. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { labelFor } from "../../trust/cluster.fixture.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { answer, webApp, world, type Ordered, type World } from "../agent.fixture.ts";
import { answerTo, ask, commandTo, type Line } from "../programs/command.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { Load } from "../runtime/load.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

interface Running {
  readonly w: World;
  readonly port: number;
  readonly ordered: Ordered;
}

/** Two instances whose health a request to /break takes away for good. */
async function running(t: TestContext): Promise<Running> {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop
processes:
  web:
    run: node web.js
    count: 2
    listen: ${port}
    health: /up
    drain: { window: 1s, within: 20s }
verify: sh smoke.sh
`,
    "web.js": `let well = true; require("node:http").createServer((q, r) => {
      if (q.url === "/break") well = false;
      r.statusCode = q.url !== "/up" || well ? 200 : 500;
      r.end(String(process.pid));
    }).listen(process.env.PORT, process.env.HOST);`,
    "smoke.sh": `[ ! -e "$SKEIN_DATA/broken" ] || exit 5`,
    "asset.txt": "as it was signed",
  });
  await w.receipt(ordered.digest, "ok");
  // A receipt is there a moment before the agent has noted what it reached.
  await eventually("it has noted what it reached", async () => {
    const [line] = await ask(w, "drift", {});
    return line?.["busy"] === false;
  });
  return { w, port, ordered };
}

const fileOf = ({ w, ordered }: Running, name: string): string =>
  path.join(w.paths.lib, "apps/shop/revs", ordered.release, name);

function damage(file: string): void {
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, "as IT was signed");
  fs.chmodSync(file, 0o444);
}

function callsTo(port: number, t: TestContext): Load {
  const calls = new Load({ port, perSec: 50, mode: "one", timeoutMs: PATIENCE_MS });
  atEnd(t, async () => await calls.end());
  return calls;
}

const typesOf = (lines: readonly Line[]): unknown[] =>
  lines.filter(({ type }) => type !== "progress").map(({ type }) => type);

test("a damaged file, a stopped instance and a lost current are found, and healed while it serves", async (t) => {
  const here = await running(t);
  const { w, port, ordered } = here;
  assert.deepEqual(typesOf(await ask(w, "drift", { files: true, health: true })), [
    "running",
    "compared",
    "result",
  ]);
  damage(fileOf(here, "asset.txt"));
  await ask(w, "stop-instance", { instance: "web.2" });
  // The agent may look by itself in between, and put `current` back before it is asked.
  const found = await eventually("a lost current is told", async () => {
    fs.rmSync(path.join(w.paths.lib, "apps/shop/current"), { force: true });
    const lines = await ask(w, "drift", { files: true, health: true });
    return lines[0]?.["current"] === null ? lines : undefined;
  });
  assert.deepEqual(
    found.filter(({ type }) => type === "difference" || type === "missing"),
    [
      { type: "missing", release: ordered.release, process: "web", serving: 1, wanted: 2 },
      { type: "difference", release: ordered.release, path: "asset.txt", reason: "content" },
    ],
  );
  const calls = callsTo(port, t);
  const done = await ask(w, "repair", {});
  // Here, too, the agent may be quicker.
  const kinds = typesOf(done).filter((type) => type !== "current");
  assert.deepEqual(kinds, ["mended", "files", "started", "result"]);
  assert.equal(done.at(-1)?.["ok"], true);
  assert.equal(fs.readFileSync(fileOf(here, "asset.txt"), "utf8"), "as it was signed");
  assert.equal(w.current(), ordered.release);
  assert.deepEqual(typesOf(await ask(w, "drift", { files: true, health: true })), [
    "running",
    "compared",
    "result",
  ]);
  assert.deepEqual(typesOf(await ask(w, "repair", {})), ["result"], "nothing is left to do");
  assert.deepEqual((await calls.end()).classes, {}, "no request is lost");
});

for (const [what, harm] of [
  ["gone", (dir: string) => fs.rmSync(dir, { recursive: true })],
  [
    "a file",
    (dir: string) => {
      fs.rmSync(dir, { recursive: true });
      fs.writeFileSync(dir, "");
    },
  ],
] as const) {
  test(`a release whose folder is ${what} is put down anew, and what ran from it is replaced, no call lost`, async (t) => {
    const here = await running(t);
    const { w, port, ordered } = here;
    const lost = new Set<string>();
    await eventually("both instances answer", async () => lost.add(await answer(port)).size > 1);
    harm(fileOf(here, "."));
    const calls = callsTo(port, t);
    const done = await ask(w, "repair", {});
    const seen = typesOf(done);
    assert.deepEqual(seen, ["mended", "files", "replaced", "replaced", "result"]);
    assert.equal(done.at(-1)?.["ok"], true);
    assert.equal(fs.readFileSync(fileOf(here, "asset.txt"), "utf8"), "as it was signed");
    assert.deepEqual((await calls.end()).classes, {}, "no request is lost");
    const now = new Set<string>();
    await eventually("both instances answer again", async () => now.add(await answer(port)).size > 1);
    assert.ok(now.isDisjointFrom(lost));
    assert.deepEqual(
      typesOf(await ask(w, "repair", {})),
      ["result"],
      `nothing is left to do for ${ordered.release}`,
    );
  });
}

test("an instance that fails its check is fetched anew and replaced, and no call is lost (long)", async (t) => {
  const { w, port } = await running(t);
  const sick = await (await fetch(`http://127.0.0.1:${port}/break`)).text();
  const [ailing] = (await ask(w, "drift", { health: true })).filter(({ type }) => type === "ailing");
  assert.match(String(ailing?.["why"]), /500/);
  const calls = callsTo(port, t);
  const done = await ask(w, "repair", {});
  assert.deepEqual(typesOf(done), ["ailing", "files", "replaced", "result"]);
  assert.equal(done.at(-1)?.["ok"], true);
  assert.ok(Number(done.find(({ type }) => type === "files")?.["bytesFetched"]) > 0);
  assert.deepEqual((await calls.end()).classes, {}, "no request is lost");
  const pids = new Set<string>();
  await eventually("both instances answer", async () => pids.add(await answer(port)).size > 1);
  assert.ok(!pids.has(sick));
});

test("what no copy mends is said, with what failed (long)", async (t) => {
  const { w } = await running(t);
  fs.writeFileSync(path.join(w.paths.lib, "apps/shop/data/broken"), "");
  const done = await ask(w, "repair", {});
  assert.deepEqual(typesOf(done), ["ailing", "ailing", "files", "replaced", "replaced", "result"]);
  assert.deepEqual([done.at(-1)?.["ok"], done.at(-1)?.["code"]], [false, "VERIFY_FAILED"]);
});

/** One that was healthy once, and never again after its next start. */
const sickening = (port: number) => ({
  "skein.yaml": `app: shop\nprocesses:\n  web: { run: node web.js, listen: ${port}, health: /up, drain: { window: 50ms } }\n`,
  "web.js": `const fs = require("node:fs");
    const sick = process.env.SKEIN_DATA + "/sick";
    fs.appendFileSync(process.env.SKEIN_DATA + "/starts", "x");
    require("node:http").createServer((q, r) => {
      r.statusCode = q.url === "/up" && fs.existsSync(sick) ? 500 : 200;
      r.end("v1");
    }).listen(process.env.PORT, process.env.HOST);`,
});

test("a repair gives way to an order that comes meanwhile, and undoes nothing of it (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const first = await w.deploy(sickening(port));
  await w.receipt(first.digest, "ok");
  const data = path.join(w.paths.lib, "apps/shop/data");
  fs.writeFileSync(path.join(data, "sick"), "");
  const starts = (): number => fs.statSync(path.join(data, "starts")).size;
  const before = starts();
  const command = await commandTo(w, "repair", {});
  w.offer({ commands: [command] });
  await eventually("it replaces the instance, and waits for its health", async () => {
    return starts() > before;
  });
  const second = await w.deploy(webApp(port, "v2"));
  await w.receipt(second.digest, "ok");
  const done = await answerTo(w, command);
  assert.deepEqual([done.at(-1)?.["ok"], done.at(-1)?.["code"]], [false, "CONFLICT"]);
  assert.equal(w.current(), second.release);
  await eventually("nothing else runs", async () => {
    const releases = new Set(w.report()?.instances.map(({ release }) => release));
    return releases.size === 1 && releases.has(second.release);
  });
  assert.equal(await answer(port), "v2");
});

test("what runs by labels that the node had is told, and ended by a repair (long)", async (t) => {
  const w = await world(t);
  await w.agent();
  const process = (on: string): string => `{ run: node idle.js, on: ${on}, count: 2, drain: { within: 1s } }`;
  const { digest, release } = await w.deploy({
    "skein.yaml": `app: shop\nprocesses:\n  was: ${process("zone!=b")}\n  is: ${process("zone=b")}\n`,
    "idle.js": "setInterval(() => {}, 1000)",
  });
  await w.receipt(digest, "ok");
  w.offer({
    label: await labelFor(w.cluster.alice, w.node.signer.kid, {
      name: "n1",
      labels: { role: "web", zone: "b" },
      issued: timeOf(Date.now()),
    }),
  });
  const found = await eventually("the new labels count", async () => {
    const lines = await ask(w, "drift", {});
    return lines.some(({ type }) => type === "surplus") && lines;
  });
  assert.deepEqual(found.slice(1, -1), [
    { type: "missing", release, process: "is", serving: 0, wanted: 2 },
    { type: "surplus", release, process: "was", instances: 2 },
  ]);
  assert.deepEqual(typesOf(await ask(w, "repair", {})), ["started", "ended", "result"]);
  assert.deepEqual(typesOf(await ask(w, "drift", {})), ["running", "result"]);
});
