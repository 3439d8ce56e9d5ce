import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { AT_ONCE } from "../trust/strategy.fixture.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import type { Gate } from "../api/field-schemas.ts";
import type { Report } from "../api/schemas.ts";
import { directoryDepot, type DirectoryDepot } from "../depot/directory/directory.ts";
import { systemClock, type Clock } from "../lib/time/clock.ts";
import type { Digest, ReleaseId } from "../lib/text/ids.ts";
import { jsonLog, silentLog } from "../lib/process/log.ts";
import { pathsFrom, type Paths } from "../lib/disk/paths.ts";
import { publish } from "../release/publish/publish.ts";
import { writeTree, type Tree } from "../release/release.fixture.ts";
import { directorySource as treeOf } from "../source/directory.ts";
import { rosterOf, testCluster, type TestCluster, type TestNode } from "../trust/cluster.fixture.ts";
import {
  releaseIdOf,
  rosterDigest,
  type Order,
  type Receipt,
  type Release,
} from "../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified, seal, type Envelope } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { runAgent, type AgentOptions } from "./agent.ts";
import { joined } from "./joined-node.fixture.ts";
import { endKeeper, get } from "./runtime/runtime.fixture.ts";
import type { Source } from "./source/source.ts";
import { directorySource } from "./source/source-directory.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

const HOUR = 3_600_000;
/** `npm test` has built it: that starts in half the time, and some tests start it again and again. */
const CHILD = childProgram(import.meta.dirname, "agent.child.ts");

export interface Ordered {
  readonly order: Order;
  readonly envelope: Envelope;
  readonly digest: Digest;
  readonly release: ReleaseId;
}

/** One node and its operator, with a folder in a hub's place. Everything it started is gone after the test. */
export interface World {
  readonly home: string;
  readonly paths: Paths;
  readonly cluster: TestCluster;
  readonly node: TestNode;
  readonly depot: DirectoryDepot;
  readonly depotDir: string;
  publish(tree: Tree, options?: { app?: string; commit?: string | null }): Promise<Envelope>;
  /** Signs an order for a release, and offers it with everything before it that stands. */
  order(release: Envelope, change?: Partial<Order>): Promise<Ordered>;
  /** publish, order, offer with `go`. */
  deploy(
    tree: Tree,
    change?: Partial<Order> & { gate?: Gate; settle?: boolean; app?: string },
  ): Promise<Ordered>;
  /** Writes what the source says. */
  offer(parts: Partial<Offer>): void;
  readonly offered: Offer;
  /**
   * Runs an agent in this process until the returned function is called. `onLog` takes each line of its log, `onReport`
   * each report before it is sent. `source`: what of the folder's is another.
   */
  agent(options?: {
    command?: readonly string[];
    onLog?: (line: string) => void;
    onReport?: (report: Report) => void;
    source?: (folder: Source) => Partial<Source>;
    clock?: Clock;
    address?: AgentOptions["address"];
    reportEveryMs?: number;
    leastSpareFiles?: number;
  }): Promise<() => Promise<void>>;
  /** The same as its own process, with a named fault. */
  child(fault?: string, leastSpareFiles?: number): ChildProcess;
  receipt(order: Digest, verdict?: Receipt["verdict"]): Promise<Receipt>;
  report(): Report | undefined;
  hooksLog(app?: string): string;
  current(app?: string): string | undefined;
}

export interface Offer {
  orders: Envelope[];
  settles: { settle: Envelope; receipts: Envelope[] }[];
  releases: Envelope[];
  rosters: Record<string, unknown>;
  gates: Record<string, Gate>;
  charters: Envelope[];
  label: Envelope | null;
  revoke: Envelope | null;
  lastReceipts: Envelope[];
  commands: Envelope[];
  app: string;
  env: string;
}

export async function world(t: TestContext, name = "n1"): Promise<World> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  fs.chmodSync(home, 0o755);
  const paths = pathsFrom({ SKEIN_HOME: home });
  const stops: (() => Promise<void>)[] = [];
  const children: ChildProcess[] = [];
  atEnd(t, async () => {
    for (const child of children) child.kill("SIGKILL");
    for (const stop of stops) await stop();
    await endKeeper(paths.run);
    fs.rmSync(home, { recursive: true, force: true });
  });
  const cluster = await testCluster({ issued: ago(2 * HOUR) });
  const node = await joined(cluster, paths, name);
  const roster = rosterOf(node);
  const hub = path.join(home, "hub");
  const depotDir = path.join(hub, "depot");
  const depot = directoryDepot(depotDir);
  for (const dir of ["wanted", "receipts", "reports", "depot"])
    fs.mkdirSync(path.join(hub, dir), { recursive: true });
  const offered: Offer = {
    orders: [],
    settles: [],
    releases: [],
    rosters: { [rosterDigest(roster)]: roster },
    gates: {},
    charters: [cluster.envelope],
    label: null,
    revoke: null,
    lastReceipts: [],
    commands: [],
    app: "shop",
    env: "default",
  };
  const self = node.signer.kid;
  const wantedFile = path.join(hub, "wanted", `${self}.json`);
  let seq = 0;
  let previous: Ordered | undefined;
  let trees = 0;
  /** File → what it says, which never changes: it is named after that. */
  const receipts = new Map<string, Receipt>();
  const made: World = {
    home,
    paths,
    cluster,
    node,
    depot,
    depotDir,
    offered,
    async publish(tree, { app = "shop", commit = null } = {}) {
      const dir = writeTree(path.join(home, "src", String((trees += 1))), tree);
      const options = {
        previous: null,
        now: Date.now(),
        cacheDir: null,
        signal: AbortSignal.timeout(PATIENCE_MS),
      };
      const done = await publish({ ...options, source: treeOf(dir), depot });
      const body: Release = {
        cluster: cluster.charter.cluster,
        app,
        tree: done.tree,
        rows: done.rows,
        since: done.since,
        commit,
        source: { kind: "dir", name: "test" },
        builder: cluster.alice.kid,
        created: timeOf(Date.now()),
        files: done.files,
        bytes: done.bytes,
      };
      return await seal("release.1", body, [cluster.alice]);
    },
    async order(release, change = {}) {
      const document = readUnverified(release, "release.1");
      const id = releaseIdOf(document);
      const body: Order = {
        cluster: cluster.charter.cluster,
        epoch: 0,
        seq: (seq += 1),
        prev: previous?.digest ?? null,
        app: document.app,
        env: "default",
        release: id,
        state: "run",
        generation: 0,
        beside: [],
        fallback: previous?.release ?? null,
        selector: "role=web",
        roster: rosterDigest(roster),
        strategy: AT_ONCE,
        hooks: "run",
        issued: timeOf(Date.now()),
        applyBefore: timeOf(Date.now() + HOUR),
        undoBefore: timeOf(Date.now() + 2 * HOUR),
        ...change,
      };
      const envelope = await seal("order.1", body, [cluster.alice]);
      previous = { order: body, envelope, digest: digestOfEnvelope(envelope), release: id };
      return previous;
    },
    async deploy(tree, { gate = "go", settle = false, app = "shop", ...change } = {}) {
      const release = await made.publish(tree, { app });
      const ordered = await made.order(release, change);
      offered.app = app;
      if (settle) offered.settles = [{ settle: await settleOf(cluster, ordered), receipts: [] }];
      const releases = [...offered.releases, release];
      made.offer({ orders: [ordered.envelope], releases, gates: { [ordered.digest]: gate } });
      return ordered;
    },
    offer(parts) {
      Object.assign(offered, parts);
      const { app, env, orders, settles, releases, rosters, gates } = offered;
      const apps = orders.length === 0 ? [] : [{ app, env, orders, rosters, settles, releases, gates }];
      const wanted = {
        etag: "-",
        incarnation: "folder",
        catchingUp: false,
        duplicate: false,
        charters: offered.charters,
        identity: { ticket: node.ticket, enrol: node.enrol, label: offered.label, revoke: offered.revoke },
        apps,
        commands: offered.commands,
        lastReceipts: offered.lastReceipts,
      };
      fs.writeFileSync(`${wantedFile}.new`, JSON.stringify(wanted));
      fs.renameSync(`${wantedFile}.new`, wantedFile);
    },
    async agent({
      command,
      onLog,
      onReport = () => undefined,
      source: other,
      clock = systemClock,
      ...more
    } = {}) {
      const stop = new AbortController();
      const write = onLog ?? (process.env["SKEIN_TEST_LOG"] === undefined ? undefined : stderrLine);
      const log = write === undefined ? silentLog : jsonLog(write);
      const running = runAgent({
        ...agentOptions(paths, name),
        ...more,
        command,
        source: async (keys) => {
          const source = await directorySource(hub, keys.signer.kid);
          const report = async (one: Report, signal: AbortSignal) => {
            onReport(one);
            return await source.report(one, signal);
          };
          return { ...source, report, ...other?.(source) };
        },
        log,
        clock,
        signal: stop.signal,
      });
      const ended = running.then(
        () => undefined,
        (err: unknown) => err,
      );
      const end = async (): Promise<void> => {
        stop.abort();
        assert.equal(await ended, undefined);
      };
      stops.push(end);
      return end;
    },
    child(fault, leastSpareFiles) {
      const more = leastSpareFiles === undefined ? [] : [String(leastSpareFiles)];
      const child = spawn(process.execPath, [CHILD, hub, name, ...more], {
        env: { ...process.env, SKEIN_HOME: home, ...(fault === undefined ? {} : { SKEIN_FAULT: fault }) },
        stdio: ["ignore", "inherit", "inherit"],
      });
      children.push(child);
      return child;
    },
    async receipt(order, verdict) {
      return await eventually(`a receipt of ${order.slice(0, 8)}`, async () => {
        for (const file of fs.readdirSync(path.join(hub, "receipts"))) {
          if (!file.endsWith(".json") || receipts.has(file)) continue;
          const text = fs.readFileSync(path.join(hub, "receipts", file), "utf8");
          receipts.set(file, readUnverified(text, "receipt.1"));
        }
        return [...receipts.values()].find(
          (receipt) => receipt.order === order && (verdict === undefined || receipt.verdict === verdict),
        );
      });
    },
    report() {
      const file = path.join(hub, "reports", `${self}.json`);
      return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as Report) : undefined;
    },
    hooksLog: (app = "shop") => {
      const file = path.join(paths.log, app, "hooks.log");
      return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
    },
    current: (app = "shop") => {
      try {
        return path.basename(fs.readlinkSync(path.join(paths.lib, "apps", app, "current")));
      } catch {
        return undefined;
      }
    },
  };
  made.offer({});
  return made;
}

const stderrLine = (line: string): void => void process.stderr.write(line);

export function agentOptions(paths: Paths, name: string) {
  return { paths, name, address: () => "127.0.0.1", bind: "127.0.0.1", version: "0.0.0-test" };
}

const ago = (ms: number): string => timeOf(Date.now() - ms);

export async function settleOf(
  cluster: TestCluster,
  { order, digest }: Ordered,
  needs = 0,
): Promise<Envelope> {
  const { app, env, epoch, seq } = order;
  const body = { cluster: cluster.charter.cluster, order: digest, app, env, epoch, seq, needs };
  return await seal("settle.1", { ...body, before: timeOf(Date.now() + HOUR), issued: timeOf(Date.now()) }, [
    cluster.alice,
  ]);
}

export async function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return { code: child.exitCode, signal: child.signalCode };
}

/** A small Node app on a fixed port that says which version answers. */
export function webApp(port: number, version: string, extra: Tree = {}): Tree {
  return {
    "skein.yaml": `app: shop\nprocesses:\n  web:\n    run: node web.js\n    listen: ${port}\n    health: /up\n    drain: { window: 100ms, within: 20s }\n`,
    "web.js": `require("node:http").createServer((q, r) => r.end(q.url === "/up" ? "ok" : ${JSON.stringify(version)})).listen(process.env.PORT, process.env.HOST);`,
    ...extra,
  };
}

export async function answer(port: number): Promise<string> {
  return (await get(port)).body;
}
