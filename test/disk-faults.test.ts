/**
 * Disks that fail under real processes: a file system that turns read-only, reads that fail, one that hangs, one that
 * lied about flushes, and names that are lost. Who meets it is told, what serves goes on serving, and when the disk is
 * well again it goes on by itself.
 */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { firstAnswer } from "./support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { type AgentProcess, type Cluster, startCluster } from "./support/cluster.ts";
import { Disk, noDisks, UNREADABLE } from "./support/disk.ts";
import { refused, resultEvent } from "./support/refusals.ts";

describe("a disk that fails (long)", { skip: noDisks("test/disk-faults.test.ts") }, () => {
  const stop = new AbortController();
  const held = new AsyncDisposableStack();
  let cluster: Cluster;
  let node: AgentProcess;
  let ofHub: Disk;
  let ofNode: Disk;
  let url: string;
  const port = nextPort();
  let version = 0;

  before(async () => {
    [ofHub, ofNode] = await Promise.all([Disk.make(), Disk.make()]);
    held.use(ofHub);
    held.use(ofNode);
    const { signal } = stop;
    cluster = held.use(await startCluster({ signal, hubWithin: async (home) => await ofHub.mountAt(home) }));
    node = await cluster.addNode("web1", { within: async (home) => await ofNode.mountAt(home) });
    await cluster.ok("deploy", "--from", await next(), ...FAST);
    url = await urlOf(cluster, "shop");
  });

  after(async () => {
    stop.abort();
    await held.disposeAsync();
  });

  const serving = (): string => `v${version}`;

  /** The folder of a version that answers with its name. */
  async function next(): Promise<string> {
    version += 1;
    return await writeSource(cluster, serving(), {
      "skein.yaml": `app: shop\n${RUN.replace("auto", String(port))}`,
      "server.js": serverSource(serving()),
      parts: `${serving()}\n`.repeat(20_000),
    });
  }

  /** Orders the next version, which cannot be brought about, and waits until whoever follows it is told why. */
  async function isStuck(why: RegExp): Promise<void> {
    await cluster.ok("deploy", "--from", await next(), ...FAST, "--detach");
    const { client } = await cluster.operator();
    const [app] = await client.app("shop", "default", stop.signal);
    const order = app?.head?.digest;
    assert.ok(order);
    await cluster.until("it is told", async () => {
      const { nodes } = await client.rollout(order, stop.signal);
      const [{ state, note } = {}] = nodes;
      assert.match(`${state} ${note}`, why);
      return state === "stuck";
    });
    await cluster.until("it is shown", async () => why.test((await cluster.ok("status", "shop")).stdout));
  }

  /** By itself: nothing is typed for it. */
  async function isThere(): Promise<void> {
    await firstAnswer(url, serving(), stop.signal);
    await cluster.until("it is current", async () => {
      const release = path.basename(await fs.readlink(ofNode.at("lib/apps/shop/current")));
      return (await cluster.ports()).every((entry) => entry.release === release);
    });
  }

  const deployed = async (): Promise<void> => {
    await cluster.ok("deploy", "--from", await next(), ...FAST);
    await isThere();
  };

  test("a node's disk that hangs holds up what is ordered, and nothing that serves", async () => {
    await using asker = new Asker(url, [serving(), `v${version + 1}`]);
    {
      await using _frozen = await ofNode.freeze();
      await cluster.ok("deploy", "--from", await next(), ...FAST, "--detach");
      await refused(cluster, [8, "TIMEOUT"], ["watch", "shop", "--timeout", "2s"]);
    }
    await isThere();
    asker.unharmed();
  });

  test("a node whose disk fails says so, serves on, and goes on when it is well again", async () => {
    await using asker = new Asker(url, [serving(), `v${version + 1}`]);
    await ofNode.loseReads();
    await isStuck(new RegExp(String.raw`IO .*node\.json: ${UNREADABLE}`));
    await ofNode.mend();
    await isThere();
    asker.unharmed();
  });

  test("a node whose file system turned read-only says so, starts again what crashes, and goes on after the next boot", async () => {
    const old = serving();
    await ofNode.fail();
    await isStuck(/IO .*node\.json: EROFS/);
    await firstAnswer(url, old, stop.signal);
    const [entry] = await cluster.ports();
    process.kill(entry?.pid ?? 0, "SIGKILL");
    await firstAnswer(url, old, stop.signal);
    await node.kill();
    await assert.rejects(node.start(), /code {3}IO/);
    await firstAnswer(url, old, stop.signal);
    await ofNode.remount();
    await node.start();
    await isThere();
  });

  test("what a node's disk only said to have flushed is done again after a power cut", async () => {
    await ofNode.lie();
    await deployed();
    await ofNode.cutPower();
    await node.start();
    await isThere();
    await deployed();
  });

  test("what a node's disk lost is put back by the next start", async () => {
    const release = path.basename(await fs.readlink(ofNode.at("lib/apps/shop/current")));
    const documents = `lib/state/documents/${release}.json`;
    await ofNode.lose("lib/apps/shop/current", `lib/apps/shop/revs/${release}/server.js`);
    await node.start();
    await isThere();
    await ofNode.lose("lib/state/apps/shop.json", documents, "lib/apps/shop/revs", "etc/hub.json");
    await node.start();
    await isThere();
    await deployed();
  });

  test("a hub whose disk fails says so, and takes what it refused when it is well again", async () => {
    await using asker = new Asker(url, [serving(), `v${version + 1}`]);
    const source = await next();
    await ofHub.loseReads();
    await refused(cluster, [1, "IO"], ["deploy", "--from", source, ...FAST]);
    await ofHub.mend();
    await cluster.ok("deploy", "--from", source, ...FAST);
    await isThere();
    asker.unharmed();
  });

  test("a hub whose disk hangs ends no command by itself, and does what was asked when it is well again", async () => {
    const source = await next();
    {
      await using _frozen = await ofHub.freeze();
      await refused(cluster, [8, "TIMEOUT"], ["deploy", "--from", source, ...FAST, "--timeout", "2s"]);
    }
    // The order may have come to the hub or not: one that is under way is waited for.
    const again = await cluster.skein(["--json", "deploy", "--from", source, ...FAST]);
    const { error } = resultEvent(again);
    assert.ok(error === undefined || error.code === "DEPLOY_IN_PROGRESS", again.stderr);
    await isThere();
    await cluster.ok("watch", "shop");
  });

  test("a hub whose file system turned read-only says so, and takes what it refused after the next boot", async () => {
    await using asker = new Asker(url, [serving(), `v${version + 1}`]);
    const source = await next();
    await ofHub.fail();
    await refused(cluster, [1, "IO"], ["deploy", "--from", source, ...FAST]);
    await cluster.hub.kill();
    await assert.rejects(cluster.hub.start(), /"code":"IO"/);
    await ofHub.remount();
    await cluster.hub.start();
    await cluster.ok("deploy", "--from", source, ...FAST);
    await isThere();
    asker.unharmed();
  });

  test("a hub whose disk lied learns from its nodes what the power cut took", async () => {
    await ofHub.lie();
    await deployed();
    await ofHub.cutPower();
    await cluster.hub.start();
    const { client } = await cluster.operator();
    await cluster.until("it knows the order again", async () => {
      const [app] = await client.app("shop", "default", stop.signal);
      return app?.head?.order !== undefined && (await isHeldByNode(app.head.digest));
    });
    await isThere();
    await deployed();
  });

  async function isHeldByNode(order: string): Promise<boolean> {
    return (await cluster.nodeView("web1"))?.apps.some(({ head }) => head === order) === true;
  }

  test("what a hub's depot lost is stored again by the next deployment", async () => {
    const packs = ofHub.at("lib/depot/blobs/packs");
    for (const name of await fs.readdir(packs)) await fs.rm(path.join(packs, name));
    await ofNode.lose("lib/apps", "lib/cache", "lib/state/apps/shop.json");
    await node.start();
    await deployed();
  });

  test("an operator's disk that fails is named, and the same command does it when it is well again", async () => {
    await using disk = await Disk.make();
    const home = path.join(cluster.dir, "ops");
    const within = await disk.mountAt(home);
    await fs.cp(cluster.operatorHome, disk.root, { recursive: true });
    const here = { home, within };
    const source = await next();
    const words = ["deploy", "--from", source, ...FAST];
    await disk.loseReads();
    const failed = await refused(cluster, [1, "IO"], words, here);
    assert.match(failed.message, new RegExp(`operator.*: ${UNREADABLE}`));
    await disk.mend();
    await disk.fail();
    assert.equal((await cluster.skein(["status"], here)).code, 0);
    const forbidden = await refused(cluster, [1, "IO"], words, here);
    assert.match(forbidden.message, /operator.*: EROFS \(the file system is read-only\)/);
    await disk.remount();
    const cache = disk.at("etc/operator/cache");
    for (const entry of await fs.readdir(cache, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) await fs.writeFile(path.join(entry.parentPath, entry.name), "");
    const done = await cluster.skein(words, here);
    assert.equal(done.code, 0, done.stderr);
    await isThere();
  });
});
