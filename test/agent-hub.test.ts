/** An agent and a real hub: joining, being cut off, meeting its double. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { AT_ONCE } from "../src/trust/strategy.fixture.ts";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { atEnd } from "../src/lib/testing/at-end.fixture.ts";
import { ended } from "../src/agent/agent.fixture.ts";
import { endKeeper } from "../src/agent/runtime/runtime.fixture.ts";
import { at, keyClient, makeTicket, startTestHub, type TestHub } from "../src/hub/hub.fixture.ts";
import { joinNode } from "../src/agent/node/open-node.ts";
import { systemClock } from "../src/lib/time/clock.ts";
import { silentLog } from "../src/lib/process/log.ts";
import { pathsFrom } from "../src/lib/disk/paths.ts";
import type { KeyId } from "../src/lib/text/ids.ts";
import { publish } from "../src/release/publish/publish.ts";
import { writeTree } from "../src/release/release.fixture.ts";
import { directorySource } from "../src/source/directory.ts";
import { releaseIdOf, rosterDigest, type Order } from "../src/trust/document/documents.ts";
import { digestOfEnvelope, seal } from "../src/trust/document/envelope.ts";
import { generateSigner, seedOf, spkiDigestOf } from "../src/trust/keys/keys.ts";
import { formatTicketLine } from "../src/trust/members/ticket-line.ts";
import { directoryDepot } from "../src/depot/directory/directory.ts";
import { PATIENCE_MS } from "../src/lib/testing/patience.fixture.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { childProgram } from "../src/lib/testing/child.fixture.ts";

interface Node {
  readonly home: string;
  start(fault?: string): ChildProcess;
}

function newNode(t: TestContext, name: string, line: string): Node {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  fs.chmodSync(home, 0o755);
  const children: ChildProcess[] = [];
  atEnd(t, async () => {
    for (const child of children) child.kill("SIGKILL");
    await endKeeper(path.join(home, "run"));
    fs.rmSync(home, { recursive: true, force: true });
  });
  return {
    home,
    start(fault) {
      const file = childProgram(import.meta.dirname, "support/agent.child.ts");
      const env = {
        ...process.env,
        SKEIN_HOME: home,
        ...(fault === undefined ? {} : { SKEIN_FAULT: fault }),
      };
      const child = spawn(process.execPath, [file, name, line], { env, stdio: ["ignore", "ignore", "pipe"] });
      child.stderr.setEncoding("utf8");
      children.push(child);
      return child;
    },
  };
}

async function ticketLine(hub: TestHub, labels: Record<string, string> = { role: "web" }): Promise<string> {
  const join = generateSigner();
  await hub.client.postTicket(await makeTicket(hub.cluster, join, { labels }));
  const spki = spkiDigestOf(hub.cluster.hubKey.pub);
  return formatTicketLine({ pin: hub.cluster.pin, seed: seedOf(join), hub: { spki, address: hub.address } });
}

async function present(hub: TestHub, name: string): Promise<KeyId> {
  return await eventually(`${name} at the hub`, async () => {
    const { nodes } = await hub.client.nodes();
    return nodes.find((node) => node.name === name && node.present)?.node;
  });
}

/** Publishes a release into the hub's depot and orders it for all nodes that it knows. */
async function deploy(hub: TestHub, home: string, port: number, seq: number): Promise<Order["release"]> {
  const { cluster, client } = hub;
  const dir = writeTree(path.join(home, `src-${seq}`), {
    "skein.yaml": `app: shop\nprocesses: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }\n`,
    "web.js": `require("node:http").createServer((q, r) => r.end("v${seq}")).listen(process.env.PORT, process.env.HOST);`,
  });
  const depot = directoryDepot(path.join(hub.home, "lib/depot"));
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const done = await publish({
    source: directorySource(dir),
    depot,
    previous: null,
    now: Date.now(),
    cacheDir: null,
    signal,
  });
  const { tree, rows, since, files, bytes } = done;
  const release = { app: "shop", tree, commit: null };
  const envelope = await seal(
    "release.1",
    {
      cluster: cluster.id,
      ...release,
      rows,
      since,
      source: { kind: "dir", name: "t" },
      builder: cluster.operator.kid,
      created: at(),
      files,
      bytes,
    },
    [cluster.operator],
  );
  await client.postRelease(envelope);
  const { nodes } = await client.nodes();
  const roster = {
    nodes: nodes
      .map(({ node, name, labels }) => ({ node, name, labels }))
      .sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
  const head = (await client.app("shop").catch(() => []))[0]?.head;
  const order: Order = {
    cluster: cluster.id,
    epoch: 0,
    seq,
    prev: head?.digest ?? null,
    app: "shop",
    env: "default",
    release: releaseIdOf(release),
    state: "run",
    generation: 0,
    beside: [],
    fallback: head?.release ?? null,
    selector: "role=web",
    roster: rosterDigest(roster),
    strategy: AT_ONCE,
    hooks: "run",
    issued: at(),
    applyBefore: at(3_600_000),
    undoBefore: at(3_600_000),
  };
  const signed = await seal("order.1", order, [cluster.operator]);
  const { app, env, epoch } = order;
  const settle = {
    cluster: cluster.id,
    order: digestOfEnvelope(signed),
    app,
    env,
    epoch,
    seq,
    needs: nodes.length === 0 ? 0 : 1,
    before: at(3_600_000),
    issued: at(),
  };
  await client.postOrder(signed, roster, await seal("settle.1", settle, [cluster.operator]));
  return order.release;
}

const answers = async (port: number, text: string): Promise<void> => {
  await eventually(text, async () => {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
    return (await response.text()) === text;
  });
};

test("a machine that joins when many others of its address have just called waits for its turn (long)", async (t) => {
  const hub = await startTestHub(t, { anonymousPerSec: 3 });
  const line = await ticketLine(hub);
  using stranger = keyClient(hub.cluster, hub.address);
  const ask = (): Promise<unknown> => stranger.charters(0, AbortSignal.timeout(PATIENCE_MS));
  await assert.rejects(
    async () => {
      for (let n = 0; n < 200; n++) await ask();
    },
    { code: "TOO_MANY" },
  );
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sk-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  const said: string[] = [];
  const log = { ...silentLog, warn: (msg: string) => void said.push(msg) };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const others = (async () => {
    while (said.length === 0 && !signal.aborted) await ask().catch(() => undefined);
  })();
  await joinNode({
    paths: pathsFrom({ SKEIN_HOME: home }),
    name: "late",
    join: line,
    log,
    clock: systemClock,
    signal,
  });
  await others;
  assert.match(said[0] ?? "", /trying again/);
  assert.ok((await hub.client.nodes()).nodes.some(({ name }) => name === "late"));
});

test("a join that is cut at any point goes on at the next start, with the same one-use ticket (long)", async (t) => {
  const hub = await startTestHub(t);
  const node = newNode(t, "n1", await ticketLine(hub));
  for (const fault of [
    "agent.node-key",
    "agent.sealing-key",
    "agent.enrol-kept",
    "agent.enrolled",
    "agent.joined",
  ]) {
    const child = node.start(fault);
    assert.equal((await ended(child)).signal, "SIGKILL", fault);
  }
  node.start();
  const kid = await present(hub, "n1");
  assert.equal((await hub.client.nodes()).nodes.length, 1);
  assert.equal((fs.statSync(path.join(node.home, "etc/node.key")).mode & 0o777).toString(8), "600");
  // The hub knows of it before it has tidied up.
  const joining = path.join(node.home, "etc/joining.json");
  await eventually("the end of its joining", async () => !fs.existsSync(joining));
  assert.match(kid, /^[0-9a-f]{32}$/);
});

test("a ticket lets one node in, and only while it lasts (long)", async (t) => {
  const hub = await startTestHub(t);
  const line = await ticketLine(hub);
  newNode(t, "n1", line).start();
  await present(hub, "n1");
  const refused = async (name: string, text: string): Promise<string> => {
    const child = newNode(t, name, text).start();
    let said = "";
    child.stderr?.on("data", (chunk: string) => (said += chunk));
    await once(child, "exit");
    return /code: '([A-Z_]+)'/.exec(said)?.[1] ?? said;
  };
  assert.equal(await refused("n2", line), "TICKET_USED");
  const spki = spkiDigestOf(generateSigner().pub) as never;
  const join = generateSigner();
  const { pin } = hub.cluster;
  const elsewhere = formatTicketLine({ pin, seed: seedOf(join), hub: { spki, address: hub.address } });
  assert.equal(await refused("n3", elsewhere), "PIN_MISMATCH");
});

test("a node that was away converges when it comes back (long)", async (t) => {
  const port = await freePort();
  const hub = await startTestHub(t);
  const node = newNode(t, "n1", await ticketLine(hub));
  const child = node.start();
  await present(hub, "n1");
  await deploy(hub, node.home, port, 1);
  await answers(port, "v1");
  await eventually("the settle", async () => (await hub.client.app("shop"))[0]?.standing !== null);
  child.kill("SIGKILL");
  await ended(child);
  await deploy(hub, node.home, port, 2);
  await answers(port, "v1");
  const began = performance.now();
  node.start();
  await answers(port, "v2");
  t.diagnostic(
    `${Math.round(performance.now() - began)} ms from the agent's start to the new version's answer`,
  );
});

test("two live agents with one key are told apart, and neither gets a new order (long)", async (t) => {
  const port = await freePort();
  const hub = await startTestHub(t);
  const node = newNode(t, "n1", await ticketLine(hub));
  node.start();
  await present(hub, "n1");
  const clone = newNode(t, "n1", "-");
  for (const name of ["etc", "lib"])
    fs.cpSync(path.join(node.home, name), path.join(clone.home, name), { recursive: true });
  clone.start();
  await eventually("the alarm", async () => (await hub.client.nodes()).nodes[0]?.duplicate);
  await deploy(hub, node.home, port, 1).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
});
