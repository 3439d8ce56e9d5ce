import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest } from "../lib/text/ids.ts";
import { SkeinError, type ErrorCode } from "../lib/errors/errors.ts";
import { inProgress } from "./in-progress.ts";
import { isPassing, isPassingEnd } from "./passing.ts";
import type { RolloutView } from "./schemas.ts";

const ORDER = "0".repeat(64) as Digest;

/** @param nodes `n1` waits for it, `n1!` is away, `n1=` is done */
const told = (
  nodes: readonly string[],
  phase: RolloutView["phase"] = "running",
  env = "default",
): SkeinError =>
  inProgress({ app: "shop", env }, ORDER, {
    phase,
    nodes: nodes.map((text) => ({
      name: text.slice(0, 2),
      present: !text.endsWith("!"),
      verdict: text.endsWith("=") ? "ok" : null,
    })),
  } as unknown as RolloutView);

test("who orders meanwhile is told for whom it waits: for those who are away, where there are some", () => {
  const rows: readonly (readonly [readonly string[], string])[] = [
    [[], ""],
    [["n1="], ""],
    [["n1=", "n2", "n3"], " and waits for n2, n3"],
    [["n1", "n2!"], " and waits for n2, which is away"],
    [["n1!", "n2!", "n3="], " and waits for n1, n2, which are away"],
    [["n1", "n2", "n3", "n4", "n5"], " and waits for n1, n2, n3, n4, n5"],
    [["n1", "n2", "n3", "n4", "n5", "n6", "n7"], " and waits for n1, n2, n3, n4, n5 and 2 more"],
  ];
  for (const [nodes, why] of rows)
    assert.equal(told(nodes).message, `a deployment of shop/default is under way${why}`);
  assert.deepEqual(told(["n1", "n2!"]).data["waitsFor"], ["n2"]);
  assert.match(inProgress({ app: "shop", env: "default" }, ORDER, undefined).message, /is under way$/);
});

test("what is paused is gone on with, what goes on is waited for, in the environment that it is in", () => {
  const paused = told(["n1"], "paused", "prod");
  assert.equal(paused.message, "a deployment of shop/prod is paused and waits for n1");
  assert.match(paused.hint ?? "", /skein resume shop --env prod\).*skein abort shop --env prod\)/);
  assert.match(told([]).hint ?? "", /skein watch shop\).*skein abort shop\)/);
});

test("a hub that is away, busy or catching up is passing; one that stops is, to who has not left himself", () => {
  const here = new AbortController().signal;
  const rows: readonly (readonly [ErrorCode, boolean, boolean, boolean])[] = [
    ["HUB_UNREACHABLE", true, true, true],
    ["TOO_MANY", true, true, true],
    ["HUB_CATCHING_UP", true, true, true],
    ["INTERRUPTED", false, true, false],
    ["PIN_MISMATCH", false, false, false],
    ["NOT_FOUND", false, false, false],
  ];
  for (const [code, ...expected] of rows) {
    const err = new SkeinError(code, code);
    const found = [isPassing(err), isPassingEnd(err, here), isPassingEnd(err, AbortSignal.abort())];
    assert.deepEqual(found, expected, code);
  }
  assert.equal(isPassingEnd(new Error("INTERRUPTED"), here), false);
});
