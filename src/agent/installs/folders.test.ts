import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { appFolders, makeAppFolders, writableTargets, type AppFolders } from "./folders.ts";

async function made(t: TestContext): Promise<{ home: string; folders: AppFolders }> {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "sk-"));
  atEnd(t, async () => await fs.rm(home, { recursive: true, force: true }));
  const folders = appFolders(pathsFrom({ SKEIN_HOME: home }), "shop");
  await makeAppFolders(folders, undefined);
  return { home, folders };
}

test("two releases that come first at the same time find one data folder", async (t) => {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "sk-"));
  atEnd(t, async () => await fs.rm(home, { recursive: true, force: true }));
  const folders = appFolders(pathsFrom({ SKEIN_HOME: home }), "shop");
  const come = async (): Promise<number> => {
    await makeAppFolders(folders, undefined);
    return (await fs.stat(folders.data)).ino;
  };
  const [first, second] = await Promise.all([come(), come()]);
  assert.equal(first, second);
  assert.equal(await come(), first);
  assert.deepEqual((await fs.readdir(folders.app)).sort(), ["data", "revs"]);
});

test("writable folders are made in the app's data, however deep", async (t) => {
  const { folders } = await made(t);
  const targets = await writableTargets(folders, ["tmp/", ".next/cache"]);
  assert.deepEqual(
    [...targets],
    [
      ["tmp", path.join(folders.data, "tmp")],
      [".next/cache", path.join(folders.data, ".next/cache")],
    ],
  );
  for (const target of targets.values()) assert.equal((await fs.lstat(target)).isDirectory(), true);
});

test("a writable folder in another one is there by that", async (t) => {
  const { folders } = await made(t);
  const targets = await writableTargets(folders, ["tmp/cache", "tmp", "tmpfs"]);
  assert.deepEqual([...targets.keys()], ["tmp", "tmpfs"]);
  assert.equal((await fs.lstat(path.join(folders.data, "tmp/cache"))).isDirectory(), true);
});

test("a link that the app laid in its data is refused", async (t) => {
  const { home, folders } = await made(t);
  await fs.symlink(home, path.join(folders.data, "cache"));
  await assert.rejects(writableTargets(folders, ["cache/deep"]), { code: "USER_REFUSED" });
  await fs.writeFile(path.join(folders.data, "file"), "");
  await assert.rejects(writableTargets(folders, ["file"]), { code: "USER_REFUSED" });
});

test("a link laid between two steps leads nobody out of the app's data", async (t) => {
  const { home, folders } = await made(t);
  const victim = path.join(home, "victim");
  await fs.mkdir(victim);
  const cache = path.join(folders.data, "cache");
  const mkdir = fs.mkdir.bind(fs);
  // What an app can do at the worst moment: its own folder was looked at, and is now a link to somebody else's.
  t.mock.method(fs, "mkdir", async (at: string, options: { mode: number }) => {
    if (path.basename(at) === "deep") {
      await fs.rename(cache, `${cache}.was`);
      await fs.symlink(victim, cache);
    }
    return await mkdir(at, options);
  });
  await writableTargets(folders, ["cache/deep"]);
  assert.deepEqual(await fs.readdir(victim), []);
  assert.deepEqual(await fs.readdir(`${cache}.was`), ["deep"]);
});
