import { spawn, type ChildProcess } from "node:child_process";
import fs from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { DEFAULTS } from "../src/app/defaults.ts";
import type { Handover, Process } from "../src/app/manifest.ts";
import type { LoadOptions, LoadResult } from "../src/agent/runtime/load.fixture.ts";
import type { ReleasePlan } from "../src/agent/runtime/release-plan.ts";
import { AppRuntime } from "../src/agent/runtime/runtime.ts";
import { digestOf } from "../src/lib/text/ids.ts";
import { silentLog } from "../src/lib/process/log.ts";
import type { BenchOptions, Figure } from "./bench.ts";
import { installPm2 } from "./peers/pm2.ts";

/**
 * Requests lost while one version replaces the other, under 1,000 requests a second on an open loop: half of the
 * hand-overs with 64 reused connections, half with a new connection for each request. The app takes 5 ms to answer.
 */
const PER_SEC = 1000;
const CONNECTIONS = 64;
const PAUSE_MS = 100;
/** How long idle connections live on after the signal; half of the default, for the length of the run. */
const WINDOW_MS = 500;

/** Unmodified: it knows of no signal and no descriptor. */
const PLAIN = `
const body = Buffer.from(process.env.VERSION || "x");
require("http").createServer((q, r) => setTimeout(() => {
  r.writeHead(200, { "Content-Length": body.length });
  r.end(body);
}, 5)).listen(Number(process.env.PORT));
`;

/** Takes a passed socket and drains by itself, as a server in any language can. */
const SOCKET = `
const net = require("net");
const body = Buffer.from(process.env.VERSION || "x");
let draining = false;
const server = require("http").createServer((q, r) => setTimeout(() => {
  if (draining) r.setHeader("Connection", "close");
  r.writeHead(200, { "Content-Length": body.length });
  r.end(body);
}, 5));
server.keepAliveTimeout = 60000;
server.listen({ fd: Number(process.env.SKEIN_FD_HTTP) });
process.on("SIGTERM", () => {
  draining = true;
  net.Server.prototype.close.call(server, () => process.exit(0));
  setTimeout(() => server.closeIdleConnections(), ${WINDOW_MS});
});
`;

type Mode = "keep" | "one";
type Swap = (n: number) => Promise<void>;

interface Subject {
  readonly name: string;
  /** Promises that nothing is lost. */
  readonly promises: boolean;
  readonly port: number;
  /** The n-th version replaces the one before; 0 is the first. */
  readonly swap: Swap;
}

export async function* bench({ quick, signal }: BenchOptions): AsyncGenerator<Figure> {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "skein-bench-"));
  await fs.chmod(home, 0o755);
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => await fs.rm(home, { recursive: true, force: true }));
  const runtime = stack.use(await openRuntime(home));
  stack.defer(async () => await runtime.link.call("shutdown", {}).then(() => undefined));
  const swaps = quick ? 3 : 50;
  const peers = await peerSubjects(home, stack, signal);
  const lostByPeers: { readonly name: string; readonly mode: Mode; readonly result: LoadResult }[] = [];
  for (const peer of peers) {
    for (const mode of ["keep", "one"] as const) {
      const result = await measure(peer, mode, quick ? 2 : 10, signal);
      lostByPeers.push({ name: peer.name, mode, result });
    }
  }
  for (const subject of await ourSubjects(home, runtime)) {
    for (const mode of ["keep", "one"] as const) {
      const result = await measure(subject, mode, swaps, signal);
      for (const peer of lostByPeers.filter((one) => one.mode === mode)) {
        yield figureOf(subject, mode, swaps, result, peer);
      }
    }
  }
}

function figureOf(
  subject: Subject,
  mode: Mode,
  swaps: number,
  result: LoadResult,
  peer: { readonly name: string; readonly result: LoadResult },
): Figure {
  const how = mode === "keep" ? "keep-alive" : "new connections";
  const classes = Object.entries(result.classes).map(([name, count]) => `${name} ${count}`);
  const [ours, theirs] = [perTenThousand(result), perTenThousand(peer.result)];
  return {
    bench: "handover",
    case: `${subject.name}, ${how}: lost of 10,000 (${result.lost} of ${result.sent}${classes.length > 0 ? `: ${classes.join(", ")}` : ""}, ${swaps} hand-overs, slowest ${result.slowestMs} ms)`,
    ours,
    peer: theirs,
    peer_name: `${peer.name} (${peer.result.lost} of ${peer.result.sent})`,
    ratio: theirs === 0 ? null : ours / theirs,
    goal: "0 lost",
    met: result.lost === 0,
  };
}

const perTenThousand = (result: LoadResult): number =>
  Math.round((result.lost / Math.max(1, result.sent)) * 100_000) / 10;

/** The subject's next version is the number after the last one it was given, over all measurements. */
const versions = new Map<string, number>();

async function measure(
  subject: Subject,
  mode: Mode,
  swaps: number,
  signal: AbortSignal,
): Promise<LoadResult> {
  const next = async (): Promise<void> => {
    const n = versions.get(subject.name) ?? 0;
    versions.set(subject.name, n + 1);
    await subject.swap(n);
  };
  if (!versions.has(subject.name)) await next();
  await sleep(PAUSE_MS, undefined, { signal });
  const connections = mode === "keep" ? CONNECTIONS : 0;
  const load = startLoad({ port: subject.port, perSec: PER_SEC, mode, connections });
  await sleep(500, undefined, { signal });
  for (let n = 0; n < swaps; n++) {
    signal.throwIfAborted();
    await next();
    await sleep(PAUSE_MS, undefined, { signal });
  }
  return await load();
}

/** Starts the client on its own thread; the returned function ends it and gives what it counted. */
function startLoad(options: LoadOptions): () => Promise<LoadResult> {
  const worker = new Worker(new URL("peers/load-worker.ts", import.meta.url), { workerData: options });
  return async () => {
    const result = new Promise<LoadResult>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    worker.postMessage("end");
    const counted = await result;
    await worker.terminate();
    return counted;
  };
}

// Ours

async function openRuntime(home: string): Promise<AppRuntime> {
  return await AppRuntime.open({
    run: path.join(home, "run"),
    logs: path.join(home, "log"),
    bind: "127.0.0.1",
    address: () => "127.0.0.1",
    node: "bench",
    log: silentLog,
  });
}

async function ourSubjects(home: string, runtime: AppRuntime): Promise<Subject[]> {
  const kinds: [name: string, handover: Handover, app: string, overlap: boolean][] = [
    ["node", "node", PLAIN, true],
    ["socket", "socket", SOCKET, true],
    ["node with overlap: false", "node", PLAIN, false],
  ];
  const subjects: Subject[] = [];
  for (const [name, handover, app, overlap] of kinds) {
    const port = await freePort();
    const dir = path.join(home, name.replaceAll(/\W/g, "-"));
    await fs.mkdir(dir, { recursive: true });
    await fs.writeFile(path.join(dir, "app.cjs"), app);
    const id = `bench-${subjects.length}`;
    const planOf = (n: number): ReleasePlan => ourPlan(id, dir, n, ourProcess(port, handover, overlap));
    subjects.push({
      name,
      promises: true,
      port,
      swap: async (n) => await handOver(runtime, planOf(n), planOf(n - 1)),
    });
  }
  return subjects;
}

async function handOver(runtime: AppRuntime, plan: ReleasePlan, old: ReleasePlan): Promise<void> {
  const { signal } = new AbortController();
  await runtime.judge(plan, {}, signal);
  await runtime.attach(plan, signal);
  runtime.settle(plan);
  await runtime.retire(old);
}

function ourProcess(port: number, handover: Handover, overlap: boolean): Process {
  return {
    run: { argv: [process.execPath, "app.cjs"] },
    overlap,
    count: 1,
    on: null,
    listen: { http: { protocol: "http", port, path: null, handover, gate: "auto", backlog: 4096 } },
    ready: {
      check: { type: "http", path: "/", socket: "http", tls: false },
      everyMs: 20,
      passes: 2,
      withinMs: 10_000,
      aliveMs: 0,
    },
    live: null,
    drain: { ...DEFAULTS.drain, windowMs: WINDOW_MS },
    restart: { backoffMinMs: 100, backoffMaxMs: 1000, limit: 10, limitWithinMs: 60_000 },
    limits: { memoryBytes: null, cpu: null, files: null, pids: null },
    after: [],
    uses: [],
    env: {},
  };
}

function ourPlan(app: string, dir: string, n: number, process: Process): ReleasePlan {
  return {
    app,
    release: digestOf(`${app} ${n}`).slice(0, 32),
    generation: 1,
    environment: "default",
    commit: null,
    repo: app,
    dir,
    data: dir,
    user: null,
    env: { VERSION: `v${n}` },
    processes: [{ ...process, name: "web", registry: null }],
  };
}

// Peers

async function peerSubjects(
  home: string,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Subject[]> {
  const app = path.join(home, "plain.cjs");
  await fs.writeFile(app, PLAIN);
  const pm2 = stack.use(await installPm2(path.join(home, "pm2"), signal));
  const pm2Port = await freePort();
  const restartPort = await freePort();
  let running: ChildProcess | undefined;
  stack.defer(() => {
    running?.kill("SIGKILL");
  });
  const restart: Swap = async () => {
    const old = running;
    if (old !== undefined) {
      const gone = new Promise((resolve) => old.once("exit", resolve));
      old.kill("SIGTERM");
      await gone;
    }
    running = spawn(process.execPath, [app], { env: { PORT: String(restartPort) }, stdio: "ignore" });
    await untilOpen(restartPort, signal);
  };
  const reload: Swap = async (n) => {
    if (n === 0) await pm2.start(app, pm2Port);
    else await pm2.reload(app, pm2Port);
    await untilOpen(pm2Port, signal);
  };
  return [
    { name: "pm2 reload", promises: false, port: pm2Port, swap: reload },
    { name: "plain restart", promises: false, port: restartPort, swap: restart },
  ];
}

async function untilOpen(port: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("close", () => undefined);
      socket.unref();
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await sleep(10, undefined, { signal });
  }
}
