import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { lockHome } from "./lock.ts";
import { nodeKeys } from "./node-keys.ts";
import { appUsers } from "../programs/users.ts";

async function folder(t: TestContext): Promise<string> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-agent-"));
  atEnd(t, async () => fs.rm(dir, { recursive: true, force: true }));
  return dir;
}

test("a second agent for one home is refused; the lock ends with its holder", async (t) => {
  const dir = await folder(t);
  {
    using held = await lockHome(dir);
    assert.ok(held);
    await assert.rejects(lockHome(dir), { code: "AGENT_RUNNING" });
    using other = await lockHome(await folder(t));
    assert.ok(other);
  }
  using again = await lockHome(dir);
  assert.ok(again);
});

test("a lock whose holder was killed is free at once", async (t) => {
  const dir = await folder(t);
  const module = new URL("./lock.ts", import.meta.url).href;
  const code = `await (await import(${JSON.stringify(module)})).lockHome(process.argv[1]);
    console.log("held"); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", code, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  atEnd(t, () => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");
  await assert.rejects(lockHome(dir), { code: "AGENT_RUNNING" });
  holder.kill("SIGKILL");
  await once(holder, "exit");
  using held = await lockHome(dir);
  assert.ok(held);
});

test("a lock that is given up within a moment is waited for", async (t) => {
  const dir = await folder(t);
  const first = await lockHome(dir);
  const second = lockHome(dir);
  first[Symbol.dispose]();
  using held = await second;
  assert.ok(held);
});

test("an app of this machine cannot take the lock, and keep the agent from starting", async (t) => {
  const dir = await folder(t);
  await fs.chmod(dir, 0o755);
  {
    using held = await lockHome(dir);
    assert.ok(held);
  }
  const files = await fs.readdir(dir);
  assert.notDeepEqual(files, [], "a name that is no file is everybody's to take");
  for (const file of files) assert.equal((await fs.stat(path.join(dir, file))).mode & 0o777, 0o600);
});

test("who asks for a node's keys at the same time gets the same ones", async (t) => {
  const dir = await folder(t);
  const all = await Promise.all(Array.from({ length: 8 }, async () => await nodeKeys(dir)));
  assert.equal(new Set(all.map(({ signer }) => signer.kid)).size, 1);
  assert.equal(new Set(all.map(({ sealing }) => sealing)).size, 1);
  assert.deepEqual((await fs.readdir(dir)).sort(), ["node.key", "sealing.key"]);
});

test("each app has a uid of its own, the same for ever", async (t) => {
  const dir = await folder(t);
  const users = appUsers(dir, true);
  const [a, b, again] = await Promise.all([users.of("a"), users.of("b"), users.of("a")]);
  assert.deepEqual([a, b, again], [{ uid: 70_000, gid: 70_000 }, { uid: 70_001, gid: 70_001 }, a]);
  assert.deepEqual(await appUsers(dir, true).of("b"), b);
  assert.equal(await appUsers(dir, false).of("b"), undefined);
});

test(
  "where the table was lost, each app gets the uid that its data has, and a new one none of those",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const dir = await folder(t);
    const apps = path.join(dir, "apps");
    const owned: readonly (readonly [app: string, uid: number])[] = [
      ["old", 70_000],
      ["shop", 70_002],
      ["twin", 70_002],
      ["mine", 1000],
    ];
    for (const [app, uid] of owned) {
      await fs.mkdir(path.join(apps, app, "data"), { recursive: true });
      await fs.chown(path.join(apps, app, "data"), uid, uid);
    }
    const users = appUsers(dir, true, apps);
    const uids: unknown[] = [];
    for (const app of ["old", "new", "mine", "shop"]) uids.push((await users.of(app))?.uid);
    assert.deepEqual(uids, [70_000, 70_001, 70_003, 70_004], "nobody can say whose 70002 was");
  },
);

for (const text of ["", "\0\0", '{"shop": "root"}', "[1]"]) {
  test(`a table of uids that holds ${JSON.stringify(text)} is not guessed at`, async (t) => {
    const dir = await folder(t);
    await fs.writeFile(path.join(dir, "uids.json"), text);
    await assert.rejects(appUsers(dir, true).of("shop"), { code: "STORE_CORRUPT" });
  });
}

test("uids end with their range", async (t) => {
  const dir = await folder(t);
  const all = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`app-${n}`, 70_000 + n]));
  await fs.writeFile(path.join(dir, "uids.json"), JSON.stringify(all));
  await assert.rejects(appUsers(dir, true).of("one-more"), { code: "USER_REFUSED" });
});
