import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { isSkeinError } from "../lib/errors/errors.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { join } from "../agent/node/join.ts";
import { nodeKeys } from "../agent/node/node-keys.ts";
import { httpDepot } from "../depot/http/http-depot.ts";
import { systemClock } from "../lib/time/clock.ts";
import { silentLog } from "../lib/process/log.ts";
import { pathsFrom, type Paths } from "../lib/disk/paths.ts";
import type { RunningHub } from "../hub/start-hub.ts";
import type { DeployOptions } from "./deploy/deploy.ts";
import type { OperatorEvent } from "./tell/events.ts";
import { readCharters } from "./identity/home.ts";
import { hubHere, serveHub } from "./server/hub-server.ts";
import { initCluster } from "./server/init.ts";
import { invite } from "./nodes/nodes.ts";
import { openOperator, type Operator } from "./identity/operator.ts";

/** A real hub and operator in a folder of the test's own; everything ends with the test. */
export interface Cluster {
  readonly dir: string;
  readonly paths: Paths;
  readonly operator: Operator;
  readonly hub: RunningHub;
  /** The hub anew, after `hub` was closed. */
  readonly restart: () => Promise<void>;
  readonly signal: AbortSignal;
  readonly events: OperatorEvent[];
  /** Lets a node in that then stays away. */
  readonly absent: (name: string, labels?: Readonly<Record<string, string>>, by?: Operator) => Promise<void>;
  readonly options: (more: Partial<DeployOptions>) => DeployOptions;
}

export async function cluster(t: TestContext): Promise<Cluster> {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-op-"));
  const paths = pathsFrom({ SKEIN_HOME: path.join(dir, "home") });
  const listen = { host: "127.0.0.1", port: await freePort() };
  const hub = await hubHere(paths, `127.0.0.1:${listen.port}`);
  await initCluster({ paths, name: "ann", key: "file", hubs: [hub], clock: systemClock });
  const charters = await readCharters(paths);
  const stop = new AbortController();
  const serve = async (): Promise<RunningHub> =>
    await serveHub({ paths, listen, charters, log: silentLog, version: "0", signal: stop.signal });
  let running = await serve();
  const operator = await openOperator({ paths, signal: stop.signal });
  atEnd(t, async () => {
    operator[Symbol.dispose]();
    await running.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const events: OperatorEvent[] = [];
  const signal = stop.signal;
  return {
    dir,
    paths,
    operator,
    hub: running,
    restart: async () => {
      await running.close();
      running = await serve();
    },
    signal,
    events,
    absent: async (name, labels = {}, by = operator) => {
      const wish = { name, labels, validMs: 60_000, replace: null };
      const { line } = await invite(by, wish, signal);
      const etc = path.join(dir, name);
      const stateDir = path.join(etc, "state");
      mkdirSync(stateDir, { recursive: true });
      const keys = await nodeKeys(etc);
      await join({ etc, stateDir, line, name, keys, clock: systemClock, signal });
    },
    options: (more) => ({
      app: null,
      version: null,
      selector: null,
      from: null,
      env: "default",
      cwd: dir,
      keepOld: false,
      hooks: "run",
      attended: false,
      strategy: {},
      depot: httpDepot(operator.client),
      helperDir: path.resolve(import.meta.dirname, "../../bin"),
      tell: (event) => events.push(event),
      signal,
      ...more,
    }),
  };
}

/** Nodes that are away are not waited for long: on a busy machine an order has ended before it is taken back. */
export async function orEnded(aborting: Promise<unknown>): Promise<void> {
  await aborting.catch((err: unknown) => {
    if (!isSkeinError(err, "UNDO_TOO_LATE", "ROLLOUT_ENDED")) throw err;
  });
}
