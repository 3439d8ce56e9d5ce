import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeView, RolloutNode } from "../../api/schemas.ts";
import type { KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { holds, nodeStatus, withAnswer } from "./node-status.ts";

const place = { app: "shop", env: "staging" };
const release = "a".repeat(32) as ReleaseId;
const nothing = { place, inForce: release, selector: undefined, serving: [] };
const runs = { app: "shop", env: "staging", release, state: "running", head: null };

const node = (apps: NodeView["apps"]): NodeView => ({
  node: "k".repeat(32) as KeyId,
  name: "n1",
  labels: {},
  labelSerial: 0,
  address: null,
  version: null,
  present: true,
  duplicate: false,
  skewMs: null,
  lastSeen: null,
  boot: null,
  knows: [],
  revoked: false,
  apps,
});

const answer = (verdict: RolloutNode["verdict"]): RolloutNode => ({
  node: "k".repeat(32) as KeyId,
  name: "n1",
  batch: 0,
  present: true,
  gate: "undo",
  state: "done",
  verdict,
  code: "ENV_CONFLICT",
  message: "shop web.1 ended: oh | no (nothing runs)",
  bytesDone: 0,
  bytesTotal: null,
  note: null,
  cut: 0,
});

test("a node that has nothing because it refused says that, and why, in a line", () => {
  const { state, note } = withAnswer(nodeStatus(node([]), nothing), answer("refused"));
  assert.deepEqual([state, note], ["refused", "ENV_CONFLICT shop web.1 ended (nothing runs)"]);
});

test("one that runs something goes on saying so, and says as well what became of the newest order", () => {
  const own = nodeStatus(node([{ ...runs, notes: ["not isolated"] }]), nothing);
  const { state, note } = withAnswer(own, answer("failed"));
  assert.equal(state, "running");
  assert.equal(note, "failed: ENV_CONFLICT shop web.1 ended (nothing runs), not isolated");
});

test("what was not answered with no is told as the node tells it", () => {
  const own = nodeStatus(node([]), nothing);
  assert.equal(own.state, "nothing yet");
  for (const verdict of ["ok", "undone", null] as const)
    assert.deepEqual(withAnswer(own, answer(verdict)), own);
  assert.deepEqual(withAnswer(own, undefined), own);
});

test("a node has something of an app where it says so, or where its report had no room for it", () => {
  assert.equal(holds(node([runs]), place), true);
  assert.equal(holds(node([runs]), { ...place, env: "prod" }), false);
  const many = Array.from({ length: 1000 }, (_, n) => ({ ...runs, app: `a${n}` }));
  assert.equal(holds(node(many), place), true);
});
