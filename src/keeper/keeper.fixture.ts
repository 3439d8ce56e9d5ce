import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { ensureKeeper, KeeperClient } from "./client.ts";
import { statOf } from "./proc.ts";
import type { InstanceSpec, KeeperEvent, SocketSpec } from "./protocol.ts";

export interface Fixture {
  readonly home: string;
  readonly run: string;
  readonly keeper: KeeperClient;
  readonly events: KeeperEvent[];
}

/** A keeper of its own, that ends with the test. */
export async function keeperFor(t: TestContext): Promise<Fixture> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "kp-"));
  fs.chmodSync(home, 0o755);
  const run = path.join(home, "run");
  const keeper = await ensureKeeper({ run, logFile: path.join(home, "keeper.log"), signal: t.signal });
  atEnd(t, async () => {
    const client = await KeeperClient.connect(path.join(run, "keeper.sock"));
    for (const { pid } of (await client.call("list", {})).instances) if (pid > 1) killGroup(pid);
    await client.call("shutdown", {});
    await eventually("its end", () => (statOf(client.hello.pid)?.state ?? "Z") === "Z"); // it takes its socket file away at the very end
    await keeper[Symbol.asyncDispose]();
    fs.rmSync(home, { recursive: true, force: true });
  });
  const events: KeeperEvent[] = [];
  keeper.onEvent = (event) => events.push(event);
  await keeper.call("events", {});
  return { home, run, keeper, events };
}

export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // gone already
  }
}

export function spec(home: string, over: Partial<InstanceSpec>): InstanceSpec {
  return {
    key: "app/1/web.1",
    meta: {},
    argv: ["sleep", "60"],
    env: { PATH: "/usr/bin:/bin" },
    cwd: home,
    user: null,
    sockets: [],
    gate: false,
    log: { file: path.join(home, "log", "web.log"), maxBytes: 1e6, keep: 2 },
    limits: { memoryBytes: null, cpu: null, files: null, pids: null },
    restart: { backoffMinMs: 30, backoffMaxMs: 60, limit: 2, limitWithinMs: 60_000 },
    stop: { signal: "SIGTERM", windowMs: 0, withinMs: 20_000, now: "SIGKILL" },
    attached: true,
    ...over,
  };
}

export const tcp = (over: Partial<SocketSpec> = {}): SocketSpec => ({
  key: "app|tcp",
  protocol: "tcp",
  host: "127.0.0.1",
  port: 0,
  path: null,
  backlog: 16,
  ...over,
});
