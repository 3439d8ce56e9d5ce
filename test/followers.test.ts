import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { runCommand } from "../src/operator/ask/commands.ts";
import { knownNodes } from "../src/operator/nodes/nodes.ts";
import { openOperator } from "../src/operator/identity/operator.ts";
import { pathsFrom } from "../src/lib/disk/paths.ts";
import { FAST, RUN, serverSource, writeSource } from "./support/apps.ts";
import { startCluster } from "./support/cluster.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";

test("twenty who follow a node's logs keep it from nothing else that it says to its hub (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const n1 = await cluster.addNode("n1");
  const files = {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": `console.log("up"); ${serverSource("one")}`,
  };
  await cluster.okIn(await writeSource(cluster, "one", files), "deploy", ...FAST);
  const done = new AbortController();
  const signal = AbortSignal.any([t.signal, done.signal]);
  using operators = new DisposableStack();
  const follow = async (): Promise<string> => {
    // Each is a command of its own, with connections of its own.
    const paths = pathsFrom({ SKEIN_HOME: cluster.operatorHome });
    const operator = operators.use(await openOperator({ paths, signal }));
    const nodes = await knownNodes(operator, signal);
    const args = { process: "web", lines: 5, follow: true };
    const wish = { kind: "logs", app: "shop", env: null, args, nodes, validMs: 60_000 };
    const lines = runCommand(operator, wish, signal)[Symbol.asyncIterator]();
    const { value } = await lines.next();
    lines.next().catch(() => undefined); // it goes on
    return JSON.stringify(value);
  };
  const told = await Promise.all(Array.from({ length: 20 }, follow));
  for (const line of told) assert.match(line, /"up"/);
  const next = { ...files, "server.js": `console.log("up"); ${serverSource("two")}` };
  await cluster.okIn(await writeSource(cluster, "two", next), "deploy", ...FAST);
  done.abort();
  assert.doesNotMatch(await n1.printed(), /did not answer/);
});

test("who follows several nodes is told at once which of them is heard no more (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const { signal } = t;
  const [, n2] = await cluster.addNodes({ n1: {}, n2: {} });
  const files = {
    "skein.yaml": "app: shop\nrun: sh loop.sh\n",
    "loop.sh": "while echo up; do sleep 0.2; done\n",
  };
  await cluster.okIn(await writeSource(cluster, "one", files), "deploy", ...FAST);
  const log = path.join(cluster.dir, "follow.log");
  const { command, args } = cluster.program;
  const env = cluster.env(cluster.operatorHome);
  cluster.processes.start(command, [...args, "logs", "shop", "-f"], { cwd: cluster.dir, env, log });
  const said = async (what: RegExp): Promise<boolean> =>
    await eventually(String(what), async () => what.test(await fs.readFile(log, "utf8")), { signal });
  await said(/^n1 /m);
  await said(/^n2 /m);
  await n2?.kill();
  await said(/^n2 {2}the answer was cut off: no more of it is shown$/m);
});

test("who follows logs while the hub is away misses nothing, and is told nothing twice (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  const { signal } = t;
  await cluster.addNodes({ n1: {}, n2: {} });
  const files = {
    "skein.yaml": "app: shop\nrun: sh count.sh\n",
    "count.sh": "n=0; while n=$((n + 1)); do echo $n; sleep 0.05; done\n",
  };
  await cluster.okIn(await writeSource(cluster, "one", files), "deploy", ...FAST);
  const log = path.join(cluster.dir, "follow.log");
  const { command, args } = cluster.program;
  const env = cluster.env(cluster.operatorHome);
  const words = [...args, "logs", "shop", "-f", "-n", "1"];
  const follower = cluster.processes.start(command, words, { cwd: cluster.dir, env, log });
  const numbers = async (node: string): Promise<number[]> => {
    const text = await fs.readFile(log, "utf8");
    return [...text.matchAll(new RegExp(`^${node} \\S+ +(\\d+)\\n`, "gm"))].map(([, n]) => Number(n));
  };
  const further = async (): Promise<void> => {
    for (const node of ["n1", "n2"]) {
      const { length } = await numbers(node);
      await eventually(`${node} goes on`, async () => (await numbers(node)).length > length + 20, { signal });
    }
  };
  await further();
  for (const how of ["SIGTERM", "SIGKILL"] as const) {
    await cluster.hub.kill(how);
    await eventually("it is missed", async () => /hub does not answer/.test(await fs.readFile(log, "utf8")), {
      signal,
    });
    await cluster.hub.start();
    await further();
  }
  follower.kill("SIGINT");
  for (const node of ["n1", "n2"]) {
    const all = await numbers(node);
    assert.deepEqual(
      all,
      Array.from(all, (_, i) => (all[0] ?? 0) + i),
      node,
    );
  }
});

test("who follows ends with whoever reads it, though there is nothing more to say (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await cluster.addNode("n1");
  const source = await writeSource(cluster, "one", {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": `console.log("up"); ${serverSource("one")}`,
  });
  await cluster.okIn(source, "deploy", ...FAST);
  const { command, args } = cluster.program;
  const cwd = cluster.dir;
  const env = cluster.env(cluster.operatorHome);
  const read = async (...words: string[]): Promise<unknown> => {
    const child = spawn(command, [...args, ...words], { cwd, env, stdio: ["ignore", "pipe", "ignore"] });
    await once(child.stdout, "data");
    child.stdout.destroy();
    const [code] = (await once(child, "exit")) as [unknown];
    return code;
  };
  const exits = await Promise.all([read("ports", "watch"), read("logs", "shop", "--follow")]);
  assert.deepEqual(exits, [141, 141]);
});
