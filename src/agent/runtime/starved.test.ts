/** Hand-overs in which a process gets no time to run at the worst moment: SIGSTOP takes it all of it, exactly then. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { statOf } from "../../keeper/proc.ts";
import {
  bench,
  deploy,
  listenAt,
  plainNode,
  processPlan,
  releasePlan,
  type Bench,
} from "./runtime.fixture.ts";
import type { ReleasePlan } from "./release-plan.ts";

const WINDOW_MS = 300;
const REQUEST = "GET / HTTP/1.1\r\nHost: starved\r\n\r\n";

/** A connection of a client that repeats nothing: one that is closed unanswered is a loss. */
class Connection {
  readonly socket: net.Socket;
  #text = "";
  #end: string | undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket.setEncoding("latin1");
    socket.on("data", (text: string) => (this.#text += text));
    socket.on("error", (err: NodeJS.ErrnoException) => (this.#end ??= err.code));
    socket.on("close", () => (this.#end ??= "closed"));
  }

  static async open(t: test.TestContext, port: number): Promise<Connection> {
    const socket = net.connect({ port, host: "127.0.0.1" });
    atEnd(t, () => socket.destroy());
    await once(socket, "connect");
    return new Connection(socket);
  }

  send(): void {
    this.socket.write(REQUEST);
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** The head and body of the next answer. */
  async answer(): Promise<string> {
    return await eventually(
      "an answer",
      () => {
        const [head = "", body = ""] = this.#text.split("\r\n\r\n");
        const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? Infinity);
        if (body.length >= length) {
          this.#text = this.#text.slice(head.length + 4 + length);
          return `${head}\r\n\r\n${body.slice(0, length)}`;
        }
        if (this.#end !== undefined) throw new Error(`${this.#end} after ${body.length} bytes`);
        return undefined;
      },
      { everyMs: 5, giveUp: () => true },
    );
  }

  async ask(): Promise<string> {
    this.send();
    return await this.answer();
  }
}

async function several(t: test.TestContext, port: number, count: number): Promise<Connection[]> {
  return await Promise.all(Array.from({ length: count }, async () => await Connection.open(t, port)));
}

function nodePlan(b: Bench, port: number, app: string, windowMs = WINDOW_MS): ReleasePlan {
  return releasePlan(
    b.release({ "app.js": app }),
    processPlan("node app.js", {
      listen: { http: listenAt(port) },
      drain: { signal: "TERM", windowMs, withinMs: 20_000, now: "KILL" },
    }),
  );
}

async function groupOf(b: Bench, { release }: ReleasePlan): Promise<number> {
  return (await b.runtime.list()).find((row) => row.release === release)?.pid ?? 0;
}

/** Its whole group gets no time any more. */
async function freeze(group: number): Promise<void> {
  process.kill(-group, "SIGSTOP");
  await eventually("its stop", () => statOf(group)?.state === "T");
}

const thaw = (group: number): boolean => process.kill(-group, "SIGCONT");

const bodyOf = (answer: string): string => answer.slice(answer.indexOf("\r\n\r\n") + 4);

/** Resolves when a server says with an answer that it drains, or has closed what was idle for too long. */
async function untilDraining(connection: Connection): Promise<void> {
  const isDraining = async (): Promise<boolean> =>
    connection.hasEnded || /connection: close/i.test(await connection.ask());
  await eventually("its drain", isDraining);
}

/** Closes no connection of its own accord, however long nothing of it is let run. */
const patient = (version: string, more = ""): string => `
  const server = require("http").createServer((q, r) => {
    r.end("${version}");
    ${more}
  });
  server.keepAliveTimeout = 0;
  server.listen(process.env.PORT);`;

/** With its first answer while it drains it stops: before its window ends, whoever else is late. */
const STOPS = `if (!r.shouldKeepAlive && !globalThis.stops) {
      globalThis.stops = true;
      setImmediate(() => process.kill(process.pid, "SIGSTOP"));
    }`;

test("what comes while the old version has no time, before it knows of its end, is answered", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const [old, next] = [nodePlan(b, port, patient("v0")), nodePlan(b, port, patient("v1"))];
  await deploy(b.runtime, old, undefined, b.signal);
  await b.runtime.judge(next, {}, b.signal);
  const kept = await several(t, port, 3);
  for (const one of kept) await one.ask();
  const silent = await several(t, port, 3);
  await (await Connection.open(t, port)).ask(); // those before it are accepted
  const group = await groupOf(b, old);
  await freeze(group);
  const fresh = await several(t, port, 3);
  await b.runtime.attach(next, b.signal);
  const retired = b.runtime.retire(old);
  const all = [...kept, ...silent, ...fresh, ...(await several(t, port, 3))];
  for (const one of all) one.send();
  await sleep(2 * WINDOW_MS);
  thaw(group);
  const answers = await Promise.all(all.map(async (one) => bodyOf(await one.answer())));
  assert.deepEqual(answers.slice(0, 6), Array(6).fill("v0"));
  assert.ok(answers.slice(6).every((body) => ["v0", "v1"].includes(body)));
  assert.equal((await retired).cut, 0);
});

test("requests that lie unread when the window ends are answered", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const old = nodePlan(b, port, patient("v0", STOPS));
  await deploy(b.runtime, old, undefined, b.signal);
  const kept = await several(t, port, 4);
  for (const one of kept) await one.ask();
  const silent = await several(t, port, 3);
  const [first] = kept;
  assert.ok(first !== undefined);
  const group = await groupOf(b, old);
  await first.ask(); // the silent ones are accepted
  const retired = b.runtime.retire(old);
  await untilDraining(first);
  await eventually("its stop", () => statOf(group)?.state === "T");
  await sleep(2 * WINDOW_MS);
  const asking = [...kept.slice(1), ...silent];
  for (const one of asking) one.send();
  thaw(group);
  for (const one of asking) assert.equal(bodyOf(await one.answer()), "v0");
  assert.equal((await retired).cut, 0);
});

test("an answer that its client reads slowly is sent to its end, however long after the window (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const size = 40_000_000;
  const old = nodePlan(
    b,
    port,
    `require("http").createServer((q, r) => r.end(q.url === "/" ? "v0" : Buffer.alloc(${size}, "x"))).listen(process.env.PORT)`,
  );
  await deploy(b.runtime, old, undefined, b.signal);
  const canary = await Connection.open(t, port);
  const slow = net.connect({ port, host: "127.0.0.1" });
  atEnd(t, () => slow.destroy());
  slow.write("GET /large HTTP/1.1\r\nHost: starved\r\n\r\n");
  await once(slow, "readable");
  await canary.ask();
  const retired = b.runtime.retire(old);
  await untilDraining(canary);
  await sleep(3 * WINDOW_MS);
  let bytes = 0;
  for await (const part of slow) bytes += (part as Buffer).length;
  assert.ok(bytes > size, String(bytes));
  assert.equal((await retired).cut, 0);
});

test("a connection whose answer ended after the window is kept for a window, as its client was told", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const windowMs = 1000;
  const app = `require("http").createServer((q, r) => {
      r.writeHead(200, { "content-length": 2 });
      r.flushHeaders();
      const end = () => q.headers.later && !require("fs").existsSync("word") ? setTimeout(end, 10) : r.end("v0");
      end();
    }).listen(process.env.PORT)`;
  const old = nodePlan(b, port, app, windowMs);
  await deploy(b.runtime, old, undefined, b.signal);
  const [canary, late] = await several(t, port, 2);
  assert.ok(canary !== undefined && late !== undefined);
  late.socket.write(REQUEST.replace("\r\n\r\n", "\r\nLater: yes\r\n\r\n"));
  await once(late.socket, "data");
  const retired = b.runtime.retire(old);
  await untilDraining(canary);
  await sleep(1.2 * windowMs);
  fs.writeFileSync(path.join(old.dir, "word"), "");
  assert.match(await late.answer(), /keep-alive/i);
  await sleep(0.3 * windowMs);
  assert.match(await late.ask(), /connection: close/i);
  assert.equal((await retired).cut, 0);
});

test("a new version that gets no time before it is attached, or after, keeps nobody without an answer", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const [old, next] = [nodePlan(b, port, plainNode("v0")), nodePlan(b, port, plainNode("v1"))];
  await deploy(b.runtime, old, undefined, b.signal);
  await b.runtime.judge(next, {}, b.signal);
  const group = await groupOf(b, next);
  await freeze(group);
  const attached = b.runtime.attach(next, b.signal);
  await eventually("its gate", async () => {
    const { instances } = await b.runtime.link.call("list", {});
    return instances.find((one) => one.pid === group)?.attached;
  });
  for (let n = 0; n < 3; n++) assert.equal(bodyOf(await (await Connection.open(t, port)).ask()), "v0");
  thaw(group);
  await attached;
  await freeze(group);
  assert.equal((await b.runtime.retire(old)).cut, 0);
  const waiting = await several(t, port, 3);
  for (const one of waiting) one.send();
  thaw(group);
  for (const one of waiting) assert.equal(bodyOf(await one.answer()), "v1");
});

/** One frame of HTTP/2: its type, its flags, its stream and what is in it. */
function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const [DATA, HEADERS, SETTINGS, GOAWAY] = [0, 1, 4, 7];
/** `GET http://x/` in HPACK, at the stream's end. */
const getOn = (stream: number): Buffer =>
  frame(HEADERS, 0x5, stream, Buffer.from([0x82, 0x86, 0x84, 1, 1, 0x78]));

interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

function framesIn(bytes: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = 0, end = 0; at + 9 <= bytes.length; at = end) {
    end = at + 9 + bytes.readUIntBE(at, 3);
    const [type, stream] = [bytes.readUInt8(at + 3), bytes.readUInt32BE(at + 5)];
    found.push({ type, stream, payload: bytes.subarray(at + 9, end) });
  }
  return found;
}

test("HTTP/2 streams that lie unread when the drain begins are answered, and later ones refused at once (long)", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const app = `require("http2").createServer((q, r) => r.end("v0")).listen(+process.env.PORT)`;
  const old = nodePlan(b, port, app, 3000);
  await deploy(b.runtime, old, undefined, b.signal);
  const client = net.connect({ port, host: "127.0.0.1" });
  atEnd(t, () => client.destroy());
  let came = Buffer.alloc(0);
  client.on("error", () => undefined).on("data", (part: Buffer) => (came = Buffer.concat([came, part])));
  const answered = (): number[] =>
    framesIn(came).flatMap(({ type, stream, payload }) =>
      type === DATA && payload.length > 0 ? [stream] : [],
    );
  const begin = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  client.write(Buffer.concat([begin, frame(SETTINGS, 0, 0), getOn(1)]));
  await eventually("an answer", () => answered().includes(1));
  const group = await groupOf(b, old);
  await freeze(group);
  const retired = b.runtime.retire(old);
  await sleep(WINDOW_MS); // the signal waits for it
  client.write(Buffer.concat([getOn(3), getOn(5)]));
  thaw(group);
  const goodbye = await eventually("its goodbye", () => framesIn(came).find(({ type }) => type === GOAWAY));
  assert.equal(goodbye.payload.readUInt32BE(0), 5, "the last stream that is answered");
  await eventually("the answers", () => answered().includes(5));
  assert.deepEqual(answered(), [1, 3, 5]);
  client.destroy();
  assert.equal((await retired).cut, 0);
});

/**
 * Asked for /busy, it is held up in each turn of its loop from then on, and each time one more of its idle clients asks
 * just then: one that sees no end of its connection by then is to be answered.
 */
const HELD_UP = `
  const { Worker, isMainThread, workerData: held, parentPort } = require("worker_threads");
  const turns = 40;
  if (isMainThread) {
    const held = new Int32Array(new SharedArrayBuffer(4));
    const clients = new Worker(__filename, { workerData: held });
    let turn = 0;
    const beHeldUp = () => {
      clients.postMessage(turn);
      Atomics.wait(held, 0, turn);
      if (++turn < turns) setImmediate(beHeldUp);
    };
    require("http").createServer((q, r) => {
      r.end("v0");
      if (q.url === "/busy") clients.once("message", beHeldUp), clients.postMessage(-1);
    }).listen(process.env.PORT);
  } else {
    const fs = require("fs");
    const all = Array.from({ length: turns }, () => ({ ended: false, asked: false }));
    let connected = 0;
    const open = (one) => {
      one.socket = require("net").connect(process.env.SKEIN_PORT_HTTP || process.env.PORT, "127.0.0.1", () => {
        if (++connected === turns) setTimeout(() => parentPort.postMessage("connected"), 50);
      });
      one.socket.on("end", () => { one.ended = true; });
      one.socket.on("error", () => undefined).on("data", () => { one.answered = true; });
      one.socket.on("close", () => { if (one.asked && !one.answered) fs.appendFileSync("lost", "x"); });
    };
    parentPort.on("message", (turn) => {
      if (turn < 0) return all.forEach(open);
      setTimeout(() => {
        const one = all[turn];
        one.asked = !one.ended;
        const done = () => { Atomics.store(held, 0, turn + 1); Atomics.notify(held, 0); };
        if (one.asked) one.socket.write(${JSON.stringify(REQUEST)}, done);
        else done();
      }, 10);
    });
  }
`;

test("what comes just before an idle connection is closed, in a process that is held up, is answered", async (t) => {
  const b = await bench(t);
  const port = await freePort();
  const old = nodePlan(b, port, HELD_UP);
  await deploy(b.runtime, old, undefined, b.signal);
  const asking = await Connection.open(t, port);
  asking.socket.write(REQUEST.replace("/", "/busy"));
  await asking.answer();
  assert.equal((await b.runtime.retire(old)).cut, 0);
  assert.ok(!fs.existsSync(path.join(old.dir, "lost")), "one that asked was closed");
});
