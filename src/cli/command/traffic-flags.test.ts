import assert from "node:assert/strict";
import { test } from "node:test";
import { limitsOf, nearOf } from "./traffic-flags.ts";

test("a rate is for both ways, unless one has its own", () => {
  assert.deepEqual(limitsOf({}), { downPerSec: undefined, upPerSec: undefined, atOnce: undefined });
  assert.deepEqual(limitsOf({ limitRate: "5MB" }), { downPerSec: 5e6, upPerSec: 5e6, atOnce: undefined });
  const each = { limitRate: "5MB/s", limitUp: "512KiB", limitTransfers: "4" };
  assert.deepEqual(limitsOf(each), { downPerSec: 5e6, upPerSec: 524_288, atOnce: 4 });
});

test("a cache may be none, and peers may be off", () => {
  const { cacheBytes, peerPort } = nearOf({ cacheSize: "0", peerPort: "off" });
  assert.deepEqual([cacheBytes, peerPort], [0, null]);
  const some = nearOf({ cacheSize: "2GiB", peerPort: "0" });
  assert.deepEqual([some.cacheBytes, some.peerPort], [2 ** 31, 0]);
});

test("what is no size, no rate or no port is refused by its flag's name", () => {
  const rows = [
    { limitRate: "5" },
    { limitDown: "0B" },
    { limitUp: "fast" },
    { limitTransfers: "0" },
    { limitTransfers: "1.5" },
    { cacheSize: "-1" },
    { cacheSize: "12" },
    { peerPort: "65536" },
    { peerPort: "on" },
  ];
  for (const flags of rows) {
    const flag = new RegExp(
      `^--${(Object.keys(flags)[0] ?? "").replace(/[A-Z]/, (c) => `-${c.toLowerCase()}`)} `,
    );
    assert.throws(() => nearOf(flags), { code: "USAGE", message: flag });
  }
});
