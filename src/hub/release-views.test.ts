import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReleaseView } from "../api/schemas.ts";
import { makeCluster, makeRelease } from "./hub.fixture.ts";
import { viewWithIndex } from "./release-views.ts";

test("of an index that somebody made endless in a bucket no more is read than is told", async (t) => {
  const cluster = await makeCluster();
  const { envelope: release, id } = await makeRelease(cluster, "shop", "1");
  let read = 0;
  const depot = {
    async *get() {
      for (; read < 2 ** 30; read += 65_536) yield new Uint8Array(65_536);
    },
  };
  const view = { id, app: "shop", release } as unknown as ReleaseView;
  assert.deepEqual(await viewWithIndex({ core: { depot } as never }, view, t.signal), view);
  assert.ok(read <= 2 * 65_536, `${read} bytes`);
});
