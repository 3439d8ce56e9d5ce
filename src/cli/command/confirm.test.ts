import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import test from "node:test";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const DRIVER = path.join(import.meta.dirname, "terminal.fixture.py");
const CHILD = [process.execPath, childProgram(import.meta.dirname, "confirm.child.ts")];

interface Ended {
  readonly code: number | null;
  readonly seen: string;
}

/** @param keys typed at the question, or SIG15: sent then */
function onTerminal(keys: string, command: readonly string[]): Ended {
  const { status, stdout } = spawnSync("python3", [DRIVER, keys, ...command], { encoding: "utf8" });
  return { code: status, seen: stdout };
}

const withFlags = (flags: object): readonly string[] => [...CHILD, JSON.stringify(flags)];
/** With a part of it elsewhere than on the terminal. */
const redirected = (how: string, flags: object = {}): readonly string[] => [
  "sh",
  "-c",
  `"$@" ${how}`,
  "sh",
  ...withFlags(flags),
];

test("only the name that was typed destroys (long)", () => {
  const yes = onTerminal("web1\n", CHILD);
  assert.deepEqual([yes.code, yes.seen.includes("it is gone")], [0, true], yes.seen);
  for (const keys of ["no\n", "\n", "yes\n", "web1x\n", "\u0004"]) {
    const no = onTerminal(keys, CHILD);
    assert.deepEqual([no.code, /NAME_NOT_GIVEN/.test(no.seen)], [2, true], `${keys}: ${no.seen}`);
    assert.doesNotMatch(no.seen, /it is gone/);
  }
  assert.equal(onTerminal("we\u007fb1\n", CHILD).code, 2, "what was erased was not typed");
});

test("a question ends with Ctrl-C, with SIGTERM and with the time (long)", () => {
  for (const keys of ["\u0003", "web1\u0003", "SIG15"]) {
    const ended = onTerminal(keys, CHILD);
    assert.deepEqual([ended.code, /INTERRUPTED/.test(ended.seen)], [130, true], `${keys}: ${ended.seen}`);
    assert.doesNotMatch(ended.seen, /it is gone/);
  }
  const late = onTerminal("", withFlags({ timeout: "300ms" }));
  assert.deepEqual([late.code, /TIMEOUT/.test(late.seen)], [8, true], late.seen);
});

test("nobody is asked who cannot see the question or answer it (long)", () => {
  for (const how of ["< /dev/null", "2> /dev/null"]) {
    const { code, seen } = onTerminal("web1\n", redirected(how));
    assert.equal(code, 2, `${how}: ${seen}`);
  }
  const json = onTerminal("web1\n", withFlags({ json: true }));
  assert.deepEqual([json.code, /"code":"NAME_NOT_GIVEN"/.test(json.seen)], [2, true]);
  const yes = spawnSync(CHILD[0] ?? "", [...CHILD.slice(1), '{"yes":true}'], { encoding: "utf8" });
  assert.deepEqual([yes.status, yes.stdout], [0, "it is gone\n"]);
});
