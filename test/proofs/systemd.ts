/**
 * `skein agent install` on a real systemd: units that start, restart and come back after a power cut without anybody
 * noticing. `npm run prove -- systemd ROOT`: ROOT is a root file system with systemd, which is copied first; without
 * it one is made by mmdebstrap. Needs root, systemd-nspawn (Debian: systemd-container) and mmdebstrap.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { firstAnswer, get } from "../support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "../support/apps.ts";
import { joinLineIn, startCluster } from "../support/cluster.ts";
import { checkout } from "../support/program.ts";
import { Container } from "./container.ts";
import type { Proof } from "./main.ts";

const run = promisify(execFile);
const LAUNCHER = path.join(checkout.helperDir, "skein");
const UNITS = ["skein-keeper.service", "skein-agent.service"] as const;
const [KEEPER, AGENT] = UNITS;

export const systemd: Proof = async ([given], say, signal) => {
  await using cluster = await startCluster({ signal });
  const root = path.join(cluster.dir, "root");
  await makeRoot(root, given);
  const container = new Container({
    root,
    shows: [path.dirname(checkout.helperDir), `${process.execPath}:/usr/local/bin/node`],
    log: path.join(cluster.dir, "container.log"),
    processes: cluster.processes,
    signal,
  });
  await container.boot();
  const line = joinLineIn((await cluster.ok("node", "invite", "boxed")).stdout);
  const address = `${cluster.network}.77`;
  const install = ["agent", "install", "--address", address];
  say((await container.run(LAUNCHER, ...install, "--join", line)).trim());
  await cluster.present("boxed");
  const port = nextPort();
  const source = async (version: string): Promise<string> =>
    await writeSource(cluster, version, {
      "skein.yaml": `app: boxed\n${RUN.replace("auto", String(port))}`,
      "server.js": serverSource(version),
    });
  await cluster.ok("deploy", "--from", await source("v1"), ...FAST);
  const url = await urlOf(cluster, "boxed");

  const main = async (unit: string): Promise<number> =>
    Number(await container.run("systemctl", "show", "--property=MainPID", "--value", unit));
  const inCgroup = async (unit: string): Promise<string> =>
    await container.run("systemctl", "show", "--property=ControlGroup", "--value", unit);
  say(`units' groups: ${(await Promise.all(UNITS.map(inCgroup))).map((text) => text.trim()).join(", ")}`);

  {
    await using asker = new Asker(url, ["v1", "v2"]);
    const pidOf = async (): Promise<number> =>
      (await cluster.ports()).find(({ app }) => app === "boxed")?.pid ?? 0;
    const before = await pidOf();
    const disturb = async (unit: string, word: string, ...more: string[]): Promise<void> => {
      const old = await main(unit);
      await container.run("systemctl", word, ...more, unit);
      await cluster.until(`${unit} runs again`, async () => ![0, old].includes(await main(unit)));
      await cluster.present("boxed");
      await get(url);
      asker.unharmed();
      say(`${word} ${unit}: nothing lost`);
    };
    await disturb(AGENT, "restart");
    await disturb(AGENT, "kill", "--signal=KILL");
    await disturb(KEEPER, "restart");
    await disturb(KEEPER, "kill", "--signal=KILL", "--kill-who=main");
    assert.equal(await pidOf(), before, "the instance is the very process that it was");
    await cluster.ok("deploy", "--from", await source("v2"), ...FAST);
    say("an update after all that: nothing lost");
    // What the new keeper started must not belong to the agent's unit.
    await disturb(AGENT, "restart");
    assert.equal((await get(url)).text, "v2");
  }

  await cluster.hub.kill();
  await container.powerOff();
  await assert.rejects(get(url));
  await container.boot();
  await firstAnswer(url, "v2", signal);
  say("booted again after its plug was pulled, without any hub: v2 answers");
  await cluster.hub.start();
  await cluster.present("boxed");
  await container.run(LAUNCHER, ...install);
  await cluster.present("boxed");
  await firstAnswer(url, "v2", signal);
  const active = await container.run("systemctl", "is-active", ...UNITS);
  assert.equal(active.trim(), "active\nactive");
  say("installed once more: nothing changes");
  await container.powerOff();
};

async function makeRoot(root: string, given: string | undefined): Promise<void> {
  if (given === undefined) {
    const packages = "--include=systemd,systemd-sysv,util-linux,libstdc++6,libatomic1";
    await run("unshare", [
      "-m",
      "--propagation",
      "private",
      "mmdebstrap",
      "--variant=minbase",
      // A machine may have an old copy of Debian's archive; what is made of it serves for this proof alone.
      '--aptopt=Acquire::Check-Valid-Until "false"',
      packages,
      "stable",
      root,
    ]);
  } else {
    await run("cp", ["-a", given, root]);
  }
  await fs.rm(path.join(root, "etc/machine-id"), { force: true });
}
