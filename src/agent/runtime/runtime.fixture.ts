import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Listen } from "../../app/manifest.ts";
import { splitCommand } from "../../app/command.ts";
import { KeeperClient } from "../../keeper/client.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { statOf } from "../../keeper/proc.ts";
import { silentLog } from "../../lib/process/log.ts";
import type { ProcessPlan, ReleasePlan } from "./release-plan.ts";
import { AppRuntime } from "./runtime.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

/** A node of its own for one test: folders, keeper, runtime; everything it started is gone afterwards. */
export interface Bench {
  readonly home: string;
  readonly run: string;
  readonly runtime: AppRuntime;
  readonly signal: AbortSignal;
  /** A release directory with these files. */
  release(files: Readonly<Record<string, string>>): string;
  /** Another agent on the same keeper. */
  openAnother(address?: string): Promise<AppRuntime>;
  keeperPid(): number;
}

export async function bench(t: TestContext): Promise<Bench> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "rt-"));
  fs.chmodSync(home, 0o755);
  const run = path.join(home, "run");
  const opened: AppRuntime[] = [];
  const open = async (address = "127.0.0.1"): Promise<AppRuntime> => {
    const options = {
      run,
      logs: path.join(home, "log"),
      bind: "127.0.0.1",
      address: () => address,
      node: "n1",
    };
    const runtime = await AppRuntime.open({ ...options, log: silentLog });
    opened.push(runtime);
    return runtime;
  };
  atEnd(t, async () => {
    for (const runtime of opened) await runtime[Symbol.asyncDispose]();
    await endKeeper(run);
    fs.rmSync(home, { recursive: true, force: true });
  });
  const runtime = await open();
  let releases = 0;
  return {
    home,
    run,
    runtime,
    signal: t.signal,
    release(files) {
      const dir = path.join(home, "revs", String((releases += 1)));
      for (const [name, text] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
        fs.writeFileSync(path.join(dir, name), text, { mode: 0o755 });
      }
      return dir;
    },
    openAnother: open,
    keeperPid: () => Number(JSON.parse(fs.readFileSync(path.join(run, "keeper.json"), "utf8")).pid),
  };
}

/** Kills every instance that the keeper knows and the keeper itself, whatever state it is in. */
export async function endKeeper(run: string): Promise<void> {
  await endKnownKeeper(run);
  // One that an agent started just before it was killed answers nobody yet.
  for (const pid of processesOf(run)) killQuietly(pid);
}

/** Processes with this folder for an argument: its keepers. */
export function processesOf(run: string): number[] {
  return fs.readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    return Number.isInteger(pid) && pid !== process.pid && argumentsOf(pid).includes(run) ? [pid] : [];
  });
}

function argumentsOf(pid: number): readonly string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // gone meanwhile
  }
}

/** Its first thread may be over while others still hold its files, and with them its lock. */
function hasEnded(pid: number): boolean {
  const stat = statOf(pid);
  return stat === undefined || (stat.state === "Z" && stat.threads <= 1);
}

async function endKnownKeeper(run: string): Promise<void> {
  try {
    const client = await KeeperClient.connect(path.join(run, "keeper.sock"));
    const { instances } = await client.call("list", {});
    for (const { pid } of instances) killQuietly(-pid);
    await client.call("shutdown", {});
    await eventually("its end", () => hasEnded(client.hello.pid)); // its last act takes the socket file away
  } catch {
    // it is gone; what it had is in its file
    const state = readJson(path.join(run, "keeper.json"));
    for (const { pid } of state?.instances ?? []) killQuietly(-pid);
    if (state !== undefined) killQuietly(state.pid);
  }
}

/** Waits until a keeper that somebody else starts answers. */
export async function untilKeeper(run: string): Promise<void> {
  const connect = async () => await KeeperClient.connect(path.join(run, "keeper.sock"));
  const client = await eventually("a keeper", connect);
  await client[Symbol.asyncDispose]();
}

function readJson(file: string): { pid: number; instances: { pid: number }[] } | undefined {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function killQuietly(pid: number): void {
  try {
    if (Math.abs(pid) > 1) process.kill(pid, "SIGKILL");
  } catch {
    // gone already
  }
}

export const listenAt = (port: number | null, over: Partial<Listen> = {}): Listen => ({
  protocol: "http",
  port,
  path: null,
  handover: port === null ? "port" : "auto",
  gate: "auto",
  backlog: 4096,
  ...over,
});

/** A process with quick timings. */
export function processPlan(run: string | ProcessPlan["run"], over: Partial<ProcessPlan> = {}): ProcessPlan {
  return {
    name: "web",
    run: typeof run === "string" ? splitCommand(run) : run,
    overlap: true,
    count: 1,
    on: null,
    listen: {},
    ready: { check: null, everyMs: 50, passes: 1, withinMs: PATIENCE_MS, aliveMs: 300 },
    live: null,
    drain: { signal: "TERM", windowMs: 150, withinMs: 20_000, now: "KILL" },
    restart: { backoffMinMs: 50, backoffMaxMs: 400, limit: 3, limitWithinMs: 60_000 },
    limits: { memoryBytes: null, cpu: null, files: null, pids: null },
    after: [],
    uses: [],
    registry: null,
    env: {},
    ...over,
  };
}

let generations = 0;

export function releasePlan(
  dir: string,
  process: ProcessPlan | ProcessPlan[],
  over: Partial<ReleasePlan> = {},
): ReleasePlan {
  const data = path.join(path.dirname(path.dirname(dir)), "data");
  fs.mkdirSync(data, { recursive: true });
  generations += 1;
  return {
    app: "shop",
    release: digestOf(`${dir} ${generations}`).slice(0, 32),
    generation: 1,
    environment: "default",
    commit: null,
    repo: "shop",
    dir,
    data,
    user: null,
    env: {},
    processes: [process].flat(),
    ...over,
  };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request on a fresh connection. */
export async function get(port: number, url = "/"): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, path: url, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", reject);
    });
    request.setTimeout(PATIENCE_MS, () => request.destroy(new Error("no answer")));
    request.on("error", reject);
  });
}

/** Judge, attach and retire: a whole hand-over. */
export async function deploy(
  runtime: AppRuntime,
  plan: ReleasePlan,
  old: ReleasePlan | undefined,
  signal: AbortSignal,
) {
  const judged = await runtime.judge(plan, {}, signal);
  const attached = await runtime.attach(plan, signal);
  runtime.settle(plan);
  const retired = old === undefined ? undefined : await runtime.retire(old);
  return { judged, attached, retired };
}

/** A small Node app that listens on $PORT and answers its version. Knows nothing of signals. */
export const plainNode = (version: string): string => `
  const http = require("http");
  http.createServer((q, r) => setTimeout(() => r.end(${JSON.stringify(version)}), 3)).listen(process.env.PORT);
`;
