import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { tempDir } from "./source.fixture.ts";

const MODULE = JSON.stringify(path.join(import.meta.dirname, "work-folder.ts"));

/** A process of its own that makes a folder with a read-only one in it, and waits. @returns its end by SIGKILL */
async function holder(t: TestContext, within: string): Promise<() => Promise<void>> {
  const script = `
    const { workFolder } = await import(${MODULE});
    const { dir } = workFolder();
    const { mkdirSync } = await import("node:fs");
    mkdirSync(dir + "/kept", { mode: 0o500 });
    console.log(dir);
    setInterval(() => undefined, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, TMPDIR: within },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  atEnd(t, kill);
  await once(child.stdout, "data");
  return kill;
}

const foldersIn = (within: string): readonly string[] => fs.readdirSync(within).toSorted();

test("what a killed process left goes with the next folder, and what a living one has stays", async (t) => {
  const within = tempDir(t);
  const killed = await holder(t, within);
  const [left = ""] = foldersIn(within);
  await killed();
  assert.deepEqual(foldersIn(within), [left]);

  await holder(t, within);
  const [living = "", ...more] = foldersIn(within);
  assert.notEqual(living, left);
  assert.deepEqual(more, []);

  await holder(t, within);
  assert.ok(foldersIn(within).includes(living));
  assert.equal(foldersIn(within).length, 2);
});
