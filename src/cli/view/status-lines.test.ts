import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { AppStatus } from "../../operator/view/views.ts";
import { appLines, statusLines } from "./status-lines.ts";

const id = (letter: string): ReleaseId => letter.repeat(32) as ReleaseId;

const shop: AppStatus = {
  app: "shop",
  env: "default",
  release: id("b"),
  state: "run",
  phase: "ok",
  issued: "2026-01-01T00:00:00Z",
  unsettled: false,
  inForce: id("b"),
  held: true,
  nodes: [],
};

const CASES: readonly [what: string, of: Partial<AppStatus>, says: RegExp | null][] = [
  ["all is well", {}, null],
  ["a rollout under way is not settled yet", { unsettled: true, phase: "baking" }, null],
  ["one that was taken back never will be", { unsettled: true, phase: "undone", inForce: id("a") }, null],
  [
    "nobody settled it",
    { unsettled: true },
    /stands: skein deploy shop b{8} does, skein rollback shop goes back$/,
  ],
  ["nor a stop", { unsettled: true, state: "stopped" }, /stands: skein stop shop does/],
  ["elsewhere", { unsettled: true, env: "prod" }, /skein deploy shop --env prod b{8} does/],
  [
    "its signer was dropped",
    { droppedSigner: "bob" },
    /signed by bob, .*: skein deploy shop b{8} signs it anew$/,
  ],
  [
    "the signer of what is in force was",
    { droppedSigner: "bob", phase: "undone", inForce: id("a") },
    /signed by bob, .*: skein deploy shop a{8} signs it anew$/,
  ],
];

for (const [what, of, says] of CASES) {
  test(`status says what to type where somebody is needed: ${what}`, () => {
    const [head = "", ...lines] = statusLines({ ...shop, ...of });
    assert.equal(head.includes("UNSETTLED"), says !== null && of.unsettled === true);
    assert.equal(lines.length, says === null ? 0 : 1);
    if (says !== null) assert.match(lines.join(), says);
  });
}

test("a stop that was taken back is no stop, in the list as in status", () => {
  const states = (of: Partial<AppStatus>): (string | undefined)[] => [
    / default {2}(\w+)/.exec(statusLines({ ...shop, ...of })[0] ?? "")?.[1],
    / (\w+) +0\/0 /.exec(appLines([{ ...shop, ...of }])[1] ?? "")?.[1],
  ];
  assert.deepEqual(states({ state: "stopped", phase: "ok" }), ["stopped", "stopped"]);
  assert.deepEqual(states({ state: "stopped", phase: "undone" }), ["undone", "undone"]);
});
