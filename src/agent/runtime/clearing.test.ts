import assert from "node:assert/strict";
import { test } from "node:test";
import { endOne } from "./clearing.ts";
import { Ends } from "./instance-ends.ts";
import type { KeeperLink } from "./keeper-link.ts";

test("an instance that drains for hours is waited for", async () => {
  const calls: unknown[] = [];
  const spec = {
    key: "shop|1|web-1",
    stop: { signal: "SIGTERM", windowMs: 0, withinMs: 7_200_000, now: "SIGKILL" },
  };
  const link = {
    ends: new Ends(),
    call: async (...args: readonly unknown[]) => {
      calls.push(args);
      return await Promise.resolve({ instances: [{ spec }], sockets: [] });
    },
  } as unknown as KeeperLink;
  await endOne(link, spec.key);
  await endOne(link, spec.key, 1000);
  assert.deepEqual(
    calls.filter((_, n) => n % 2 === 1),
    [
      ["stop", { key: spec.key, withinMs: 7_200_000 }, 7_215_000],
      ["stop", { key: spec.key, withinMs: 1000 }, 16_000],
    ],
  );
  await assert.rejects(endOne(link, "shop|1|web-2"), { code: "NOT_FOUND" });
});
