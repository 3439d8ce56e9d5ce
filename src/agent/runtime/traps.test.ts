import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import dgram from "node:dgram";
import fs from "node:fs";
import http from "node:http";
import type net from "node:net";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { groupMembers, statOf } from "../../keeper/proc.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { programFile } from "../../lib/process/program.ts";
import type { ProcessPlan } from "./release-plan.ts";
import {
  bench,
  deploy,
  endKeeper,
  get,
  listenAt,
  plainNode,
  processPlan,
  releasePlan,
  untilKeeper,
} from "./runtime.fixture.ts";

const httpReady = (withinMs = PATIENCE_MS) =>
  ({
    check: { type: "http", path: "/", socket: "http", tls: false },
    everyMs: 50,
    passes: 2,
    withinMs,
    aliveMs: 300,
  }) as const;

/** Takes the passed socket and never accepts. */
const HOLDER = "import socket, time\ns = socket.socket(fileno=3)\ntime.sleep(60)\n";
/** Accepts on the passed socket, one after the other. */
const acceptor = (version: string) => `
import socket
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: ${version.length}\\r\\n\\r\\n${version}")
    c.close()
`;

function socketProcess(port: number, over: Partial<ProcessPlan> = {}): ProcessPlan {
  return processPlan("/usr/bin/python3 app.py", {
    listen: { http: listenAt(port) },
    drain: { signal: "TERM", windowMs: 50, withinMs: 1000, now: "KILL" },
    ...over,
  });
}

test("trap 1: a version that holds the socket and never accepts is found out, and the old one goes on answering", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const good = releasePlan(
    b.release({ "app.py": acceptor("good") }),
    socketProcess(port, { ready: httpReady() }),
  );
  await deploy(b.runtime, good, undefined, b.signal);
  const bad = releasePlan(b.release({ "app.py": HOLDER }), socketProcess(port, { ready: httpReady(700) }));
  await assert.rejects(b.runtime.judge(bad, {}, b.signal), { code: "SOCKET_NOT_TAKEN" });
  assert.equal((await get(port)).body, "good");
  assert.equal((await b.runtime.list()).length, 1);
});

test("trap 2: npm start is stopped whole, its node is no orphan with the port", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const files = { "app.js": plainNode("npm"), "package.json": '{"scripts":{"start":"node app.js"}}' };
  const plan = releasePlan(b.release(files), processPlan("npm start", { listen: { http: listenAt(port) } }));
  await deploy(b.runtime, plan, undefined, b.signal);
  assert.equal((await get(port)).body, "npm");
  const [row] = await b.runtime.list();
  await b.runtime.retire(plan);
  await assert.rejects(get(port), { code: "ECONNREFUSED" });
  assert.deepEqual(groupMembers(row?.pid ?? 1), []);
});

test("trap 3: an app that can only bind its port itself is told which modes will do", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const command = "/usr/bin/python3 -m http.server $PORT --bind $HOST";
  const plan = releasePlan(
    b.release({ "index.html": "x" }),
    processPlan(command, { listen: { http: listenAt(port) }, ready: httpReady() }),
  );
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), (err: { code: string; hint: string }) => {
    assert.equal(err.code, "SOCKET_NOT_TAKEN");
    assert.match(err.hint, /handover: gap/);
    return true;
  });
  assert.deepEqual(await b.runtime.list(), []);
  await assert.rejects(get(port), { code: "ECONNREFUSED" });
});

test("trap 5: connections that never become idle are cut when the drain is over, and counted", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `const s = require("http").createServer((q, r) => r.end("ok"));
    s.on("upgrade", (q, c) => { c.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n"); c.on("error", () => {}); });
    s.listen(process.env.PORT);`;
  const drain = { signal: "TERM", windowMs: 100, withinMs: 500, now: "KILL" } as const;
  const plan = releasePlan(
    b.release({ "app.js": app }),
    processPlan("node app.js", { listen: { http: listenAt(port) }, drain }),
  );
  await deploy(b.runtime, plan, undefined, b.signal);
  const sockets = await Promise.all([upgrade(port), upgrade(port), upgrade(port)]);
  const retired = await b.runtime.retire(plan);
  for (const socket of sockets) socket.destroy();
  assert.equal(retired.cut, 3);
  assert.deepEqual(
    retired.warnings.map((warning) => warning.code),
    ["CONNECTIONS_CUT"],
  );
});

async function upgrade(port: number): Promise<net.Socket> {
  return await new Promise((resolve, reject) => {
    const headers = { Connection: "Upgrade", Upgrade: "websocket" };
    const request = http.request({ host: "127.0.0.1", port, headers });
    request.on("upgrade", (_response, socket) => {
      socket.on("error", () => undefined);
      resolve(socket);
    });
    request.on("error", reject);
    request.end();
  });
}

test("trap 5: an app that exits at once on the signal is told how many connections that cut", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `const s = require("http").createServer((q, r) => r.end("ok")).listen({ fd: 3 }); s.keepAliveTimeout = 60000; process.on("SIGTERM", () => process.exit(0))`;
  const listen = { http: listenAt(port, { handover: "socket" }) };
  const plan = releasePlan(b.release({ "app.js": app }), processPlan("node app.js", { listen }));
  await deploy(b.runtime, plan, undefined, b.signal);
  const agent = new http.Agent({ keepAlive: true });
  await Promise.all([asked(port, agent), asked(port, agent)]);
  const retired = await b.runtime.retire(plan);
  agent.destroy();
  assert.equal(retired.cut, 2);
});

async function asked(port: number, agent: http.Agent): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, agent }, (response) =>
      response.resume().on("end", resolve),
    );
    request.on("error", reject);
  });
}

/** So many datagrams fit into a socket's buffer, however long its reader gets no core. */
const AT_ONCE = 100;

for (const [kind, run, file, text] of [
  [
    "node",
    "node app.js",
    "app.js",
    (n: number) =>
      `const s = require("dgram").createSocket("udp4"); s.on("message", (m, f) => setTimeout(() => s.send("v${n}", f.port, f.address), 2)); s.bind(process.env.PORT)`,
  ],
  [
    "socket",
    "/usr/bin/python3 app.py",
    "app.py",
    (n: number) =>
      `import socket, signal, sys\ns = socket.socket(fileno=3)\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\nwhile True:\n    m, a = s.recvfrom(99)\n    s.sendto(b"v${n}", a)\n`,
  ],
] as const) {
  test(`trap 6: datagrams are answered through swaps in mode ${kind}`, async (t) => {
    const b = await bench(t);
    const port = await freePort();
    const listen = { dns: listenAt(port, { protocol: "udp" }) };
    const drain = { signal: "TERM", windowMs: 100, withinMs: 20_000, now: "KILL" } as const;
    const planOf = (n: number) =>
      releasePlan(b.release({ [file]: text(n) }), processPlan(run, { listen, drain }));
    let old = planOf(0);
    await deploy(b.runtime, old, undefined, b.signal);
    const client = dgram.createSocket("udp4");
    atEnd(t, () => client.close());
    const answers: Record<string, number> = {};
    client.on("message", (message) => (answers[String(message)] = (answers[String(message)] ?? 0) + 1));
    let sent = 0;
    const lacking = (): number => sent - Object.values(answers).reduce((sum, count) => sum + count, 0);
    const timer = setInterval(() => {
      if (lacking() >= AT_ONCE) return;
      sent += 1;
      client.send("?", port, "127.0.0.1");
    }, 5);
    atEnd(t, () => clearInterval(timer));
    const heard = async (n: number): Promise<void> =>
      void (await eventually(`an answer of v${n}`, () => (answers[`v${n}`] ?? 0) > 0));
    for (let n = 1; n <= 2; n++) {
      await heard(n - 1);
      const next = planOf(n);
      await deploy(b.runtime, next, old, b.signal);
      old = next;
    }
    await heard(2);
    clearInterval(timer);
    // a handler that is ended between taking and answering loses that one; no design can give it back
    const mayLack = kind === "node" ? 0 : 2;
    await eventually(`all but ${mayLack} answers`, () => lacking() <= mayLack).catch(() => undefined);
    assert.ok(lacking() <= mayLack, `${sent} sent, ${JSON.stringify(answers)}`);
  });
}

test("trap 7: a tcp check does not believe the keeper's own listening", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const slow = `setTimeout(() => { ${plainNode("slow")} }, 600)`;
  const ready = {
    check: { type: "tcp", socket: "http" },
    everyMs: 50,
    passes: 1,
    withinMs: PATIENCE_MS,
    aliveMs: 1,
  } as const;
  const plan = releasePlan(
    b.release({ "app.js": slow }),
    processPlan("node app.js", { listen: { http: listenAt(port) }, ready }),
  );
  const began = performance.now();
  await b.runtime.judge(plan, {}, b.signal);
  assert.ok(performance.now() - began >= 550);
});

test("an app that ends while it is judged is reported with its last lines, and no earlier one's", async (t) => {
  const b = await bench(t);
  fs.mkdirSync(path.join(b.home, "log", "app"), { recursive: true });
  fs.writeFileSync(path.join(b.home, "log", "app", "web.1.log"), "EADDRINUSE: address already in use\n");
  const app = `console.error("no database"); process.exit(3)`;
  const plan = releasePlan(
    b.release({ "app.js": app }),
    processPlan("node app.js", { listen: { http: listenAt(null) } }),
  );
  await assert.rejects(
    b.runtime.judge(plan, {}, b.signal),
    (err: { code: string; data: { tail: string[]; code: number } }) => {
      assert.equal(err.code, "APP_EXITED");
      assert.equal(err.data.code, 3);
      assert.deepEqual(err.data.tail, ["no database"]);
      return true;
    },
  );
});

test("an app that goes to the background is told to stay, and does not stay there", async (t) => {
  const b = await bench(t);
  const pidFile = path.join(b.home, "daemon.pid");
  const daemon = `setsid -f sh -c 'echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 600'`;
  const run = { sh: `${daemon}; until [ -e ${pidFile} ]; do sleep 0.02; done` };
  const plan = releasePlan(b.release({ a: "" }), processPlan(run));
  const message = /\(exit status 0; it has to stay, in the foreground\)$/;
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "APP_EXITED", message });
  const pid = Number(fs.readFileSync(pidFile, "utf8"));
  await eventually("the daemon's end", () => (statOf(pid)?.state ?? "Z") === "Z");
});

test("a command that does not exist is START_FAILED, with where it was looked for", async (t) => {
  const b = await bench(t);
  const plan = releasePlan(
    b.release({ a: "" }),
    processPlan("no-such-program", { listen: { http: listenAt(null) } }),
  );
  const message = /: no-such-program is in no folder of its PATH, \/usr\/local\/sbin:/;
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "START_FAILED", message });
  const ownEnd = releasePlan(b.release({ a: "" }), processPlan({ sh: "exit 127" }));
  await assert.rejects(b.runtime.judge(ownEnd, {}, b.signal), { message: /\(exit status 127\)$/ });
});

for (const [what, script, message] of [
  [
    "whose interpreter is not there",
    "#!/usr/bin/none\n",
    /: \.\/start asks for \/usr\/bin\/none, which is not there/,
  ],
  ["that was written on Windows", "#!/bin/sh\r\nsleep 60\r\n", /: \.\/start has Windows line ends/],
] as const) {
  test(`a script ${what} is told to be that, and not to be missing`, async (t) => {
    const b = await bench(t);
    const release = b.release({ start: script });
    const plan = releasePlan(release, processPlan("./start", { listen: { http: listenAt(null) } }));
    await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "START_FAILED", message });
  });
}

test("a file without a mode to run is told to have none", async (t) => {
  const b = await bench(t);
  const release = b.release({ start: "#!/bin/sh\n" });
  fs.chmodSync(path.join(release, "start"), 0o444);
  const plan = releasePlan(release, processPlan("./start", { listen: { http: listenAt(null) } }));
  const message = /: \.\/start is not executable/;
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "START_FAILED", message });
});

test("a version whose verify throws never saw a public request", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const listen = { http: listenAt(port) };
  const good = releasePlan(
    b.release({ "app.js": plainNode("good") }),
    processPlan("node app.js", { listen }),
  );
  await deploy(b.runtime, good, undefined, b.signal);
  const seen = path.join(b.home, "seen");
  const bad = releasePlan(
    b.release({
      "app.js": `require("http").createServer((q, r) => { require("fs").appendFileSync(${JSON.stringify(seen)}, q.url + "\\n"); r.end("bad"); }).listen(process.env.PORT)`,
    }),
    processPlan("node app.js", { listen }),
  );
  const verify = async (addresses: Readonly<Record<string, string>>): Promise<void> => {
    const [, at] = (addresses["SKEIN_ADDRESS_HTTP"] ?? "").split(":");
    assert.equal((await get(Number(at), "/private")).body, "bad");
    for (let n = 0; n < 20; n++) assert.equal((await get(port, "/public")).body, "good");
    throw new Error("not good enough");
  };
  await assert.rejects(b.runtime.judge(bad, { verify }, b.signal), /not good enough/);
  assert.equal(fs.readFileSync(seen, "utf8"), "/private\n");
  assert.equal((await get(port)).body, "good");
});

test("gate: off attaches unjudged and says so", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const listen = { http: listenAt(port, { gate: "off" }) };
  const plan = releasePlan(b.release({ "app.py": acceptor("v1") }), socketProcess(port, { listen }));
  const { attached } = await deploy(b.runtime, plan, undefined, b.signal);
  assert.deepEqual(
    attached.warnings.map((warning) => warning.code),
    ["GATE_UNSEEN"],
  );
  assert.equal((await get(port)).body, "v1");
});

test("a port that another app of the node has is PORT_TAKEN, with its name", async (t) => {
  const b = await bench(t);
  const listen = { http: listenAt(await freePort()) };
  const files = { "app.js": plainNode("a") };
  const first = releasePlan(b.release(files), processPlan("node app.js", { listen }));
  await deploy(b.runtime, first, undefined, b.signal);
  const other = releasePlan(b.release(files), processPlan("node app.js", { listen }), { app: "blog" });
  const message = /^the app shop of this node has /;
  await assert.rejects(b.runtime.judge(other, {}, b.signal), { code: "PORT_TAKEN", message });
});

test("a port that another program has is PORT_TAKEN", async (t) => {
  const b = await bench(t);
  const other = http.createServer().listen(0, "127.0.0.1");
  atEnd(t, () => other.close());
  await eventually("it listens", () => other.listening);
  const { port } = other.address() as net.AddressInfo;
  const plan = releasePlan(
    b.release({ "app.js": "" }),
    processPlan("node app.js", { listen: { http: listenAt(port) } }),
  );
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "PORT_TAKEN" });
});

test("a unix socket's path stays through a swap", async (t) => {
  const b = await bench(t);
  const listen = { http: listenAt(null, { protocol: "unix", path: "web.sock", handover: "auto" }) };
  const planOf = (v: string) =>
    releasePlan(b.release({ "app.js": plainNode(v) }), processPlan("node app.js", { listen }));
  const [one, two] = [planOf("one"), planOf("two")];
  await deploy(b.runtime, one, undefined, b.signal);
  const [row] = await b.runtime.list();
  const ask = async (): Promise<string> =>
    await new Promise((resolve, reject) => {
      const request = http.get({ socketPath: row?.path ?? "", path: "/", agent: false }, (r) =>
        r.on("data", (d) => resolve(String(d))),
      );
      request.on("error", reject);
    });
  assert.equal(await ask(), "one");
  await deploy(b.runtime, two, one, b.signal);
  assert.equal(await ask(), "two");
});

test("a first deployment that fails leaves no socket behind, also when nothing was started yet", async (t) => {
  const b = await bench(t);
  const [free, other] = [await freePort(), http.createServer().listen(0, "127.0.0.1")];
  atEnd(t, () => other.close());
  await eventually("it listens", () => other.listening);
  const listen = { a: listenAt(free), b: listenAt((other.address() as net.AddressInfo).port) };
  const plan = releasePlan(b.release({ "app.js": "" }), processPlan("node app.js", { listen }));
  await assert.rejects(b.runtime.judge(plan, {}, b.signal), { code: "PORT_TAKEN" });
  assert.deepEqual((await b.runtime.link.call("list", {})).sockets, []);
});

test("where sockets cannot be held, the modes that need it are refused and the others named", async (t) => {
  const b = await bench(t);
  await b.runtime[Symbol.asyncDispose]();
  await endKeeper(b.run);
  const keeper = spawn(process.execPath, [programFile("keeper"), b.run], {
    env: { SKEIN_WITHOUT_FFI: "1" },
    stdio: "ignore",
  });
  atEnd(t, () => keeper.kill("SIGKILL"));
  await untilKeeper(b.run);
  const runtime = await b.openAnother();
  const files = { "app.js": plainNode("own") };
  const held = releasePlan(b.release(files), processPlan("node app.js", { listen: { http: listenAt(1) } }));
  await assert.rejects(runtime.judge(held, {}, b.signal), {
    code: "HANDOVER_REFUSED",
    data: { process: "web", modes: ["port", "gap"] },
  });
  const own = releasePlan(b.release(files), processPlan("node app.js", { listen: { http: listenAt(null) } }));
  await deploy(runtime, own, undefined, b.signal);
  assert.equal((await get((await runtime.list())[0]?.port ?? 0)).body, "own");
});

test("a process that cannot be seen waiting is taken at its word after two seconds, and that is said (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const polls = acceptor("v1")
    .replace("while True:\n", "import time\ns.setblocking(False)\nwhile True:\n    time.sleep(0.005)\n")
    .replace("    c, _ = s.accept()", "    try: c, _ = s.accept()\n    except BlockingIOError: continue");
  const plan = releasePlan(b.release({ "app.py": polls }), socketProcess(port, { ready: httpReady() }));
  const { attached } = await deploy(b.runtime, plan, undefined, b.signal);
  assert.deepEqual(
    attached.warnings.map((warning) => warning.code),
    ["GATE_UNSEEN"],
  );
  assert.match(attached.warnings[0]?.message ?? "", new RegExp(`^${plan.app} \\w+\\.1 holds its socket`));
  assert.equal((await get(port)).body, "v1");

  // Trap 6: it has made the socket one that does not block, for every holder. Who waits in accept cannot take it over
  // while the first one serves, and can after it.
  const next = (overlap: boolean) =>
    releasePlan(
      b.release({ "app.py": acceptor("v2") }),
      socketProcess(port, { ready: httpReady(), overlap }),
    );
  const beside = next(true);
  await assert.rejects(
    deploy(b.runtime, beside, plan, b.signal),
    (err: { code: string; data: { tail: string[] } }) => {
      assert.equal(err.code, "APP_EXITED");
      assert.match(err.data.tail.join("\n"), /BlockingIOError/);
      return true;
    },
  );
  await b.runtime.abandon(beside);
  assert.equal((await get(port)).body, "v1");
  const after = next(false);
  await deploy(b.runtime, after, plan, b.signal);
  for (let n = 0; n < 3; n++) assert.equal((await get(port)).body, "v2");
  assert.deepEqual(
    (await b.runtime.list()).map(({ release, crashes }) => [release, crashes]),
    [[after.release, 0]],
  );
});

test("two instances share the public sockets, each is judged on its own", async (t) => {
  const b = await bench(t);
  const [one, two] = [await freePort(), await freePort()];
  const app = `for (const port of [process.env.PORT, process.env.SKEIN_PORT_ADMIN]) require("http").createServer((q, r) => r.end(process.env.SKEIN_INSTANCE + " " + port)).listen(port)`;
  const listen = { http: listenAt(one), admin: listenAt(two) };
  const plan = releasePlan(b.release({ "app.js": app }), processPlan("node app.js", { listen, count: 2 }));
  await deploy(b.runtime, plan, undefined, b.signal);
  assert.equal((await b.runtime.list()).length, 4);
  const seen = new Set<string>();
  for (let n = 0; n < 200 && seen.size < 2; n++) seen.add((await get(two)).body);
  assert.match([...seen][0] ?? "", new RegExp(` ${two}$`));
  await b.runtime.retire(plan);
  await assert.rejects(get(one), { code: "ECONNREFUSED" });
});
