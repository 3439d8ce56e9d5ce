import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import path from "node:path";
import test from "node:test";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const TERMINAL = path.join(import.meta.dirname, "terminal.fixture.py");
const CHILD = childProgram(import.meta.dirname, "context.child.ts");

/** @param flags `detach`: an order is on its way when the command is cut short, and arrives */
function cutShort(
  flags: { readonly timeout?: string; readonly detach?: boolean },
  ...signal: readonly ("SIGINT" | "SIGHUP" | "skein hub" | "50")[]
): string {
  const words = [CHILD, JSON.stringify({ ...flags, json: true }), ...signal];
  const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
  const { exit, error } = JSON.parse(stdout) as { exit: number; error: Record<string, string> };
  return `${exit} ${error["code"]} ${error["message"]}: ${error["hint"]}`;
}

test("who ends a command early is told what has become of it by then", () => {
  assert.equal(cutShort({}, "SIGINT"), "130 INTERRUPTED interrupted: Nothing is half-done; run it again.");
  assert.equal(cutShort({ detach: true }, "SIGINT"), "130 INTERRUPTED interrupted: Look there.");
  assert.equal(
    cutShort({ timeout: "5ms", detach: true }),
    "8 TIMEOUT not done within 5ms; what was started goes on: Look there.",
  );
  assert.match(cutShort({ timeout: "5ms" }), /^8 TIMEOUT not done within 5ms: Nothing is half-done/);
});

test("the time that commands are given ends no server", () => {
  assert.match(cutShort({ timeout: "5ms" }, "SIGINT", "skein hub", "50"), /^130 INTERRUPTED/);
});

test("a terminal that is closed ends a command as Ctrl-C does; away from one a hangup ends nothing (long)", () => {
  assert.match(cutShort({ timeout: "50ms" }, "SIGHUP"), /^8 TIMEOUT /);
  const child = [process.execPath, CHILD, JSON.stringify({ detach: true }), "ask"];
  const { status, stdout } = spawnSync("python3", [TERMINAL, `SIG${constants.signals.SIGHUP}`, ...child], {
    encoding: "utf8",
  });
  assert.deepEqual([status, /INTERRUPTED/.test(stdout)], [130, true], stdout);
});
