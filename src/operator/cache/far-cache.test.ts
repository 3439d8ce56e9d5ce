import assert from "node:assert/strict";
import { test } from "node:test";
import { hostIn } from "./far-cache.ts";

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
