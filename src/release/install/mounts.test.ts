/** What somebody mounted inside a release or a spare keeps its content, whatever is done to what is around it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { spareDir } from "../record/install-record.ts";
import type { PublishedTree } from "../tree/published.ts";
import { makeWorld, readTree, releaseId } from "../release.fixture.ts";
import { makeSpare } from "./spare.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const TREE = { "a/one.txt": "one", "b c/two.txt": "two" };
/** Without the folder that something is mounted on. */
const LATER = { "a/one.txt": "one!" };
const KEPT = { "upload.txt": "the only copy" };
const SCRIPT = childProgram(import.meta.dirname, "../release-run.child.ts");
const mounting = {
  skip: spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "x", "/mnt"]).status !== 0 && "cannot mount",
};

/** A release with its spare, the next one, and a folder elsewhere on the same disk. */
async function mounted(t: TestContext) {
  const world = makeWorld(t);
  const first = await world.publish(TREE);
  const second = await world.publish(LATER, { previous: first, now: 1_800_000_000_000 });
  await world.install(1, first);
  await makeSpare({ revs: world.revs, release: releaseId(1), leastFiles: 0, signal: t.signal });
  const elsewhere = path.join(world.dir, "elsewhere");
  fs.mkdirSync(elsewhere);
  for (const [name, text] of Object.entries(KEPT)) fs.writeFileSync(path.join(elsewhere, name), text);
  /** Runs one step in a process that sees `elsewhere` in the place of the folder. */
  const run = (at: string, step: string, release: number, tree: PublishedTree | null = null) => {
    const depot = path.join(world.dir, "depot");
    const words = [process.execPath, SCRIPT, step, depot, world.revs, String(release), JSON.stringify(tree)];
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const command = `mount --bind '${elsewhere}' '${path.join(at, "b c")}' && exec ${quoted}`;
    const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", command], { encoding: "utf8" });
    assert.deepEqual(readTree(elsewhere), KEPT, stderr);
    return { stdout, stderr };
  };
  return { world, first, second, run };
}

test("a release in which something is mounted is not removed, and stays an install", mounting, async (t) => {
  const { world, run } = await mounted(t);
  const tree = path.join(world.revs, releaseId(1));
  const before = readTree(tree);
  assert.match(run(tree, "remove", 1).stderr, /MOUNTED/);
  assert.deepEqual(readTree(tree), before);
  assert.ok(fs.existsSync(path.join(world.revs, ".install", `${releaseId(1)}.record`)));
});

test("repair takes nothing away that is mounted", mounting, async (t) => {
  const { world, first, run } = await mounted(t);
  assert.match(run(path.join(world.revs, releaseId(1)), "mend", 1, first).stderr, /MOUNTED/);
});

test("a spare in which something is mounted is done without, and left", mounting, async (t) => {
  const { world, second, run } = await mounted(t);
  const spare = spareDir(world.revs, releaseId(1));
  const { stdout, stderr } = run(spare, "install", 2, second);
  assert.equal((JSON.parse(stdout) as { error?: unknown }).error, undefined, stderr);
  assert.deepEqual(readTree(path.join(world.revs, releaseId(2))), { a: null, ...LATER });
  assert.ok(fs.existsSync(spare));
  run(spare, "spare", 2);
  assert.ok(fs.existsSync(spareDir(world.revs, releaseId(2))), "the next one's is made all the same");
});
