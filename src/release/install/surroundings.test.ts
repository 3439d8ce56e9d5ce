import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { Installed } from "./install.ts";
import { makeWorld, noise, releaseId, type Tree } from "../release.fixture.ts";
import { verifyInstall } from "./verify-install.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const SCRIPT = childProgram(import.meta.dirname, "../release-run.child.ts");
const NOBODY = 65_534;
const AS_NOBODY = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
const isRoot = process.getuid?.() === 0;
/** Root cannot see what a user may not do: there the work is handed to one without rights. */
const asUser = isRoot ? AS_NOBODY : [];

function canRun(command: readonly string[], ...more: readonly string[]): boolean {
  const [file = process.execPath, ...args] = [...command, ...more];
  return spawnSync(file, args, { stdio: "ignore" }).status === 0;
}

const OLD: Tree = { "bin/start": "x:one", "lib/same.js": "same", "lib/other.js": "old", empty: "" };
const NEW: Tree = { ...OLD, "lib/other.js": "new" };

const canBeUser = canRun(
  asUser,
  process.execPath,
  "-e",
  `require("node:fs").readFileSync(${JSON.stringify(SCRIPT)})`,
);

test(
  "a user without rights installs, shares, cannot write into, and removes a release (long)",
  { skip: !canBeUser },
  async (t) => {
    const world = makeWorld(t);
    const first = await world.publish(OLD);
    const second = await world.publish(NEW, { previous: first });
    fs.mkdirSync(world.revs);
    if (isRoot) for (const dir of [world.dir, world.revs]) fs.chownSync(dir, NOBODY, NOBODY);
    if (isRoot) execFileSync("chown", ["-R", `${NOBODY}`, path.join(world.dir, "depot")]);
    const asThem = (...args: string[]): string => {
      const [file = "", ...rest] = [...asUser, process.execPath, ...args];
      return execFileSync(file, rest, { encoding: "utf8" });
    };
    const run = (step: string, n: number, tree: unknown): Installed =>
      JSON.parse(
        asThem(SCRIPT, step, path.join(world.dir, "depot"), world.revs, `${n}`, JSON.stringify(tree)),
      ) as Installed;
    assert.equal(run("install", 1, first).files, 4);
    const { dir, linked } = run("install", 2, second);
    assert.equal(linked, 2);
    for (const at of ["", "bin", "lib"])
      assert.equal(fs.statSync(path.join(dir, at)).mode & 0o777, 0o555, at);
    const write = `try { require("node:fs").writeFileSync(process.argv[1], ""); } catch (err) { console.log(err.code); }`;
    for (const at of ["lib/added.js", "lib/same.js", "added"])
      assert.equal(asThem("-e", write, path.join(dir, at)).trim(), "EACCES", at);
    assert.deepEqual(await verifyInstall(world.revs, releaseId(2), second.tree, t.signal), []);
    run("remove", 1, null);
    assert.deepEqual(fs.readdirSync(world.revs).sort(), [releaseId(2), ".install"].sort());
    assert.deepEqual(fs.readdirSync(path.join(world.revs, ".install")), [`${releaseId(2)}.record`]);
    assert.equal(fs.readFileSync(path.join(dir, "lib/same.js"), "utf8"), "same");
  },
);

test(
  "a disk that fills up in the middle is said, leaves nothing, and the next try succeeds",
  { skip: !canRun(["unshare", "-m", "true"]) },
  async (t) => {
    const world = makeWorld(t);
    const published = await world.publish({ "big.bin": noise(6_000_000), "one.txt": "one" });
    fs.mkdirSync(world.revs);
    const args = [
      SCRIPT,
      "install-on-filling",
      path.join(world.dir, "depot"),
      world.revs,
      "1",
      JSON.stringify(published),
    ];
    const words = [process.execPath, ...args].map((word) => `'${word}'`).join(" ");
    const command = `mount -t tmpfs -o size=16m tmpfs '${world.revs}' && ${words}`;
    const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", command], { encoding: "utf8" });
    const { first, left, second } = JSON.parse(stdout) as {
      first: { error: { code: string } };
      left: string[];
      second: Installed;
    };
    assert.equal(first.error.code, "DISK_FULL", stdout + stderr);
    assert.deepEqual(left, []);
    assert.equal(second.files, 2);
    assert.equal(second.resumed, 0);
  },
);
