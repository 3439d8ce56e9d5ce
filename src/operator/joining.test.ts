import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { joinNode } from "../agent/node/open-node.ts";
import { systemClock } from "../lib/clock.ts";
import { silentLog } from "../lib/log.ts";
import { pathsFrom } from "../lib/paths.ts";
import { cluster } from "./cluster.fixture.ts";
import { invite, knownNodes } from "./nodes.ts";

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
