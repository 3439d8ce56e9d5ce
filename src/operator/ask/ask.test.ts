import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyId } from "../../lib/text/ids.ts";
import { Heard, troubleIn } from "./ask.ts";
import { refusedBy, type NamedLine } from "./commands.ts";

const result = (more: object): NamedLine => ({
  node: "a".repeat(32) as KeyId,
  name: "n1",
  type: "result",
  ok: false,
  code: "RELEASE_IN_USE",
  message: "it runs",
  ...more,
});

test("what a node says to do about its failure is told with it, bounded and on its line", () => {
  const said = result({ hint: `Deploy\u001b[2J another\nversion first. ${"x".repeat(1000)}` });
  const heard = new Heard();
  heard.take(said);
  for (const err of [troubleIn([heard.answer("n1")]), refusedBy(said, "NOT_FOUND")]) {
    assert.match(err?.hint ?? "", /^Deploy \[2J another version first\. x+$/);
    assert.equal(err?.hint.length, 512);
  }
});

test("where a node says nothing of it, its code does", () => {
  const err = troubleIn([
    { node: "n1", outcome: "failed", lines: [], unkept: 0, code: "DISK_FULL", message: "full", hint: null },
  ]);
  assert.match(err?.hint ?? "", /Free space/);
});
