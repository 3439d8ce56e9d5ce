import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { LAUNCHER } from "../lib/process/launcher.fixture.ts";

function skein(t: TestContext, said: Readonly<Record<string, string>>, ...words: readonly string[]) {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-said-"));
  atEnd(t, () => rmSync(dir, { recursive: true, force: true }));
  const { PATH, XDG_CACHE_HOME } = process.env;
  const env = { PATH, XDG_CACHE_HOME, HOME: dir, ...said };
  return spawnSync(LAUNCHER, words, { cwd: dir, env, encoding: "utf8" });
}

interface Said {
  readonly type: string;
  readonly exit: number;
  readonly error: { readonly code: string; readonly message: string };
}

/** The same on a terminal. */
function onTerminal(t: TestContext, line: string): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-said-"));
  atEnd(t, () => rmSync(dir, { recursive: true, force: true }));
  const env = { PATH: process.env["PATH"], HOME: dir, SKEIN_HOME: dir, TERM: "xterm" };
  const words = ["-qc", `'${LAUNCHER}' ${line}`, "/dev/null"];
  return spawnSync("script", words, { cwd: dir, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
    .stdout;
}

const resultOf = (stdout: string): Said => JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Said;

test("variables mirror the flags; what is empty, or says no, is not said", (t) => {
  const yes = skein(t, { SKEIN_JSON: "1" }, "status");
  assert.deepEqual([yes.status, yes.stderr, resultOf(yes.stdout).exit], [7, "", 7]);
  const said = {
    SKEIN_JSON: "0",
    SKEIN_APP: "",
    SKEIN_QUIET: "no",
    SKEIN_DRY_RUN: "false",
    SKEIN_ENV: "A B",
  };
  const no = skein(t, said, "sync");
  assert.deepEqual([no.status, no.stdout], [2, ""]);
  assert.match(no.stderr, /^error 'A B' is no environment's name/);
});

test("in --json a verb that is missing is a result as every failure is", (t) => {
  for (const words of [["--json"], ["node", "--json"], ["--json", "cache"]]) {
    const { status, stdout } = skein(t, {}, ...words);
    const { type, exit, error } = resultOf(stdout);
    assert.deepEqual([status, type, exit, error.code], [2, "result", 2, "USAGE"]);
    assert.match(error.message, /^which command of skein/);
  }
});

test("an error is told in colour on a terminal that is to have any, and with where it comes from when asked (long)", (t) => {
  const all = onTerminal(t, "status --verbose");
  assert.ok(all.startsWith("\x1b[31merror\x1b[39m this machine operates no cluster"), all);
  assert.match(all, /^SkeinError: .*\r\n {4}at /m);
  const misread = skein(t, { SKEIN_VERBOSE: "1" }, "frobnicate");
  assert.match(misread.stderr, /^error unknown command 'frobnicate'\n[^]*^SkeinError: /m);
  assert.ok(
    !onTerminal(t, "frobnicate --no-color").includes("\x1b"),
    "also where nothing else is understood",
  );
  const plain = onTerminal(t, "--no-color status");
  assert.match(plain, /^error .* operates no cluster/);
  assert.doesNotMatch(plain, /^ +at /m);
  assert.ok(!plain.includes("\x1b"), plain);
});
