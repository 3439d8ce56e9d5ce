/** What nobody can remove or change (an immutable file, say) is told once, makes way, and holds up nothing else. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { listInstalls, spareDir, spareStage, stagingDir } from "../record/install-record.ts";
import { mendInstall } from "./mend.ts";
import { makeWorld, noise, readTree, releaseId, type Tree, type World } from "../release.fixture.ts";
import { listLeft, removeInstall } from "./remove-install.ts";
import { dropSpares, makeSpare } from "./spare.ts";
import { stick, sticking, unstick } from "./stuck.fixture.ts";
import { verifyInstall } from "./verify-install.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const OLD: Tree = {
  "a/one.txt": "one",
  "a/same.txt": "same",
  "b/c/gone.txt": "gone",
  empty: "",
  "big.bin": noise(300_000, 4),
};
const NEW: Tree = {
  "a/one.txt": "ONE",
  "a/same.txt": "same",
  "b/new.txt": "new",
  "big.bin": OLD["big.bin"]!,
};
const SCRIPT = childProgram(import.meta.dirname, "../release-run.child.ts");

async function begun(t: TestContext) {
  const world = makeWorld(t);
  const first = await world.publish(OLD);
  const second = await world.publish(NEW, { previous: first, now: 1_800_000_000_000 });
  await world.install(1, first);
  const told: string[] = [];
  const onStuck = ({ message }: Error): void => void told.push(message.replace(world.revs, ""));
  const spare = async (n: number): Promise<boolean> =>
    await makeSpare({ revs: world.revs, release: releaseId(n), leastFiles: 0, signal: t.signal, onStuck });
  return { world, first, second, told, onStuck, spare };
}

const inRelease = (world: World, n: number, at: string): string => path.join(world.revs, releaseId(n), at);
const inSpare = (world: World, at: string): string => path.join(spareDir(world.revs, releaseId(1)), at);

for (const [what, flag, at, named] of [
  ["a file that is another in the next release is immutable", "i", "a/one.txt", "/a/one.txt"],
  ["a file that the next release does not have is immutable", "i", "b/c/gone.txt", "/b/c/gone.txt"],
  ["a folder that the next release does not have is immutable", "i", "b/c", "/b/c/gone.txt"],
  ["a folder that something goes from is append-only", "a", "b", "/b/c"],
  ["its uppermost folder is immutable", "i", "", ""],
] as const) {
  test(`an install goes on without a spare in which ${what}`, sticking, async (t) => {
    const { world, first, second, told, onStuck, spare } = await begun(t);
    await spare(1);
    stick(t, flag, inSpare(world, at), world.dir);
    const { dir } = await world.install(2, second, { onStuck });
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(readTree(dir), { a: null, b: null, ...NEW });
    assert.equal(told.length, 1, told.join("\n"));
    assert.ok(told[0]?.includes(`${named} cannot be removed: EPERM`), told.join());
    await spare(2);
    await world.install(3, first, { onStuck });
    assert.deepEqual(await verifyInstall(world.revs, releaseId(3), first.tree, t.signal), []);
    assert.equal(await spare(3), true);
    assert.equal(told.length, 1, told.join("\n"));
  });
}

test(
  "an install that was cut after it took a spare uses it although a file in it is immutable",
  sticking,
  async (t) => {
    const { world, second, told, onStuck, spare } = await begun(t);
    await spare(1);
    stick(t, "i", inRelease(world, 1, "a/same.txt"), world.dir);
    const inode = fs.lstatSync(spareDir(world.revs, releaseId(1))).ino;
    const args = ["install", path.join(world.dir, "depot"), world.revs, "2", JSON.stringify(second)];
    const env = { ...process.env, SKEIN_FAULT: "install.spare-taken" };
    assert.equal(spawnSync(process.execPath, [SCRIPT, ...args], { env }).signal, "SIGKILL");
    const { dir } = await world.install(2, second, { onStuck });
    assert.equal(fs.lstatSync(dir).ino, inode);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    assert.deepEqual(told, []);
  },
);

for (const full of [false, true]) {
  test(
    `a staging directory in which a file is immutable makes way${full ? " for a full copy" : ""}`,
    sticking,
    async (t) => {
      const { world, second, told, onStuck } = await begun(t);
      const stage = stagingDir(world.revs, releaseId(2));
      fs.mkdirSync(path.join(stage, "a"), { recursive: true });
      fs.writeFileSync(path.join(stage, "a/one.txt"), "two");
      stick(t, "i", path.join(stage, "a/one.txt"), world.dir);
      await world.install(2, second, { onStuck, full });
      assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
      assert.equal(told.length, 1, told.join("\n"));
      assert.match(told[0] ?? "", /\/a\/one\.txt cannot be removed: EPERM$/);
    },
  );
}

test(
  "what stays of a release that goes is no install, in nobody's way, and goes when it can",
  sticking,
  async (t) => {
    const { world, first, second } = await begun(t);
    await world.install(2, second);
    const file = inRelease(world, 1, "a/one.txt");
    stick(t, "i", file, world.dir);
    const gone = removeInstall(world.revs, releaseId(1));
    await assert.rejects(gone, { code: "IO", message: /\/a\/one\.txt cannot be removed: EPERM$/ });
    assert.deepEqual(await listInstalls(world.revs), [releaseId(2)]);
    assert.deepEqual(await listLeft(world.revs), [releaseId(1)]);
    const installs = path.join(world.revs, ".install");
    const [aside = "", ...others] = fs.readdirSync(installs).filter((name) => name.includes("aside"));
    assert.deepEqual(others, []);
    assert.deepEqual(readTree(path.join(installs, aside)), { a: null, "a/one.txt": "one" }, "all else went");
    const { dir } = await world.install(1, first);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(1), first.tree, t.signal), []);
    assert.equal(fs.existsSync(dir), true);
    unstick(path.join(installs, aside, "a/one.txt"));
    await removeInstall(world.revs, releaseId(1));
    assert.deepEqual(fs.readdirSync(installs), [`${releaseId(2)}.record`]);
  },
);

test("a release whose uppermost folder is immutable stays an install", sticking, async (t) => {
  const { world, first, second } = await begun(t);
  await world.install(2, second);
  const dir = path.join(world.revs, releaseId(1));
  stick(t, "i", dir, world.dir);
  const heir = { revs: world.revs, release: releaseId(2), leastFiles: 0 };
  await assert.rejects(removeInstall(world.revs, releaseId(1), heir), {
    code: "IO",
    data: { path: dir, errno: "EPERM" },
  });
  assert.deepEqual(await verifyInstall(world.revs, releaseId(1), first.tree, t.signal), []);
  assert.equal((await world.install(1, first)).already, true);
});

for (const [what, at, named] of [
  ["file", "b/c/gone.txt", "b/c/gone.txt"],
  ["folder", "b/c", "b/c/gone.txt"],
] as const) {
  test(
    `a spare is made anew where one cannot be made of a release that goes: of an immutable ${what}`,
    sticking,
    async (t) => {
      const { world, second, told, spare } = await begun(t);
      await world.install(2, second);
      stick(t, "i", inRelease(world, 1, at), world.dir);
      await removeInstall(world.revs, releaseId(1), {
        revs: world.revs,
        release: releaseId(2),
        leastFiles: 0,
      });
      assert.ok(fs.existsSync(spareStage(world.revs, releaseId(2))));
      assert.equal(await spare(2), true);
      assert.deepEqual(readTree(spareDir(world.revs, releaseId(2))), { a: null, b: null, ...NEW });
      assert.equal(told.length, 1, told.join("\n"));
      assert.ok(told[0]?.includes(`${named} cannot be removed: EPERM`), told.join());
    },
  );
}

test("spares that cannot be removed are dropped as far as they can, and once", sticking, async (t) => {
  const { world, told, onStuck, spare } = await begun(t);
  await spare(1);
  stick(t, "i", inSpare(world, "a/one.txt"), world.dir);
  assert.equal(dropSpares(world.revs, onStuck), 1);
  assert.equal(dropSpares(world.revs, onStuck), 0);
  await spare(1);
  stick(t, "i", inSpare(world, ""), world.dir);
  assert.equal(dropSpares(world.revs, onStuck), 0, "nobody goes on as if there were room now");
  assert.equal(dropSpares(world.revs, onStuck), 0);
  assert.equal(told.length, 2, told.join("\n"));
});

for (const full of [false, true]) {
  test(
    `a repair${full ? " by a full copy" : ""} names the file that it cannot replace, and leaves nothing`,
    sticking,
    async (t) => {
      const { world, first, second } = await begun(t);
      await world.install(2, second);
      // One file of both releases.
      const file = inRelease(world, 1, "a/same.txt");
      if (!full) {
        fs.chmodSync(file, 0o644);
        fs.writeFileSync(file, "SAME");
      }
      stick(t, "i", file, world.dir);
      const before = [1, 2].map((n) => Object.keys(readTree(inRelease(world, n, ""))));
      const mending = mendInstall({
        release: releaseId(1),
        tree: first,
        depots: [world.depot],
        revs: world.revs,
        full,
        signal: t.signal,
      });
      await assert.rejects(mending, { code: "IO", message: /\/a\/same\.txt: EPERM$/ });
      assert.deepEqual(
        [1, 2].map((n) => Object.keys(readTree(inRelease(world, n, "")))),
        before,
      );
    },
  );
}

const asRoot = { skip: process.getuid?.() !== 0 && "needs root" };

test("who is not root removes all but what is in another's folder, and says where", asRoot, async (t) => {
  const { world, second, first } = await begun(t);
  await world.install(2, second);
  const cached = inRelease(world, 1, "b/cached");
  fs.mkdirSync(cached, { mode: 0o755 });
  fs.writeFileSync(path.join(cached, "file"), "");
  spawnSync("chown", ["-R", "12345:12345", world.dir]);
  spawnSync("chown", ["-R", "0:0", cached]);
  const run = (step: string, tree: unknown = null): string => {
    const args = [SCRIPT, step, path.join(world.dir, "depot"), world.revs, "1", JSON.stringify(tree)];
    const env = { ...process.env, RUN_AS: "12345" };
    const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
    return stdout + stderr;
  };
  assert.match(run("remove"), /b\/cached\/file cannot be removed: EACCES/);
  assert.deepEqual(await listInstalls(world.revs), [releaseId(2)]);
  const aside =
    fs.readdirSync(path.join(world.revs, ".install")).find((name) => name.includes("aside")) ?? "";
  const left = readTree(path.join(world.revs, ".install", aside));
  assert.deepEqual(left, { b: null, "b/cached": null, "b/cached/file": "" });
  assert.match(run("install", first), /"already":false/);
  spawnSync("chown", [
    "-R",
    "12345:12345",
    cached.replace(inRelease(world, 1, ""), path.join(world.revs, ".install", aside, "/")),
  ]);
  assert.equal(run("remove"), "{}");
  assert.deepEqual(fs.readdirSync(path.join(world.revs, ".install")), [`${releaseId(2)}.record`]);
});
