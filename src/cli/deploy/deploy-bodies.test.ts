import assert from "node:assert/strict";
import test from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { endText } from "./deploy-bodies.ts";

test("the last line of a deployment counts the nodes that have it, and names the others", () => {
  const release = `ab${"0".repeat(30)}` as ReleaseId;
  const whole = {
    app: "shop",
    release,
    state: "run",
    nodes: 3,
    away: [],
    left: [],
    failed: [],
    hooks: [],
    cut: 0,
  } as const;
  assert.equal(endText(whole), "shop@ab000000 runs on 3 nodes");
  assert.equal(endText({ ...whole, nodes: 1, state: "stopped" }), "shop@ab000000 is stopped on 1 node");
  assert.equal(
    endText({ ...whole, away: ["n3"], cut: 2 }),
    "shop@ab000000 runs on 2 of 3 nodes; away, and will take it when back: n3; 2 connections cut while draining (CONNECTIONS_CUT)",
  );
  assert.equal(
    endText({ ...whole, left: ["n2"] }),
    "shop@ab000000 runs on 2 of 3 nodes; not meant any more: n2",
  );
  assert.equal(
    endText({ ...whole, failed: ["n1", "n2"] }),
    "shop@ab000000 runs on 1 of 3 nodes; failed on n1, n2",
  );
  assert.equal(
    endText({ ...whole, hooks: ["n1"] }),
    "shop@ab000000 runs on 3 nodes; a hook failed on n1, which holds no node back",
  );
});
