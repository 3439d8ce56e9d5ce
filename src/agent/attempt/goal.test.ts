import assert from "node:assert/strict";
import test from "node:test";
import type { Digest, KeyId } from "../../lib/ids.ts";
import { unpacedStartMs } from "./goal.ts";

test("without a hub the starts of a thousand nodes are spread evenly over the time allowed", () => {
  const order = "a".repeat(64) as Digest;
  const spread = 600_000;
  const quarters = [0, 0, 0, 0];
  for (let n = 0; n < 1000; n++) {
    const node = n.toString(16).padStart(32, "0") as KeyId;
    const start = unpacedStartMs(node, order, 5_000_000, spread);
    assert.equal(start, unpacedStartMs(node, order, 5_000_000, spread));
    assert.ok(start >= 5_000_000 && start < 5_600_000);
    const quarter = Math.floor((start - 5_000_000) / 150_000);
    quarters[quarter] = (quarters[quarter] ?? 0) + 1;
  }
  for (const count of quarters) assert.ok(count > 180, `quarters: ${quarters.join(" ")}`);
});

test("a spread of nothing starts at once, whatever a node's clock says", () => {
  assert.equal(unpacedStartMs("0".repeat(32) as KeyId, "b".repeat(64) as Digest, 7, 0), 0);
});
