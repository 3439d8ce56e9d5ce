import assert from "node:assert/strict";
import { globSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { httpDepot } from "../depot/http.ts";
import { GRACE_MS } from "../release/published.ts";
import { noise, plainSource, writeTree } from "../release/release.fixture.ts";
import { cluster } from "./cluster.fixture.ts";
import { lookAhead, makeRelease } from "./release.ts";

test("a publisher whose machine slept for days in the middle sends again what the hub collected meanwhile", async (t) => {
  const { operator, dir, signal } = await cluster(t);
  const source = plainSource(writeTree(path.join(dir, "app"), { big: noise(1_000_000, 1) }));
  const packs = (): string[] => globSync(path.join(dir, "**/packs/*")).sort();
  let looks = 0;
  let before: string[] = [];
  const sleepy = {
    ...operator,
    clock: {
      ...systemClock,
      now() {
        looks += 1;
        if (looks === 1) return Date.now();
        // It wakes, and this is what three collections have left.
        if (before.length === 0) before = packs();
        for (const pack of before) rmSync(pack, { force: true });
        return Date.now() + GRACE_MS;
      },
    },
  };
  await makeRelease(sleepy, {
    source,
    ahead: lookAhead(sleepy, "app", httpDepot(operator.client), signal),
    signal,
  });
  assert.ok(before.length > 0);
  assert.deepEqual(packs(), before);
});
