import { cp, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Io } from "../terminal/io.ts";
import { type DemoCluster, freePort } from "./cluster.ts";
import { Load, type LoadReport } from "./load.ts";

const NODES = ["n1", "n2", "n3"] as const;
const ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"] as const;
const PER_SECOND = 150;
/** What the versions answer; the third one's verification fails, so nobody may ever see it. */
const GREETINGS = ["beep boop", "beepity boop!", "boop"] as const;
const AUTHOR = ["-c", "user.name=demo", "-c", "user.email=demo@example.invalid"];

/** Of all requests. */
export interface Told {
  readonly lost: number;
  readonly sent: number;
}

/** Plays the whole way once: push, deploy, update, a bad version, rollback, all of it under load. */
export async function story(cluster: DemoCluster, examples: string, io: Io): Promise<Told> {
  const app = path.join(cluster.folder, "webapp");
  const port = await freePort(ADDRESSES);
  step(io, "A hub and three agents, each a process of its own");
  const hub = await startCluster(cluster);
  await cp(path.join(examples, "webapp"), app, { recursive: true });
  await replaceIn(path.join(app, "skein.yaml"), "8080", String(port));
  await cluster.git(["init", "--quiet", "--initial-branch=main"], app);

  step(io, "git push, then deploy the commit to all three");
  const first = await commit(cluster, app, "beep boop");
  await push(cluster, app, hub);
  await deploy(cluster, io, first);

  const load = new Load({
    targets: ADDRESSES.map((host) => ({ host, port })),
    perSecond: PER_SECOND,
    right: (text) => text === `${GREETINGS[0]}\n` || text === `${GREETINGS[1]}\n`,
  });
  load.start();
  try {
    return await underLoad({ cluster, io, app, hub, load });
  } finally {
    load.stop();
  }
}

interface Scene {
  readonly cluster: DemoCluster;
  readonly io: Io;
  readonly app: string;
  readonly hub: string;
  readonly load: Load;
}

async function underLoad(scene: Scene): Promise<Told> {
  const { cluster, io, app, hub, load } = scene;
  const total = { lost: 0, sent: 0 };
  const count = async (): Promise<void> => {
    const report = await load.report();
    total.lost += report.lost;
    total.sent += report.sent;
    io.print(lostLine(report));
  };

  step(io, `The next commit, under ${PER_SECOND} requests a second`);
  await replaceIn(path.join(app, "web.js"), GREETINGS[0], GREETINGS[1]);
  const second = await commit(cluster, app, "beepity");
  await push(cluster, app, hub);
  await deploy(cluster, io, second);
  await count();

  step(io, "A commit whose verification fails: it is undone by itself");
  await replaceIn(path.join(app, "web.js"), GREETINGS[1], GREETINGS[2]);
  const bad = await commit(cluster, app, "boop");
  await push(cluster, app, hub);
  const failed = await cluster.skein(["deploy", "webapp", bad], { show: true });
  if (failed.code !== 3)
    throw new SkeinError("INTERNAL", `deploying the bad commit exited with ${failed.code}, not 3`);
  io.print("exit code 3: failed and undone, the old version is healthy");
  await count();

  step(io, "Roll back to the first version");
  await mustSucceed(cluster, io, ["rollback", "webapp"]);
  await count();

  step(io, "The port table");
  await mustSucceed(cluster, io, ["ports"]);
  return total;
}

async function startCluster(cluster: DemoCluster): Promise<string> {
  const ready = await cluster.serve("hub", ["hub", "--listen", "127.0.0.1:0"]);
  const hub = `${String(ready["hub"])}#${String(ready["key"])}`;
  const init = await cluster.skein(["init", "--hub", hub]);
  if (init.code !== 0) throw new SkeinError("INTERNAL", `skein init: ${init.stderr}`);
  await Promise.all(
    NODES.map(async (name, i) => {
      const invited = await cluster.skein(["--json", "node", "invite", name]);
      const join = ticketOf(invited.stdout);
      cluster.start(name, ["agent", "run", "--join", join, "--address", ADDRESSES[i] ?? "127.0.0.1"]);
    }),
  );
  await allPresent(cluster);
  return String(ready["hub"]);
}

async function allPresent(cluster: DemoCluster): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    const listed = await cluster.skein(["node", "ls"]);
    if (listed.stdout.split("\n").filter((row) => /\spresent\s/.test(row)).length === NODES.length) return;
  }
  throw new SkeinError("TIMEOUT", `not all of ${NODES.join(", ")} joined; see the logs in ${cluster.folder}`);
}

function ticketOf(stdout: string): string {
  const found = /skj1_[^\s"]+/.exec(stdout);
  if (found === null) throw new SkeinError("TICKET_BAD", "skein node invite printed no ticket");
  return found[0];
}

async function commit(cluster: DemoCluster, app: string, message: string): Promise<string> {
  await cluster.git(["add", "--all"], app);
  await cluster.git([...AUTHOR, "commit", "--quiet", "--message", message], app);
  const { stdout } = await cluster.git(["rev-parse", "HEAD"], app);
  return stdout.trim();
}

async function push(cluster: DemoCluster, app: string, hub: string): Promise<void> {
  await cluster.git(["push", "--quiet", `skein://${hub}/webapp`, "main"], app);
}

async function deploy(cluster: DemoCluster, io: Io, commitHash: string): Promise<void> {
  await mustSucceed(cluster, io, ["deploy", "webapp", commitHash]);
}

/** Shows the command as a person would type it, and what it prints. */
async function mustSucceed(cluster: DemoCluster, io: Io, words: readonly string[]): Promise<void> {
  io.print(`$ skein ${words.join(" ")}`);
  const ended = await cluster.skein(words, { show: true });
  if (ended.stdout !== "") io.print(ended.stdout.trimEnd());
  if (ended.code !== 0)
    throw new SkeinError("INTERNAL", `skein ${words.join(" ")} exited with ${ended.code}`);
}

async function replaceIn(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(file, "utf8");
  if (!text.includes(from)) throw new SkeinError("INTERNAL", `${file} does not contain ${from}`);
  await writeFile(file, text.replace(from, to));
}

function step(io: Io, title: string): void {
  io.print(`\n${io.paint("bold", `== ${title}`)}`);
}

function lostLine({ lost, sent, byOutcome, answers }: LoadReport): string {
  const ways = Object.entries(byOutcome)
    .filter(([outcome]) => outcome !== "ok")
    .map(([outcome, count]) => `${count} ${outcome}`);
  const seen = [...answers].map(([text, count]) => `${count} × ${JSON.stringify(text)}`).join(", ");
  return `requests lost: ${lost} of ${sent}${ways.length === 0 ? "" : ` (${ways.join(", ")})`}; answers: ${seen}`;
}
