import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { GitObjects } from "./git-objects.ts";

const run = promisify(execFile);
const { signal } = new AbortController();

async function repoWith(
  stack: AsyncDisposableStack,
  contents: readonly string[],
): Promise<[string, string[]]> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-"));
  stack.defer(() => fs.rm(dir, { recursive: true, force: true }));
  await run("git", ["init", "--quiet", "--bare", dir]);
  const ids: string[] = [];
  for (const content of contents) {
    await fs.writeFile(path.join(dir, "content"), content);
    const { stdout } = await run("git", ["-C", dir, "hash-object", "-w", "content"]);
    ids.push(stdout.trim());
  }
  return [dir, ids];
}

test("one git answers one read after the other", async () => {
  await using stack = new AsyncDisposableStack();
  const [dir, ids] = await repoWith(stack, ["one", "", "three\n"]);
  using objects = new GitObjects(dir);
  for (const asked of [ids.slice(0, 1), ids.slice(1), ids]) {
    const found = await objects.readWhole(asked, signal);
    assert.deepEqual(
      found.map(({ id }) => id),
      asked,
    );
  }
  const [last] = await objects.readWhole(ids.slice(2), signal);
  assert.equal(last?.bytes.toString(), "three\n");
});

test("many large objects come whole through the pipe (long)", async () => {
  await using stack = new AsyncDisposableStack();
  const [dir, ids] = await repoWith(stack, ["x".repeat(3_000_000), "y".repeat(10)]);
  using objects = new GitObjects(dir);
  const asked = Array.from({ length: 20_000 }, () => ids[1] ?? "").concat(ids);
  const found = await objects.readWhole(asked, signal);
  assert.equal(found.length, asked.length);
  assert.equal(found.at(-2)?.bytes.length, 3_000_000);
});

const DRIP = `import os, time
while byte := os.read(0, 1): os.write(1, byte), time.sleep(0.001)`;

/** Until the test ends, what git says comes a byte at a time. */
async function dripping(t: TestContext, dir: string): Promise<void> {
  const before = process.env["PATH"];
  const { stdout } = await run("which", ["git"]);
  const wrapper = path.join(dir, "bin", "git");
  await fs.mkdir(path.dirname(wrapper));
  await fs.writeFile(wrapper, `#!/bin/sh\n'${stdout.trim()}' "$@" | python3 -c '${DRIP}'\n`, { mode: 0o755 });
  process.env["PATH"] = `${path.dirname(wrapper)}:${before}`;
  t.after(() => {
    process.env["PATH"] = before;
  });
}

test("objects whose every byte comes by itself are whole, and a read of none asks nothing", async (t) => {
  await using stack = new AsyncDisposableStack();
  const [dir, ids] = await repoWith(stack, ["one", "", "three\n"]);
  await dripping(t, dir);
  using objects = new GitObjects(dir);
  assert.deepEqual(await objects.readWhole([], signal), []);
  for (const asked of [ids, ids]) {
    const found = await objects.readWhole(asked, signal);
    assert.deepEqual(
      found.map(({ bytes }) => bytes.toString()),
      ["one", "", "three\n"],
    );
  }
});

test("an object that is not there is named", async () => {
  await using stack = new AsyncDisposableStack();
  const [dir] = await repoWith(stack, []);
  using objects = new GitObjects(dir);
  await assert.rejects(objects.readWhole(["0".repeat(40)], signal), { code: "COMMIT_NOT_FOUND" });
});

test("a repository that names its objects by SHA-256 is refused for that", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-"));
  t.after(async () => await fs.rm(dir, { recursive: true }));
  await run("git", ["init", "--quiet", "--object-format=sha256", dir]);
  await fs.writeFile(path.join(dir, "file"), "one");
  const { stdout } = await run("git", ["-C", dir, "hash-object", "-w", "file"]);
  using objects = new GitObjects(dir);
  const refused = { code: "GIT_FAILED", message: /SHA-256/, hint: /--from \./ };
  await assert.rejects(objects.readWhole([stdout.trim()], signal), refused);
});

test("a folder that is no repository is git's failure", async () => {
  using objects = new GitObjects(path.join(os.tmpdir(), "skein-none-at-all"));
  await assert.rejects(objects.readWhole(["0".repeat(40)], signal), { code: "GIT_FAILED" });
});
