import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { openCapabilities } from "./capabilities.ts";
import type { Caller } from "./registry.ts";

const CALLER: Caller = { app: "shop", env: "prod", release: "a".repeat(32) as ReleaseId, uses: ["chat.say"] };

function stateDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-"));
  atEnd(t, () => {
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

test("a capability stands for all that its caller may look up", async (t) => {
  const capabilities = await openCapabilities(stateDir(t));
  const alone = { ...CALLER, uses: [] };
  const [asking, without] = [capabilities.of(CALLER), capabilities.of(alone)];
  assert.notEqual(asking, without);
  assert.deepEqual(capabilities.callerOf(asking), CALLER);
  assert.deepEqual(capabilities.callerOf(without), alone);
});

test("no two callers have the same capability, and nobody has one that was not given", async (t) => {
  const capabilities = await openCapabilities(stateDir(t));
  const release = "b".repeat(32) as ReleaseId;
  const uses = [[], ["a.b"], ["a.b", "c.d"], ["a.b.c"], ["c.d"]];
  const callers: Caller[] = [
    ...uses.map((list) => ({ ...CALLER, uses: list })),
    { ...CALLER, release },
    { ...CALLER, env: "staging" },
    { ...CALLER, app: "chat" },
  ];
  const given = callers.map((caller) => capabilities.of(caller));
  assert.equal(new Set(given).size, callers.length);
  assert.equal(capabilities.callerOf("0".repeat(32)), undefined);
});

test("after a restart the same caller has the same capability, known once it is asked for", async (t) => {
  const dir = stateDir(t);
  const given = (await openCapabilities(dir)).of(CALLER);
  const again = await openCapabilities(dir);
  assert.equal(again.callerOf(given), undefined);
  assert.equal(again.of(CALLER), given);
  assert.deepEqual(again.callerOf(given), CALLER);
});
