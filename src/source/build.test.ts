import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { sticking, unstick } from "../release/install/stuck.fixture.ts";
import { build, type BuildOptions } from "./build.ts";
import { tempDir } from "./source.fixture.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

function options(t: TestContext, some: Partial<BuildOptions>): BuildOptions & { readonly lines: string[] } {
  const dir = tempDir(t);
  const lines: string[] = [];
  return {
    dir,
    run: null,
    test: null,
    withinMs: 20_000,
    cacheDir: path.join(dir, "cache"),
    env: {},
    onLine: (line, stage) => lines.push(`${stage}: ${line}`),
    signal: t.signal,
    lines,
    ...some,
  };
}

test("build runs first, then test, in the checkout, and their output streams", async (t) => {
  const o = options(t, { run: "echo made > out; echo building; echo warning >&2", test: "cat out" });
  await build(o);
  assert.deepEqual(o.lines.sort(), ["build: building", "build: warning", "test: made"]);
});

test("of a line without end no more is held than is told, with a mark", async (t) => {
  const o = options(t, { run: "head -c 2000000 /dev/zero | tr '\\0' x; exit 3" });
  await assert.rejects(build(o), (err: { data: { lines: string[] } }) => {
    assert.equal(err.data.lines.join() === `${"x".repeat(4096)}…`, true, "no more and no less");
    return true;
  });
  assert.equal(o.lines.join().length, "build: ".length + 4097);
});

test("the environment is built from nothing, with a home and a cache", async (t) => {
  process.env["SKEIN_TEST_SECRET"] = "s3cret";
  atEnd(t, () => delete process.env["SKEIN_TEST_SECRET"]);
  const o = options(t, { run: 'env; test -d "$HOME"; test -w "$XDG_CACHE_HOME"', env: { EXTRA: "1" } });
  await build(o);
  const names = o.lines.map((line) => line.slice("build: ".length).split("=")[0]);
  assert.ok(names.includes("EXTRA") && names.includes("PATH"));
  assert.ok(!names.includes("SKEIN_TEST_SECRET"));
});

test("trap 10: tools that need a home and a cache folder find both, and may write there", async (t) => {
  const home = "git config --global core.pager cat && git config --global core.pager"; // without HOME: "fatal"
  const o = options(t, { run: `${home}; mkdir "$XDG_CACHE_HOME/go-build" && echo kept` });
  await build(o);
  assert.deepEqual(o.lines, ["build: cat", "build: kept"]);
});

const SCRIPT = childProgram(import.meta.dirname, "build-run.child.ts");
const NOBODY = 65_534;
/** Root cannot see what a user may not do: there the work is handed to one without rights. */
const asUser =
  process.getuid?.() === 0 ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [];

function canRun(...args: readonly string[]): boolean {
  const [file = "", ...rest] = [...asUser, process.execPath, ...args];
  return spawnSync(file, rest, { stdio: "ignore" }).status === 0;
}

const read = `require("node:fs").readFileSync(${JSON.stringify(SCRIPT)})`;
const asAny = { skip: !canRun("-e", read) && "a user without rights cannot read the tests here" };

/** Runs a build as a user. @returns what it printed */
function buildAsUser(dir: string, run: string): string {
  if (asUser.length > 0) fs.chownSync(dir, NOBODY, NOBODY);
  const [file, ...args] = [...asUser, process.execPath, SCRIPT, dir, run];
  return execFileSync(file, args, { encoding: "utf8", env: { ...process.env, TMPDIR: dir } });
}

test("folders that a build leaves read-only, as Go's modules are, go with its home", asAny, (t) => {
  const dir = tempDir(t);
  const modules = 'mkdir -p "$HOME/go/mod" && touch "$HOME/go/mod/file" && chmod -R a-w "$HOME/go"';
  assert.equal(buildAsUser(dir, modules), "");
  assert.deepEqual(fs.readdirSync(dir), ["cache"]);
});

test("what a build leaves and nobody can remove is told of, and fails no build", sticking, async (t) => {
  const o = options(t, { run: 'touch "$HOME/stuck" && chattr +i "$HOME/stuck" && echo "$HOME"' });
  await build(o);
  const [home = "", told = "", ...more] = o.lines.map((line) => line.slice("build: ".length));
  unstick(path.join(home, "stuck"));
  const held = path.dirname(home);
  fs.rmSync(held, { recursive: true });
  assert.equal(told, `${held} is left behind: ${home}/stuck cannot be removed: EPERM`);
  assert.deepEqual(more, []);
});

test("a failing build stops there, with its last lines", async (t) => {
  const o = options(t, { run: "seq 1 50; exit 3", test: "touch tested" });
  await assert.rejects(
    build(o),
    (err: Error & { code?: string; data?: { lines?: string[]; stage?: string } }) => {
      assert.equal(err.code, "BUILD_FAILED");
      assert.match(err.message, /ended with 3/);
      assert.deepEqual(
        [err.data?.stage, err.data?.lines?.length, err.data?.lines?.at(-1)],
        ["build", 20, "50"],
      );
      return true;
    },
  );
  assert.equal(fs.existsSync(path.join(o.dir, "tested")), false);
});

test("a program that a build does not find is told of with where it looks", async (t) => {
  const hint = /system's folders alone.*--from/;
  await assert.rejects(build(options(t, { run: "no-such-tool ci" })), { code: "BUILD_FAILED", hint });
  await assert.rejects(build(options(t, { run: "exit 3" })), { hint: "See its last lines above." });
});

test("a failing test is told from a failing build", async (t) => {
  const o = options(t, { run: "true", test: "kill -9 $$" });
  await assert.rejects(build(o), { code: "BUILD_FAILED", message: /the test .* SIGKILL/ });
});

test("a build that takes too long is ended with everything that it started (long)", async (t) => {
  const o = options(t, { run: "sleep 300 & echo $! > pid; wait", withinMs: 2000 });
  await assert.rejects(build(o), { code: "BUILD_FAILED", message: /within 2s/ });
  const pid = Number(fs.readFileSync(path.join(o.dir, "pid"), "utf8"));
  assert.ok(hasEnded(pid));
});

test("what a good build leaves running ends with it", async (t) => {
  const o = options(t, { run: "sleep 300 >/dev/null 2>&1 & echo $! > pid" });
  await build(o);
  const pid = Number(fs.readFileSync(path.join(o.dir, "pid"), "utf8"));
  assert.ok(hasEnded(pid));
});

/** Whoever adopted it may not have taken note of its end yet: then its entry is still there. */
function hasEnded(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
}

test("a signal stops a build", async (t) => {
  const stop = new AbortController();
  const o = options(t, { run: "echo started; sleep 300", signal: stop.signal });
  const ended = build({ ...o, onLine: () => stop.abort(new Error("enough")) });
  await assert.rejects(ended, /enough/);
});
