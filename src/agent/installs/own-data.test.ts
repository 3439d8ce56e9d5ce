import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import { pathsFrom } from "../../lib/paths.ts";
import { installsDir } from "../../release/record/install-record.ts";
import { appFolders, type AppFolders } from "./folders.ts";
import { ownData } from "./own-data.ts";

const skip = process.getuid?.() !== 0 && "only root can give files away";

const FORMER = { uid: 71_001, gid: 71_001 };
const NEXT = { uid: 71_002, gid: 71_002 };
const NEVER = new AbortController().signal;

/** An app's data with many files of its former user: there is time to do something while they are given. */
function world(t: TestContext): AppFolders {
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
  return folders;
}

function ownersIn({ data }: AppFolders): number[] {
  const names = ["", ...fs.readdirSync(data, { recursive: true, encoding: "utf8" })];
  return [...new Set(names.map((name) => fs.lstatSync(path.join(data, name)).uid))];
}

/** Gives it to the next one, and is cut off when some of it is given. */
async function cutOff(folders: AppFolders): Promise<void> {
  const inside = fs.readdirSync(folders.data).map((name) => path.join(folders.data, name));
  const cut = new AbortController();
  const giving = ownData(folders, NEXT, cut.signal).catch(() => undefined);
  while (inside.every((dir) => fs.statSync(dir).uid === FORMER.uid)) await turn();
  cut.abort();
  await giving;
}

test("data that was given in part goes back whole", { skip }, async (t) => {
  const folders = world(t);
  // On a machine that is busy it may have come to its end.
  do {
    await ownData(folders, FORMER, NEVER);
    await cutOff(folders);
  } while (ownersIn(folders).length === 1);
  await ownData(folders, FORMER, NEVER);
  assert.deepEqual(ownersIn(folders), [FORMER.uid]);
  assert.deepEqual(fs.readdirSync(installsDir(folders.revs)), []);
});

test("what is written while data is given is given, too", { skip }, async (t) => {
  const folders = world(t);
  const script = 'while echo > "$0/new" && mv "$0/new" "$0/state"; do :; done';
  const writer = spawn("sh", ["-c", script, folders.data], {
    uid: FORMER.uid,
    gid: FORMER.gid,
    stdio: "ignore",
  });
  const ended = once(writer, "exit");
  while (!fs.existsSync(path.join(folders.data, "state"))) await turn();
  await ownData(folders, NEXT, NEVER);
  await ended;
  assert.deepEqual(ownersIn(folders), [NEXT.uid]);
});
