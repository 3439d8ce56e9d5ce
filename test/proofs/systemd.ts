/**
 * `skein agent install` on a real systemd: units that start, restart and come back after a power cut without anybody
 * noticing. `npm run prove -- systemd [ROOT]`: ROOT is a root file system with systemd, which is copied first;
 * without it the machine's own /usr serves, read-only. Needs root, systemd-nspawn (Debian: systemd-container), and a
 * node in /usr for the app.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../src/lib/free-port.fixture.ts";
import { firstAnswer, get } from "../support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "../support/apps.ts";
import { type Cluster, joinLineIn, startCluster } from "../support/cluster.ts";
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
    shows: [
      path.dirname(checkout.helperDir),
      ...(given === undefined ? ["/usr"] : [`${process.execPath}:/usr/local/bin/node`]),
    ],
    log: path.join(cluster.dir, "container.log"),
    processes: cluster.processes,
    signal,
  });
  await container.boot();
  await refusesWhatCannotRun(container, cluster);
  say("an agent that never joined, and a hub whose port is taken: told, exit 5");
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

  const manifest = { "skein.yaml": `app: boxed\n${RUN.replace("auto", String(port))}`, "server.js": SLOW };
  await cluster.ok("deploy", "--from", await writeSource(cluster, "v3", manifest), ...FAST);
  const answer = get(new URL("/slow", url).href);
  await cluster.until("the request is in", async () => (await toldBy(root, "asked")) !== "");
  await container.halt();
  assert.equal((await answer).text, "in time");
  assert.equal(await toldBy(root, "stopped"), "systemd", "what begins when units have ended is too late");
  say("shut down: a request under way was answered first");
};

async function refusesWhatCannotRun(container: Container, cluster: Cluster): Promise<void> {
  const install = async (...words: string[]): Promise<string> =>
    await container.run(LAUNCHER, words[0] ?? "", "install", ...words.slice(1));
  await assert.rejects(install("agent"), { code: 5, stderr: /never joined|NOT_JOINED/ });
  await assert.rejects(install("hub", "--listen", cluster.hubAddress), { code: 5, stderr: /PORT_TAKEN/ });
  const free = `${cluster.network}.77:${await freePort()}`;
  assert.match(await install("hub", "--listen", free), /installed and started skein-hub\.service/);
  await container.run("systemd-analyze", "verify", ...UNITS, "skein-hub.service");
  const listens = await container.run("systemctl", "show", "--property=ExecStart", "skein-hub.service");
  assert.ok(listens.includes(free), "the second installation's flags are the ones it runs with");
  await container.run("systemctl", "disable", "--now", "skein-hub.service");
}

/** Takes its time, and notes what runs the machine when it is told to end: at the very end that is another program. */
const SLOW = `
const fs = require("node:fs");
const note = (name, text) => fs.writeFileSync(process.env.SKEIN_DATA + "/" + name, text);
const server = require("node:http").createServer((q, r) => {
  if (q.url === "/") return r.end();
  note("asked", "yes");
  setTimeout(() => r.end("in time"), 2_000);
});
server.listen(process.env.PORT, process.env.HOST);
process.once("SIGTERM", () => {
  note("stopped", fs.readFileSync("/proc/1/comm", "utf8").trim());
  server.close();
});
`;

async function toldBy(root: string, name: string): Promise<string> {
  const file = path.join(root, "var/lib/skein/apps/boxed/data", name);
  return await fs.readFile(file, "utf8").catch(() => "");
}

/** This machine's programs, with settings and data of their own: none of its services is enabled there. */
async function makeRoot(root: string, given: string | undefined): Promise<void> {
  if (given === undefined) {
    await fs.mkdir(path.join(root, "usr"), { recursive: true });
    await run("cp", ["-a", "/bin", "/sbin", "/lib", "/lib64", "/etc", root]);
    for (const dir of ["systemd/system", "init.d", "skein"])
      await fs.rm(path.join(root, "etc", dir), { recursive: true, force: true });
    await fs.mkdir(path.join(root, "etc/systemd/system"), { recursive: true });
    await run("cp", ["--remove-destination", "/usr/lib/os-release", path.join(root, "etc")]); // nspawn asks before it binds
  } else {
    await run("cp", ["-a", given, root]);
  }
  // Without an id it would be a first boot, which enables whatever there is.
  await fs.writeFile(path.join(root, "etc/machine-id"), `${randomUUID().replaceAll("-", "")}\n`);
}
