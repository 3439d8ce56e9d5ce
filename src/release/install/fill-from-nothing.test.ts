/** Folders that a second thread makes, or does not. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { tempDir } from "../release.fixture.ts";
import { fillFromNothing } from "./fill-from-nothing.ts";
import { Placer } from "./placer.ts";
import { PlacingThread } from "./placing-thread.ts";

const NAMES = ["a", "a/b", "a/b/c", "d"];

function begun(t: TestContext) {
  const stage = tempDir(t);
  const thread = new PlacingThread(new Placer(new Float64Array(0)));
  atEnd(t, async () => await thread[Symbol.asyncDispose]());
  const folders = [stage, ...NAMES.map((name) => path.join(stage, name))];
  const made = (): string[] =>
    (fs.readdirSync(stage, { recursive: true }) as string[])
      .filter((name) => (fs.statSync(path.join(stage, name)).mode & 0o7777) === 0o755)
      .sort();
  return { thread, made, plan: { stage, folders, files: [] } };
}

test("the second thread makes the folders", async (t) => {
  const { plan, thread, made } = begun(t);
  await fillFromNothing(plan, thread).folders;
  assert.equal(thread.hasEnded, false);
  assert.deepEqual(made(), NAMES);
});

for (const there of [0, 2, NAMES.length]) {
  test(`where it ends when ${there} folders are there, this one makes them`, async (t) => {
    const { plan, thread, made } = begun(t);
    for (const name of NAMES.slice(0, there)) fs.mkdirSync(path.join(plan.stage, name), 0o700);
    const { folders } = fillFromNothing(plan, thread);
    await thread[Symbol.asyncDispose]();
    await folders;
    assert.equal(thread.hasEnded, true);
    assert.deepEqual(made(), NAMES);
  });
}

test("a name that the disk takes for another one's is told, by whichever thread", async (t) => {
  for (const ends of [false, true]) {
    const { plan, thread } = begun(t);
    const twice = { ...plan, folders: [...plan.folders, plan.folders[1] ?? ""] };
    const { folders } = fillFromNothing(twice, thread);
    if (ends) await thread[Symbol.asyncDispose]();
    await assert.rejects(async () => await folders, { code: "EEXIST", path: plan.folders[1] });
  }
});
