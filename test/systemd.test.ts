/**
 * `skein agent install` and `hub install` on a real systemd: units that start, restart and come back after a power cut
 * without anybody noticing, and a shutdown that apps are told of in time.
 */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../src/lib/testing/free-port.fixture.ts";
import { firstAnswer, get } from "./support/answers.ts";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { type Cluster, joinLineIn, startCluster } from "./support/cluster.ts";
import { tested } from "./support/program.ts";
import { noSystemd, Systemd } from "./support/systemd.ts";

const LAUNCHER = path.join(tested.helperDir, "skein");
const HUB = "skein-hub.service";
const KEEPER = "skein-keeper.service";
const AGENT = "skein-agent.service";

/** Takes its time, and notes what runs the machine when it is told to end: at the very end that is another program. */
const SLOW = `
const fs = require("node:fs");
const note = (name, text) => fs.writeFileSync(process.env.SKEIN_DATA + "/" + name, text);
const server = require("node:http").createServer((q, r) => {
  if (q.url === "/") return r.end("slow");
  note("asked", "yes");
  setTimeout(() => r.end("in time"), 2_000);
});
server.listen(process.env.PORT, process.env.HOST);
process.once("SIGTERM", () => {
  note("stopped", fs.readFileSync("/proc/1/comm", "utf8").trim());
  server.close();
});
`;

describe("units on a real systemd (long)", { skip: noSystemd("test/systemd.test.ts") }, () => {
  const stop = new AbortController();
  const held = new AsyncDisposableStack();
  const port = nextPort();
  let cluster: Cluster;
  let machine: Systemd;
  let address: string;
  let url: string;

  before(async () => {
    const { signal } = stop;
    cluster = held.use(await startCluster({ signal }));
    address = `${cluster.network}.77`;
    const shows = [path.dirname(tested.helperDir), path.dirname(process.execPath)];
    machine = held.use(await Systemd.make({ dir: cluster.dir, shows, processes: cluster.processes, signal }));
    await machine.boot();
  });

  after(async () => {
    stop.abort();
    await held.disposeAsync();
  });

  const install = async (...words: readonly string[]): Promise<string> =>
    await machine.run(LAUNCHER, words[0] ?? "", "install", ...words.slice(1));

  const installAgent = async (...words: readonly string[]): Promise<string> =>
    await install("agent", "--address", address, ...words);

  const show = async (property: string, unit: string): Promise<string> =>
    (await machine.run("systemctl", "show", "--value", `--property=${property}`, unit)).trim();

  const source = async (version: string, server = serverSource(version)): Promise<string> =>
    await writeSource(cluster, version, {
      "skein.yaml": `app: boxed\n${RUN.replace("auto", String(port))}`,
      "server.js": server,
    });

  const deploy = async (...words: Parameters<typeof source>): Promise<void> => {
    const { stdout } = await cluster.ok("deploy", "--from", await source(...words), ...FAST);
    assert.match(stdout, /runs on 1 node\b/);
  };

  /** Has the agent start, and waits until the hub hears that one: the one before counts as present for a while. */
  const anew = async (start: () => Promise<unknown>): Promise<void> => {
    const before = await cluster.nodeView("boxed");
    await start();
    await cluster.until("the hub hears the new agent", async () => {
      const view = await cluster.nodeView("boxed");
      return view?.present === true && view.boot !== before?.boot;
    });
  };

  const pid = async (): Promise<number | null | undefined> => (await cluster.ports())[0]?.pid;

  test("what cannot run is told with its own words, and what can is installed", async () => {
    await machine.run("systemctl", "mask", HUB);
    await assert.rejects(install("hub"), { code: 5, stderr: /skein-hub\.service is masked[^]*UNIT_FAILED/ });
    await machine.run("systemctl", "unmask", HUB);
    await assert.rejects(install("hub", "--listen", cluster.hubAddress), { code: 5, stderr: /PORT_TAKEN/ });
    const free = `${address}:${await freePort()}`;
    assert.match(await install("hub", "--listen", free), /installed and started skein-hub\.service/);
    assert.ok((await show("ExecStart", HUB)).includes(free), "the second installation's flags are in force");
    await machine.run("systemctl", "disable", "--now", HUB);
    const line = joinLineIn((await cluster.ok("node", "invite", "boxed")).stdout);
    assert.match(await installAgent("--join", line), /skein-keeper\.service and skein-agent\.service/);
    const verify = 'systemd-analyze verify "$@" 2>&1'; // what it warns of fails nothing
    assert.doesNotMatch(await machine.run("sh", "-c", verify, "sh", HUB, KEEPER, AGENT), /skein/);
    await cluster.present("boxed");
    await deploy("v1");
    url = await urlOf(cluster, "boxed");
    assert.equal((await get(url)).text, "v1");
  });

  test("neither unit's stop, restart or kill takes anything from what serves", async () => {
    await using asker = new Asker(url, ["v1", "v2"]);
    const before = await pid();
    const disturb = async (unit: string, ...words: readonly string[]): Promise<void> => {
      const old = await show("MainPID", unit);
      await machine.run("systemctl", ...words, unit);
      await cluster.until(
        `${unit} runs again`,
        async () => !["0", old].includes(await show("MainPID", unit)),
      );
    };
    await disturb(AGENT, "restart");
    await disturb(AGENT, "kill", "--signal=KILL");
    await disturb(KEEPER, "restart");
    await disturb(KEEPER, "kill", "--signal=KILL", "--kill-who=main");
    await machine.run("systemctl", "stop", AGENT, KEEPER);
    assert.equal((await get(url)).text, "v1");
    await machine.run("systemctl", "daemon-reload");
    await anew(async () => await machine.run("systemctl", "start", AGENT, KEEPER));
    assert.equal(await pid(), before, "the instance is the very process that it was");
    await deploy("v2");
    // What the new keeper started must not belong to the agent's unit.
    await disturb(AGENT, "restart");
    assert.equal((await get(url)).text, "v2");
    asker.unharmed();
  });

  test("after a power cut it comes back without any hub, and is installed anew without a change", async () => {
    const cut = await pid();
    await cluster.hub.kill();
    await machine.powerOff();
    await assert.rejects(get(url));
    await machine.boot();
    await firstAnswer(url, "v2", stop.signal);
    await cluster.hub.start();
    await cluster.until("the hub has heard of it", async () => ![cut, undefined].includes(await pid()));
    const before = await pid();
    const another = machine.run("env", "SKEIN_HOME=/srv/another", LAUNCHER, "agent", "install");
    await assert.rejects(another, { code: 5, stderr: /is there already, and is for the system's folders/ });
    await anew(installAgent);
    assert.equal(await pid(), before);
    for (const unit of [KEEPER, AGENT]) assert.equal(await show("ActiveState", unit), "active");
  });

  test("when it is shut down, a request that is under way is answered first", async () => {
    const told = async (name: string): Promise<string> =>
      await fs
        .readFile(path.join(machine.root, "var/lib/skein/apps/boxed/data", name), "utf8")
        .catch(() => "");
    await deploy("v3", SLOW);
    const answer = get(new URL("/slow", url).href);
    await cluster.until("the request is in", async () => (await told("asked")) !== "");
    await machine.halt();
    assert.equal((await answer).text, "in time");
    assert.equal(await told("stopped"), "systemd", "what begins when units have ended is too late");
  });
});
