import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { atEnd } from "../lib/at-end.fixture.ts";
import type { HubClient } from "../api/hub-client.ts";
import { generateSigner } from "../trust/keys.ts";
import {
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

const program = fileURLToPath(new URL("./hub-process.fixture.ts", import.meta.url));

interface Machine {
  readonly cluster: Cluster;
  readonly home: string;
  /** Starts the hub, to die at a fault point; on the same port each time. */
  start(fault?: string, source?: string): Promise<ChildProcess>;
  readonly client: HubClient;
  nodeClient(key: ReturnType<typeof generateSigner>): HubClient;
}

async function machine(t: TestContext): Promise<Machine> {
  const cluster = await makeCluster();
  const home = await tempHome(t);
  const key = cluster.hubKey.privateKey.export({ type: "pkcs8", format: "pem" });
  await fs.writeFile(path.join(home, "hub.key"), key);
  await fs.writeFile(path.join(home, "charter.json"), JSON.stringify(cluster.charter));
  let port = "0";
  const start = async (fault?: string, source = program): Promise<ChildProcess> => {
    const env = { ...process.env, ...(fault === undefined ? {} : { SKEIN_FAULT: fault }) };
    const child = spawn(process.execPath, [source, home, port], {
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

test("a hub killed between any two of its writes goes on where the same call is made again", async (t) => {
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
  const postNext = async (): Promise<unknown> => await client.postOrder(next.envelope, roster, null);
  hub = await throughDeath(box, "hub.ordered", postNext);
  assert.equal((await client.app("shop"))[0]?.head?.digest, next.digest);
  await stop(hub);
});

test("an idle hub, bundled as it is shipped, stays below 100 MiB", async (t) => {
  const box = await machine(t);
  const made = { bundle: true, splitting: true, format: "esm", platform: "node" } as const;
  await build({ ...made, entryPoints: { hub: program }, outdir: box.home, outExtension: { ".js": ".mjs" } });
  const hub = await box.start(undefined, path.join(box.home, "hub.mjs"));
  await box.client.hub();
  const status = await fs.readFile(`/proc/${hub.pid}/status`, "utf8");
  const rssMiB = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  t.diagnostic(`RSS ${rssMiB.toFixed(1)} MiB`);
  assert.ok(rssMiB < 100, `${rssMiB} MiB`);
  await stop(hub);
});
