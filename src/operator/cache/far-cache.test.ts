import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyId } from "../../lib/text/ids.ts";
import { hostIn, Tally } from "./far-cache.ts";

test("a node is found by the host of its address, whichever way that is written", () => {
  const rows = [
    ["10.0.0.7", "10.0.0.7"],
    ["10.0.0.7:7400", "10.0.0.7"],
    ["web1", "web1"],
    ["[fd00::1]:7400", "fd00::1"],
    ["[fd00::1]", "fd00::1"],
    ["fd00::1", "fd00::1"],
  ] as const;
  for (const [address, host] of rows) assert.equal(hostIn(address), host, address);
});

test("however many blobs a cache holds, all are counted", () => {
  const node = "k" as KeyId;
  const tally = new Tally(["packs/7000", "packs/none"]);
  for (let n = 0; n < 8000; n++)
    tally.take({ node, name: "n1", type: "blob", blob: `packs/${n}`, bytes: 10 });
  tally.take({ node, name: "n1", type: "result", ok: true });
  assert.deepEqual(tally.of("n1"), { node: "n1", blobs: 8000, bytes: 80_000, missing: 1 });
  assert.deepEqual(tally.of("n2"), { node: "n2", blobs: 0, bytes: 0, missing: 2 });
});
