import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { installsDir } from "../../release/record/install-record.ts";
import { appFolders, type AppFolders } from "./folders.ts";
import { processGroups } from "../programs/groups.ts";
import { ownData, type GivingTools } from "./own-data.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const skip = process.getuid?.() !== 0 && "only root can give files away";

const FORMER = { uid: 71_001, gid: 71_001 };
const NEXT = { uid: 71_002, gid: 71_002 };

interface World extends AppFolders {
  readonly home: string;
  readonly tools: GivingTools;
}

/** An app's data with many files of its former user: there is time to do something while they are given. */
function world(t: TestContext): World {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sk-own-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  fs.chmodSync(home, 0o755);
  const folders = appFolders(pathsFrom({ SKEIN_HOME: home }), "shop");
  fs.mkdirSync(installsDir(folders.revs), { recursive: true });
  for (let n = 0; n < 30; n++) {
    const dir = path.join(folders.data, String(n));
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (let m = 0; m < 100; m++) fs.writeFileSync(path.join(dir, String(m)), "");
  }
  fs.chmodSync(folders.data, 0o700);
  execFileSync("chown", ["-R", `${FORMER.uid}:${FORMER.gid}`, folders.data]);
  const groups = processGroups(path.join(home, "groups"));
  return { ...folders, home, tools: { clock: systemClock, groups, signal: t.signal } };
}

function ownersIn({ data }: AppFolders): number[] {
  const names = ["", ...fs.readdirSync(data, { recursive: true, encoding: "utf8" })];
  return [...new Set(names.map((name) => fs.lstatSync(path.join(data, name)).uid))];
}

/** Gives it to the next one, and is cut off when some of it is given. */
async function cutOff(folders: World): Promise<void> {
  const inside = fs.readdirSync(folders.data).map((name) => path.join(folders.data, name));
  const cut = new AbortController();
  const giving = ownData(folders, NEXT, { ...folders.tools, signal: cut.signal }).catch(() => undefined);
  while (inside.every((dir) => fs.statSync(dir).uid === FORMER.uid)) await turn();
  cut.abort();
  await giving;
}

test("data that was given in part goes back whole", { skip }, async (t) => {
  const folders = world(t);
  // On a machine that is busy it may have come to its end.
  do {
    await ownData(folders, FORMER, folders.tools);
    await cutOff(folders);
  } while (ownersIn(folders).length === 1);
  await ownData(folders, FORMER, folders.tools);
  assert.deepEqual(ownersIn(folders), [FORMER.uid]);
  assert.deepEqual(fs.readdirSync(installsDir(folders.revs)), []);
});

test(
  "what is written while data is given is given, too, and what is removed hinders nothing",
  { skip },
  async (t) => {
    const folders = world(t);
    const script = 'while echo > "$0/new" && mv "$0/new" "$0/state"; do :; done';
    const writer = spawn("sh", ["-c", script, folders.data], {
      uid: FORMER.uid,
      gid: FORMER.gid,
      stdio: "ignore",
    });
    const ended = once(writer, "exit");
    while (!fs.existsSync(path.join(folders.data, "state"))) await turn();
    await ownData(folders, NEXT, folders.tools);
    await ended;
    assert.deepEqual(ownersIn(folders), [NEXT.uid]);
  },
);

/** The `chown` that an agent runs on the data, stopped, once there is one; undefined: it came to its end first. */
async function stoppedChown({ data, home }: World, agent: ChildProcess): Promise<number | undefined> {
  const noted = path.join(home, "groups");
  while (agent.exitCode === null) {
    const [file] = await fs.promises.readdir(noted).catch(() => []);
    const pid =
      file === undefined ? "" : await fs.promises.readFile(path.join(noted, file), "utf8").catch(() => "");
    if (argvOf(pid)[0] === "chown" && isStopped(Number(pid))) {
      return argvOf(pid).includes(data) ? Number(pid) : undefined;
    }
    await turn();
  }
  return undefined;
}

function isStopped(pid: number): boolean {
  try {
    return process.kill(pid, "SIGSTOP");
  } catch {
    return false; // it ended
  }
}

function argvOf(pid: string | number): readonly string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // it ended
  }
}

test(
  "what an agent that was killed was giving is ended by who comes after it (long)",
  { skip },
  async (t) => {
    const folders = world(t);
    let left: number | undefined;
    for (let n = 0; n < 20 && left === undefined; n++) {
      await folders.tools.groups.sweep();
      await ownData(folders, FORMER, folders.tools);
      const file = childProgram(import.meta.dirname, "own-data.child.ts");
      const args = [file, folders.home, path.join(folders.home, "groups"), String(NEXT.uid)];
      const agent = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
      const ended = once(agent, "exit");
      left = await stoppedChown(folders, agent);
      agent.kill("SIGKILL");
      await ended;
    }
    const chown = left ?? assert.fail("no agent could be killed in the middle");
    atEnd(t, () => {
      if (argvOf(chown).includes(folders.data)) process.kill(chown, "SIGKILL");
    });
    assert.equal(await folders.tools.groups.sweep(), 1);
    assert.deepEqual(argvOf(chown).filter(Boolean), [], "nothing gives any more when the sweep is over");
    await ownData(folders, FORMER, folders.tools);
    assert.deepEqual(ownersIn(folders), [FORMER.uid]);
  },
);
