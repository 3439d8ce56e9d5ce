import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { childProgram } from "../../lib/child.fixture.ts";

const CHILD = childProgram(import.meta.dirname, "context.child.ts");

/** @param flags `detach`: an order is on its way when the command is cut short, and arrives */
function cutShort(flags: { readonly timeout?: string; readonly detach?: boolean }): string {
  const words = [CHILD, JSON.stringify({ ...flags, json: true })];
  const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
  const { exit, error } = JSON.parse(stdout) as { exit: number; error: Record<string, string> };
  return `${exit} ${error["code"]} ${error["message"]}: ${error["hint"]}`;
}

test("who ends a command early is told what has become of it by then", () => {
  assert.equal(cutShort({}), "130 INTERRUPTED interrupted: Nothing is half-done; run it again.");
  assert.equal(cutShort({ detach: true }), "130 INTERRUPTED interrupted: Look there.");
  assert.equal(
    cutShort({ timeout: "5ms", detach: true }),
    "8 TIMEOUT not done within 5ms; what was started goes on: Look there.",
  );
  assert.match(cutShort({ timeout: "5ms" }), /^8 TIMEOUT not done within 5ms: /);
});
