import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";
import type { HubClient } from "../api/hub-client.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { isSkeinError } from "../lib/errors/errors.ts";
import type { KeyId, ReleaseId } from "../lib/text/ids.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { rosterDigest } from "../trust/document/documents.ts";
import { seal, type Envelope } from "../trust/document/envelope.ts";
import { generateSigner, spkiDigestOf } from "../trust/keys/keys.ts";
import { workTree } from "./git/git.fixture.ts";
import { put } from "./records/core.ts";
import { keys } from "./records/keys.ts";
import {
  at,
  HOUR,
  charterWithOperator,
  keyClient,
  makeCluster,
  makeEnrol,
  makeOrder,
  makeReceipt,
  makeRelease,
  makeSettle,
  makeTicket,
  operatorClient,
  reportOf,
  tempHome,
  wantedUntil,
  type Cluster,
  type TestNode,
} from "./hub.fixture.ts";

const program = childProgram(import.meta.dirname, "hub-process.child.ts");

interface Machine {
  readonly cluster: Cluster;
  readonly home: string;
  /** Starts the hub, to die at a fault point; on the same port each time. */
  start(fault?: string): Promise<ChildProcess>;
  readonly address: string;
  readonly client: HubClient;
  nodeClient(key: ReturnType<typeof generateSigner>): HubClient;
}

async function machine(t: TestContext): Promise<Machine> {
  const cluster = await makeCluster();
  const home = await tempHome(t);
  const key = cluster.hubKey.privateKey.export({ type: "pkcs8", format: "pem" });
  await fs.writeFile(path.join(home, "hub.key"), key);
  await fs.writeFile(path.join(home, "charter.json"), JSON.stringify(cluster.charter));
  let port = String(await freePort()); // nobody takes it while no hub runs
  const start = async (fault?: string): Promise<ChildProcess> => {
    const env = { ...process.env, ...(fault === undefined ? {} : { SKEIN_FAULT: fault }) };
    const child = spawn(process.execPath, [program, home, port], {
      env,
      stdio: ["ignore", "pipe", "ignore"],
    });
    atEnd(t, () => child.kill("SIGKILL"));
    const died = once(child, "exit").then(() => [Buffer.from("")]);
    const [line] = (await Promise.race([once(child.stdout, "data"), died])) as [Buffer];
    assert.ok(line.length > 0, "the hub ended before it listened");
    port = line.toString().trim();
    return child;
  };
  const first = await start();
  const address = `127.0.0.1:${port}`;
  const client = await operatorClient(cluster, address);
  atEnd(t, () => client.close());
  await stop(first);
  return {
    cluster,
    home,
    start,
    address,
    client,
    nodeClient: (key) => {
      const made = keyClient(cluster, address, key);
      atEnd(t, () => made.close());
      return made;
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** Does `work` while the hub dies at `fault`, then again with a hub that lives. */
async function throughDeath(
  box: Machine,
  fault: string,
  work: () => Promise<unknown>,
): Promise<ChildProcess> {
  const doomed = await box.start(fault);
  const ended = once(doomed, "exit");
  await assert.rejects(work(), { code: "HUB_UNREACHABLE" }, fault);
  await ended;
  const next = await box.start();
  await work();
  return next;
}

test("a hub killed between any two of its writes goes on where the same call is made again (long)", async (t) => {
  const box = await machine(t);
  const { cluster, client } = box;
  const [join, key] = [generateSigner(), generateSigner()];
  const ticket = await makeTicket(cluster, join, { labels: { role: "web" } });
  await stop(await box.start().then(async (hub) => (await client.postTicket(ticket), hub)));

  const nodeClient = box.nodeClient(key);
  const enrol = await makeEnrol(cluster, ticket, join, key, "web1");
  const node: TestNode = {
    join,
    key,
    kid: key.kid,
    name: "web1",
    labels: { role: "web" },
    client: nodeClient,
    ticket,
    enrol,
  };
  let hub = await throughDeath(box, "hub.enrol", async () => await nodeClient.enrol(enrol));
  await nodeClient.report(reportOf());
  const release = await makeRelease(cluster, "shop", "one");
  await client.postRelease(release.envelope);
  await stop(hub);

  const roster = { nodes: [{ node: key.kid, name: "web1", labels: { role: "web" } }] };
  const order = await makeOrder(cluster, release.id, roster);
  const settle = await makeSettle(cluster, order, 1);
  const post = async (): Promise<unknown> => await client.postOrder(order.envelope, roster, settle);
  hub = await throughDeath(box, "hub.order", post);
  assert.equal((await client.app("shop"))[0]?.head?.digest, order.digest);
  await wantedUntil(nodeClient, ({ apps }) => apps[0]?.gates[order.digest] === "go");
  await stop(hub);

  const receipt = await makeReceipt(cluster, node, order);
  const report = async (): Promise<unknown> => await nodeClient.report(reportOf({ receipts: [receipt] }));
  hub = await throughDeath(box, "hub.receipt", report);
  await wantedUntil(nodeClient, ({ apps }) => apps[0]?.settles.length === 1);
  await stop(hub);

  // The answer was lost, the order was not: the same bytes are not taken for another order.
  const next = await makeOrder(cluster, release.id, roster, { seq: 2, prev: order.digest });
  const settleNext = await makeSettle(cluster, next, 1);
  const postNext = async (): Promise<unknown> => await client.postOrder(next.envelope, roster, settleNext);
  hub = await throughDeath(box, "hub.ordered", postNext);
  assert.equal((await client.app("shop"))[0]?.head?.digest, next.digest);
  await stop(hub);

  // Nobody asks for the settle: it counts once the rollout has ended well, whichever hub sees that.
  const doomed = await box.start("hub.settle");
  const ended = once(doomed, "exit");
  const last = await makeReceipt(cluster, node, next);
  await nodeClient.report(reportOf({ receipts: [last] })).catch(onlyUnreachable);
  await ended;
  hub = await box.start();
  await nodeClient.report(reportOf({ receipts: [last] }));
  const told = await wantedUntil(nodeClient, ({ apps }) => apps[0]?.settles.length === 1);
  assert.deepEqual(told.apps[0]?.settles, [{ settle: settleNext, receipts: [last] }]);
  await stop(hub);

  const command = await stageCommand(cluster, key.kid, release.id);
  const kept = await box.start("hub.command-kept");
  const handIn = async (): Promise<void> => {
    for await (const line of client.command(command, AbortSignal.timeout(PATIENCE_MS)))
      assert.fail(`told ${line.type}`);
  };
  await assert.rejects(handIn(), { code: "HUB_UNREACHABLE" });
  await stop(kept);
  hub = await box.start();
  assert.deepEqual(
    (await nodeClient.wanted(undefined, 0))?.commands,
    [command],
    "what was kept is handed over",
  );
  await stop(hub);

  const charter = await charterWithOperator(cluster, generateSigner(), ["deploy:blog/*"]);
  hub = await throughDeath(box, "hub.charter", async () => await client.postCharter(charter));
  assert.deepEqual(await client.charters(0), [cluster.charter, charter]);
  await stop(hub);
});

async function stageCommand(cluster: Cluster, node: KeyId, release: ReleaseId): Promise<Envelope> {
  const body = {
    cluster: cluster.id,
    kind: "stage",
    app: "shop",
    env: "default",
    args: { release, document: "{}" },
    nodes: [node],
    nonce: randomBytes(16).toString("hex"),
    issued: at(),
    expires: at(HOUR),
  };
  return await seal("command.1", body, [cluster.operator]);
}

test("a hub killed while it forgets old orders forgets the rest when it is started again (long)", async (t) => {
  const box = await machine(t);
  const { cluster, home, client } = box;
  const roster = { nodes: [] };
  const release = await makeRelease(cluster, "shop", "one");
  const file = path.join(home, "lib", "hub.db");
  const store = await openSqliteStore(file);
  for (let seq = 1; seq <= 103; seq++) {
    const { envelope, digest } = await makeOrder(cluster, release.id, roster, { seq });
    const record = { digest, epoch: 0, seq, order: envelope };
    const then = [
      put(keys.roster(rosterDigest(roster)), roster),
      put(keys.settle(digest), { settle: envelope, published: true, receipts: [] }),
      put(keys.logged("shop", "default", record), record),
      put(keys.head("shop", "default"), record),
    ];
    await store.txn({ compare: [], then });
  }
  await store[Symbol.asyncDispose]();
  // It may not come to listen.
  const doomed = await box.start("hub.prune").catch(() => undefined);
  if (doomed?.exitCode === null && doomed.signalCode === null) await once(doomed, "exit");
  await using left = await openSqliteStore(file);
  assert.equal((await left.range(keys.log("shop", "default"))).entries.length, 103);
  await left[Symbol.asyncDispose]();
  const hub = await box.start();
  await eventually("100 orders are left", async () => {
    const { orders } = await client.call("orders", { params: { app: "shop" }, query: { env: "default" } });
    return orders.length === 100 || undefined;
  });
  await stop(hub);
});

function onlyUnreachable(err: unknown): void {
  if (!isSkeinError(err, "HUB_UNREACHABLE")) throw err;
}

test("a first push that its hub did not survive is no repository, and goes through the next time (long)", async (t) => {
  const box = await machine(t);
  const { cluster, home, address, client } = box;
  const doomed = await box.start("hub.git");
  const ended = once(doomed, "exit");
  const work = await workTree(t, { cluster, address, spki: spkiDigestOf(cluster.hubKey.pub) });
  await work.commit("a.txt", "one");
  const push = async (): Promise<string> => await work.git("push", `skein://${address}/shop`, "main");
  await assert.rejects(push());
  await ended;
  const root = path.join(home, "lib", "git");
  assert.match((await fs.readdir(root)).join(), /\.unborn-/, "all that it brought was there");
  const hub = await box.start();
  assert.deepEqual(await client.repos(), []);
  await push();
  assert.deepEqual(await client.repos(), [{ name: "shop", head: "main" }]);
  assert.doesNotMatch((await fs.readdir(root)).join(), /\.unborn-/);
  await stop(hub);
});

test("an idle hub, bundled as it is shipped, stays below 100 MiB (long)", async (t) => {
  const box = await machine(t);
  const hub = await box.start();
  await box.client.hub();
  const status = await fs.readFile(`/proc/${hub.pid}/status`, "utf8");
  const rssMiB = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  t.diagnostic(`RSS ${rssMiB.toFixed(1)} MiB`);
  assert.ok(rssMiB < 100, `${rssMiB} MiB`);
  await stop(hub);
});
