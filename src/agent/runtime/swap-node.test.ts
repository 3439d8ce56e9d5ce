import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import net from "node:net";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import {
  bench,
  deploy,
  get,
  listenAt,
  plainNode,
  processPlan,
  releasePlan,
  type Bench,
} from "./runtime.fixture.ts";
import { selfSignedCertificate } from "../../trust/connection/x509.ts";
import { swapUnderLoad } from "./swap.fixture.ts";
import type { ProcessPlan, ReleasePlan } from "./release-plan.ts";

const nodeSwap =
  (
    b: Bench,
    port: number,
    files: (n: number) => Record<string, string>,
    run: ProcessPlan["run"],
    over: Partial<ProcessPlan> = {},
  ) =>
  (n: number): ReleasePlan =>
    releasePlan(
      b.release(files(n)),
      processPlan(run, {
        listen: { http: listenAt(port) },
        drain: { signal: "TERM", windowMs: 1000, withinMs: 20_000, now: "KILL" },
        ...over,
      }),
    );

test("swaps of an unmodified Node app lose nothing (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const result = await swapUnderLoad(
    b,
    port,
    nodeSwap(b, port, (n) => ({ "app.js": plainNode(`v${n}`) }), { argv: ["node", "app.js"] }),
  );
  assert.deepEqual([result.keep.classes, result.one.classes, result.cut], [{}, {}, 0]);
  assert.ok((result.keep.bodies["v2"] ?? 0) > 0 && (result.one.bodies["v0"] ?? 0) > 0);
});

test("swaps of an app under npm start lose nothing", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const files = (n: number) => ({
    "app.js": plainNode(`v${n}`),
    "package.json": JSON.stringify({ scripts: { start: "node app.js" } }),
  });
  const result = await swapUnderLoad(b, port, nodeSwap(b, port, files, { argv: ["npm", "start"] }));
  assert.deepEqual([result.keep.classes, result.one.classes, result.cut], [{}, {}, 0]);
  assert.ok((result.one.bodies["v2"] ?? 0) > 0);
});

test("swaps of a node:cluster app lose nothing (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const files = (n: number) => ({
    "app.js": `const c = require("cluster"); if (c.isPrimary) { c.fork(); c.fork(); } else {${plainNode(`v${n}`)}}`,
  });
  const result = await swapUnderLoad(b, port, nodeSwap(b, port, files, { argv: ["node", "app.js"] }));
  assert.deepEqual([result.keep.classes, result.one.classes, result.cut], [{}, {}, 0]);
  assert.ok((result.one.bodies["v2"] ?? 0) > 0);
});

test("swaps of an HTTPS server lose nothing (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const { key, cert } = certificate();
  const files = (n: number) => ({
    "app.js": `require("https").createServer({ key: ${key}, cert: ${cert} }, (q, r) => r.end("v${n}")).listen(+process.env.PORT)`,
  });
  const listen = { http: listenAt(port, { protocol: "tls" }) };
  const ready = {
    ...processPlan("x").ready,
    check: { type: "http", path: "/", socket: "http", tls: true },
  } as const;
  const result = await swapUnderLoad(
    b,
    port,
    nodeSwap(b, port, files, { argv: ["node", "app.js"] }, { listen, ready }),
    {
      tls: true,
      perSec: 15, // handshakes: a busy machine must keep up with them
    },
  );
  assert.deepEqual([result.keep.classes, result.one.classes, result.cut], [{}, {}, 0]);
  assert.ok((result.one.bodies["v2"] ?? 0) > 0);
});

/** A key and a self-signed certificate as JavaScript string literals. */
function certificate(): { key: string; cert: string } {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" });
  return { key: JSON.stringify(pem), cert: JSON.stringify(selfSignedCertificate(privateKey, "x")) };
}

test("an app with its own handler that calls close() and exits drains as well as one without (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = (
    n: number,
  ) => `const s = require("http").createServer((q, r) => setTimeout(() => r.end("v${n}"), 3)).listen(process.env.PORT);
    process.on("SIGTERM", () => s.close(() => process.exit(0)));`;
  const result = await swapUnderLoad(
    b,
    port,
    nodeSwap(b, port, (n) => ({ "app.js": app(n) }), { argv: ["node", "app.js"] }),
  );
  assert.deepEqual([result.keep.classes, result.one.classes, result.cut], [{}, {}, 0]);
});

test("an app that listens on its port once for each address family is served through the first", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `for (const host of ["127.0.0.1", "::1"]) require("http").createServer((q, r) => r.end(host)).listen({ port: process.env.PORT, host })`;
  const plan = nodeSwap(b, port, () => ({ "app.js": app }), { argv: ["node", "app.js"] })(0);
  await deploy(b.runtime, plan, undefined, b.signal);
  for (let n = 0; n < 4; n++) assert.equal((await get(port)).body, "127.0.0.1");
  assert.equal((await b.runtime.retire(plan)).cut, 0);
});

test("a TCP server whose own handler calls close() first answers what it accepted", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = (n: number) => `const s = require("net").createServer((c) =>
    c.on("data", () => setTimeout(() => c.end("v${n}"), 400))).listen(+process.env.PORT);
    process.on("SIGTERM", () => s.close(() => process.exit(0)));`;
  const listen = { tcp: listenAt(port, { protocol: "tcp" }) };
  const planOf = nodeSwap(b, port, (n) => ({ "app.js": app(n) }), { argv: ["node", "app.js"] }, { listen });
  const [old, next] = [planOf(0), planOf(1)];
  await deploy(b.runtime, old, undefined, b.signal);
  const asked = net.connect(port, "127.0.0.1").setEncoding("utf8");
  asked.write("?");
  await b.runtime.judge(next, {}, b.signal);
  await b.runtime.attach(next, b.signal);
  const again = net.connect(port, "127.0.0.1").setEncoding("utf8");
  again.write("?");
  const answers = Promise.all([asked.toArray(), again.toArray()]);
  assert.equal((await b.runtime.retire(old)).cut, 0);
  const [[first], [second]] = await answers;
  assert.equal(first, "v0");
  assert.match(String(second), /^v[01]$/);
});
