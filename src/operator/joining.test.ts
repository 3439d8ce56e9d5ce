import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { nodeKeys } from "../agent/node/node-keys.ts";
import { joinNode, openNode } from "../agent/node/open-node.ts";
import { systemClock } from "../lib/time/clock.ts";
import { writeFileAtomic } from "../lib/disk/files.ts";
import type { Digest } from "../lib/text/ids.ts";
import { jsonLog, silentLog } from "../lib/process/log.ts";
import { pathsFrom } from "../lib/disk/paths.ts";
import { parseTicketLine } from "../trust/members/ticket-line.ts";
import { cluster } from "./cluster.fixture.ts";
import { invite, knownNodes } from "./nodes/nodes.ts";

test("a machine joins before anything runs on it: what is wrong with its line is said at once", async (t) => {
  const at = await cluster(t);
  const { signal } = at;
  const home = path.join(at.dir, "web1");
  const machine = (line: string, of = home) => ({
    paths: pathsFrom({ SKEIN_HOME: of }),
    name: "host",
    join: line,
    clock: systemClock,
    log: silentLog,
    signal,
  });
  await assert.rejects(joinNode(machine("skj1_nothing")), { code: "TICKET_BAD" });

  const wish = { name: "web1", labels: { role: "web" }, replace: null, validMs: 60_000 };
  const { line } = await invite(at.operator, wish, signal);
  await joinNode(machine(line));
  await assert.rejects(joinNode(machine(line, path.join(at.dir, "web2"))), { code: "TICKET_USED" });
  const names = (await knownNodes(at.operator, signal)).map(({ identity }) => identity.name);
  assert.deepEqual(names, ["web1"]);
  await joinNode(machine(line));
  assert.ok(!fs.existsSync(path.join(home, "run/keeper.sock")), "no keeper was started for it");
});

test("a line names a hub where this machine was told that it is now, and no other hub than the charter's", async (t) => {
  const { operator, signal } = await cluster(t);
  const [spki = ""] = Object.keys(operator.charter.hubs);
  const moved = { spki: spki as Digest, address: "192.0.2.7:7400" };
  const strange = { spki: "0".repeat(64) as Digest, address: "192.0.2.8:7400" };
  const config = { ...operator.config, hubs: [strange, moved] };
  const wish = { name: "web1", labels: {}, replace: null, validMs: 60_000 };
  const { line } = await invite({ ...operator, config }, wish, signal);
  assert.deepEqual(parseTicketLine(line).hub, moved);
});

test("a hub that goes down while a machine joins is waited for, and lets it in once", async (t) => {
  const at = await cluster(t);
  const { signal } = at;
  const wish = { name: "web1", labels: {}, replace: null, validMs: 60_000 };
  const { line } = await invite(at.operator, wish, signal);
  const said: string[] = [];
  // It has written down who joins, and its answer is lost.
  const down = Promise.withResolvers<void>();
  const stop = at.hub.hub.core.mirror.onChange((keys) => {
    if (!keys.some((key) => key.endsWith("/enrol"))) return;
    stop();
    down.resolve(at.hub.close());
  });
  const joining = joinNode({
    paths: pathsFrom({ SKEIN_HOME: path.join(at.dir, "web1") }),
    name: "host",
    join: line,
    clock: systemClock,
    log: jsonLog((text) => said.push(text)),
    signal,
  });
  await Promise.race([down.promise, joining]);
  await at.restart();
  await joining;
  assert.match(said[0] ?? "", /"warn","msg":"waiting for the hub, to join".*"triesLeft":14/);
  const nodes = await knownNodes(at.operator, signal);
  assert.deepEqual(
    nodes.map(({ identity }) => identity.name),
    ["web1"],
  );
});

test("a hub that stays away is not waited for for ever, and what it said of a ticket is not asked again", async (t) => {
  const at = await cluster(t);
  const wish = { name: "web1", labels: {}, replace: null, validMs: 60_000 };
  const { line } = await invite(at.operator, wish, at.signal);
  let pauses = 0;
  const machine = (join: string) => ({
    paths: pathsFrom({ SKEIN_HOME: path.join(at.dir, "web1") }),
    name: "host",
    join,
    clock: { ...systemClock, sleep: async () => await Promise.resolve(void (pauses += 1)) },
    log: silentLog,
    signal: at.signal,
  });
  const other = await cluster(t);
  const bad = (await invite(other.operator, wish, at.signal)).line;
  const stranger = `${line.slice(0, line.indexOf("@"))}${bad.slice(bad.indexOf("@"))}`;
  await assert.rejects(joinNode(machine(stranger)), { code: "PIN_MISMATCH" });
  assert.equal(pauses, 0);
  await at.hub.close();
  await assert.rejects(joinNode(machine(line)), {
    code: "HUB_UNREACHABLE",
    message: /^this machine could not join: 127\.0\.0\.1/,
    hint: /type the same line again/,
  });
  assert.equal(pauses, 14);
});

test("a machine that starts before its clock is right waits until that is set, and joins then", async (t) => {
  const at = await cluster(t);
  const { signal } = at;
  const wish = { name: "web1", labels: {}, replace: null, validMs: 60_000 };
  const { line } = await invite(at.operator, wish, signal);
  const said: string[] = [];
  let waits = 0;
  const clock = {
    now: () => (waits < 70 ? 0 : Date.now()),
    sleep: async () => await Promise.resolve(void (waits += 1)),
  };
  const paths = pathsFrom({ SKEIN_HOME: path.join(at.dir, "web1") });
  const log = jsonLog((text) => said.push(text));
  await joinNode({ paths, name: "host", join: line, clock, log, signal });
  assert.equal(waits, 70);
  assert.deepEqual(
    said.map((text) => (JSON.parse(text) as { msg: string }).msg),
    ["waiting for this machine's clock, or the hub's, to be set; then it joins", "joined"],
  );
});

test("a machine that belongs to one cluster does not take another's line for done", async (t) => {
  const [at, other] = [await cluster(t), await cluster(t)];
  const wish = { name: "web1", labels: {}, replace: null, validMs: 60_000 };
  const paths = pathsFrom({ SKEIN_HOME: path.join(at.dir, "web1") });
  const said: string[] = [];
  const log = jsonLog((line) => said.push(line));
  const machine = async ({ operator }: typeof at) => {
    const { line: join } = await invite(operator, wish, t.signal);
    return { paths, name: "host", join, clock: systemClock, log, signal: t.signal };
  };
  const first = await machine(at);
  await joinNode(first);
  const second = await machine(other);
  const hint = /move all but uids\.json out of .*state/;
  await assert.rejects(joinNode(second), { code: "WRONG_CLUSTER", hint });
  // At boot it is told of, and the node goes on as what it is.
  const stateDir = path.join(paths.lib, "state");
  const keys = await nodeKeys(paths.etc);
  for (const options of [first, second]) {
    said.length = 0;
    const store = await openNode(options, stateDir, keys, writeFileAtomic);
    assert.equal(store.state.identity?.name, "web1");
    assert.equal(
      said.some((line) => line.includes("WRONG_CLUSTER")),
      options === second,
    );
  }
});
