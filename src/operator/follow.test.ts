import assert from "node:assert/strict";
import test from "node:test";
import type { RolloutNode, RolloutView } from "../api/schemas.ts";
import { endingOf, failureOf } from "./follow.ts";

const node = (name: string, verdict: RolloutNode["verdict"], code: string | null = null): RolloutNode => ({
  node: "1".repeat(32) as RolloutNode["node"],
  name,
  batch: 0,
  gate: "hold",
  state: verdict ?? "waiting",
  verdict,
  code,
  message: null,
  bytesDone: 0,
  bytesTotal: null,
  note: null,
  cut: 0,
});

const view = (phase: RolloutView["phase"], code: string | null, ...nodes: RolloutNode[]): RolloutView => ({
  order: "2".repeat(64) as RolloutView["order"],
  app: "shop",
  env: "default",
  release: "3".repeat(32) as RolloutView["release"],
  phase,
  nodes,
  verdict: code === null ? null : { ok: false, code, message: "why" },
  revision: 1,
});

test("how a rollout ended decides the code, the exit status and the state that is told", () => {
  const failed = node("web2", "failed", "HEALTH_TIMEOUT");
  const table: [RolloutView, string, number, RegExp][] = [
    [view("undone", "DEPLOY_FAILED", node("web1", "undone"), failed), "DEPLOY_FAILED", 3, /shop@1 serves/],
    [view("stuck", "UNDO_INCOMPLETE", node("web1", null), failed), "UNDO_INCOMPLETE", 5, /taken back: web1/],
    [view("stuck", "NODES_ABSENT", node("web1", null)), "NODES_ABSENT", 5, /Nothing was started/],
    [
      view("failed", "UNDO_INCOMPLETE", node("web1", "ok"), failed),
      "UNDO_INCOMPLETE",
      5,
      /Nothing was taken back/,
    ],
    [view("failed", "HEAD_MOVED", node("web1", "ok")), "HEAD_MOVED", 6, /Nothing was taken back/],
    [view("failed", "NO_SUCH_CODE", node("web1", "ok")), "UNDO_INCOMPLETE", 5, /Nothing was taken back/],
  ];
  for (const [seen, code, exit, state] of table) {
    const err = failureOf(seen, "shop@1");
    assert.equal(err?.code, code);
    assert.equal(err?.exit, exit);
    assert.match(String(err?.data["state"]), state);
  }
});

test("a rollout that goes on, or ended well, is no failure", () => {
  for (const phase of ["pending", "running", "baking", "undoing", "ok"] as const) {
    assert.equal(failureOf(view(phase, null), null), undefined);
    assert.equal(endingOf(view(phase, null)), phase === "ok" ? "ok" : undefined);
  }
});
