import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Manifest } from "../../app/manifest.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { appLog } from "./app-log.ts";
import { processGroups } from "./groups.ts";
import { printedHealth, runHook, runVerify, type HookPlace, type HookTools } from "./hooks.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const BARE: Pick<Manifest, "hooks" | "env" | "verify"> = { hooks: {}, env: {}, verify: null };

async function bench(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  manifest: Partial<Manifest> = {},
) {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "skein-hooks-"));
  atEnd(t, async () => fs.rm(home, { recursive: true, force: true }));
  const dir = path.join(home, "apps/shop/revs/r1");
  await fs.mkdir(dir, { recursive: true });
  await fs.mkdir(path.join(home, "data"));
  for (const [name, text] of Object.entries(files)) {
    await fs.mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    const mode = text.startsWith("#!") ? 0o755 : 0o644;
    await fs.writeFile(path.join(dir, name), text, { mode });
  }
  const place: HookPlace = {
    app: "shop",
    env: "prod",
    release: "3f9c2ab13f9c2ab13f9c2ab13f9c2ab1",
    commit: null,
    previous: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    node: "web1",
    root: path.join(home, "apps"),
    package: "shop",
    dir,
    data: path.join(home, "data"),
    user: undefined,
    manifest: { ...BARE, ...manifest } as Manifest,
  };
  const tools: HookTools = {
    clock: systemClock,
    signal: t.signal,
    log: appLog(path.join(home, "log"), "shop"),
    groups: processGroups(path.join(home, "groups")),
  };
  const logged = async (): Promise<string> => fs.readFile(path.join(home, "log/shop/hooks.log"), "utf8");
  return { home, place, tools, logged };
}

test("a hook found by its file name runs in its revision with FTL's and Skein's names", async (t) => {
  const { place, tools, home } = await bench(t, {
    "pre-jump.sh": `#!/bin/sh\nenv | sort > "$SKEIN_DATA/env"; pwd > "$SKEIN_DATA/pwd"\n`,
  });
  assert.equal(await runHook("pre-jump", place, tools), true);
  const env = await fs.readFile(path.join(home, "data/env"), "utf8");
  for (const line of [
    "FTL_PACKAGE=shop",
    `FTL_REVISION=${place.release}`,
    `FTL_PREVIOUS=${place.previous}`,
    `FTL_ROOT=${place.root}`,
    "SKEIN_APP=shop",
    "SKEIN_NODE=web1",
    "SKEIN_HOOK=pre-jump",
    `HOME=${place.data}`,
  ]) {
    assert.ok(env.split("\n").includes(line), `${line} in\n${env}`);
  }
  assert.ok(!env.includes("npm_"), "nothing of the agent's own environment");
  assert.equal((await fs.readFile(path.join(home, "data/pwd"), "utf8")).trim(), place.dir);
});

test("a hook does not fail for its log, which tells what it lost when there is room again", async (t) => {
  const { place, tools, home, logged } = await bench(t, {
    "pre-jump.sh": "#!/bin/sh\necho one; echo two\n",
    "post-jump.sh": "#!/bin/sh\necho three\n",
  });
  const file = path.join(home, "log/shop/hooks.log");
  await fs.mkdir(path.dirname(file), { recursive: true });
  await fs.symlink("/dev/full", file);
  assert.equal(await runHook("pre-jump", place, tools), true);
  await fs.rm(file);
  assert.equal(await runHook("post-jump", place, tools), true);
  assert.match(
    await logged(),
    /^\S+ \(lines that could not be written: 3\)\n\S+ shop@\w+ post-jump \| three\n/,
  );
});

test("a log of four mebibytes makes way for a new one", async (t) => {
  const { place, tools, home, logged } = await bench(t, { "pre-jump.sh": "#!/bin/sh\necho new\n" });
  const file = path.join(home, "log/shop/hooks.log");
  await fs.mkdir(path.dirname(file), { recursive: true });
  await fs.writeFile(file, "x".repeat(4 * 2 ** 20));
  assert.equal(await runHook("pre-jump", place, tools), true);
  assert.match(await logged(), /^\S+ shop@\w+ pre-jump \| new\n/);
  assert.equal((await fs.stat(`${file}.1`)).size, 4 * 2 ** 20);
});

test("FTL's last version had its scripts in a folder; the first one's come before them", async (t) => {
  const { place, tools, logged } = await bench(t, {
    "ftl/pre-jump": "#!/bin/sh\necho from the folder\n",
    "ftl/post-spool": "echo spooled\n",
    "ftl/un-jump.sh": "exit 9\n",
    "ftl/post-jump": "echo not this\n",
    "post-jump.sh": "echo at the top\n",
  });
  for (const hook of ["pre-jump", "post-sync", "post-jump"] as const) {
    assert.equal(await runHook(hook, place, tools), true);
  }
  await assert.rejects(runHook("un-jump", place, tools), { code: "HOOK_FAILED" });
  const text = await logged();
  for (const line of ["pre-jump | from the folder", "post-sync | spooled", "post-jump | at the top"])
    assert.ok(text.includes(line), text);
  assert.ok(!text.includes("not this"));
});

test("a script without #! and without x runs as well", async (t) => {
  const { place, tools } = await bench(t, { "post-sync.sh": "exit 7\n" });
  await assert.rejects(runHook("post-sync", place, tools), {
    code: "HOOK_FAILED",
    message: "post-sync: exit status 7",
  });
});

test("the manifest's hook comes before the file of that name", async (t) => {
  const hooks = { post_jump: { sh: "echo manifest; exit 3", withinMs: 5000 } };
  const { place, tools, logged } = await bench(t, { "post-jump.sh": "echo file\n" }, { hooks });
  await assert.rejects(runHook("post-jump", place, tools), { code: "HOOK_FAILED" });
  assert.match(await logged(), /shop@3f9c2ab1 post-jump \| manifest\n/);
});

test("no hook is no failure", async (t) => {
  const { place, tools } = await bench(t, {});
  assert.equal(await runHook("un-jump", place, tools), false);
});

test("what a hook says is prefixed, kept, and comes with its failure", async (t) => {
  const { place, tools, logged } = await bench(t, {
    "pre-jump.sh": "#!/bin/sh\necho out; echo err >&2; printf unended; kill -TERM $$\n",
  });
  await assert.rejects(runHook("pre-jump", place, tools), (err: Error & { data?: { lines?: string[] } }) => {
    assert.deepEqual(new Set(err.data?.lines), new Set(["out", "err", "unended"]));
    return err.message === "pre-jump: ended by SIGTERM";
  });
  assert.match(await logged(), /pre-jump \| \(ended by SIGTERM\)/);
});

test("a hanging hook ends with all it started, within its time", async (t) => {
  const hooks = {
    pre_jump: { sh: "sleep 60 & echo $! > $SKEIN_DATA/pid; echo up; sleep 60", withinMs: 2000 },
  };
  const { place, tools, home } = await bench(t, {}, { hooks });
  await assert.rejects(runHook("pre-jump", place, tools), {
    code: "HOOK_TIMEOUT",
    message: "pre-jump: no end within 2s",
  });
  await gone(Number(await fs.readFile(path.join(home, "data/pid"), "utf8")));
});

test("what a hook left in the background is ended with it", async (t) => {
  const hooks = { post_jump: { sh: "sleep 60 & echo $! > $SKEIN_DATA/pid", withinMs: 5000 } };
  const { place, tools, home } = await bench(t, {}, { hooks });
  assert.equal(await runHook("post-jump", place, tools), true);
  await gone(Number(await fs.readFile(path.join(home, "data/pid"), "utf8")));
});

test("a descendant that left the group but holds the pipe does not hold up the hook", async (t) => {
  const hooks = { post_jump: { sh: "setsid sleep 3 & exit 0", withinMs: 20_000 } };
  const { place, tools } = await bench(t, {}, { hooks });
  assert.equal(await runHook("post-jump", place, tools), true);
});

test("an aborted hook is ended before it rejects", async (t) => {
  const hooks = { pre_jump: { sh: "echo $$ > $SKEIN_DATA/pid; sleep 60", withinMs: 20_000 } };
  const { place, tools, home } = await bench(t, {}, { hooks });
  const abort = new AbortController();
  const run = runHook("pre-jump", place, { ...tools, signal: abort.signal });
  const file = path.join(home, "data/pid");
  const pid = await eventually("its pid", async () => Number(await fs.readFile(file, "utf8")) || undefined);
  abort.abort();
  await assert.rejects(run, { name: "AbortError" });
  await gone(pid);
});

test("a group that a dead agent left behind is found by its mark; a recycled number is left alone", async (t) => {
  const { tools, home } = await bench(t, {});
  const { spawn } = await import("node:child_process");
  const left = await tools.groups.open("shop-pre-jump");
  const child = spawn("sleep", ["60"], { detached: true, env: { ...left.mark }, stdio: "ignore" });
  const other = spawn("sleep", ["60"], { detached: true, env: {}, stdio: "ignore" });
  atEnd(t, () => {
    child.kill("SIGKILL");
    other.kill("SIGKILL");
  });
  assert.ok(child.pid !== undefined && other.pid !== undefined);
  left.started(child.pid);
  await fs.writeFile(path.join(home, "groups/shop-old.0011.pgid"), String(other.pid));
  assert.equal(await tools.groups.sweep(), 1);
  await gone(child.pid);
  assert.ok(process.kill(other.pid, 0));
  assert.deepEqual(await fs.readdir(path.join(home, "groups")), []);
});

test("verification gets the version as its last argument and the judged address", async (t) => {
  const verify = { run: { argv: ["sh", "check.sh"] }, withinMs: 5000, threshold: null };
  const { place, tools } = await bench(
    t,
    { "check.sh": `[ "$1" = v42 ] && [ "$SKEIN_ADDRESS_HTTP" = 127.0.0.1:9 ] || exit 9` },
    { verify },
  );
  await runVerify(place, "v42", { SKEIN_ADDRESS_HTTP: "127.0.0.1:9" }, tools);
  await assert.rejects(runVerify(place, "v43", {}, tools), { code: "VERIFY_FAILED" });
});

for (const [printed, threshold, good] of [
  ["0.98", 0.95, true],
  ["0.90", 0.95, false],
  ["0.10", null, true],
] as const) {
  test(`health ${printed} against threshold ${threshold}: ${good ? "passes" : "fails"}`, async (t) => {
    const run = { sh: `echo talk; echo '{"health": ${printed}}'` };
    const { place, tools } = await bench(t, {}, { verify: { run, withinMs: 5000, threshold } });
    const verified = runVerify(place, "v", {}, tools);
    await (good ? verified : assert.rejects(verified, { code: "VERIFY_FAILED", message: /below 0.95/ }));
  });
}

test("health is read from the last line that has it", () => {
  assert.equal(printedHealth(['{"health": 0.1}', '{"health": 0.5}', "{}", "done"]), 0.5);
  assert.equal(printedHealth(["0.5", "null", "[]"]), undefined);
});

/** Waits until a process is gone or only a zombie that somebody else must reap. */
async function gone(pid: number): Promise<void> {
  await eventually(`the end of ${pid}`, async () => {
    try {
      const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8");
      return /\) Z /.test(stat);
    } catch (err) {
      return errnoOf(err) === "ENOENT" || errnoOf(err) === "ESRCH";
    }
  });
}
