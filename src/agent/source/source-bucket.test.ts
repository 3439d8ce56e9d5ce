import assert from "node:assert/strict";
import { test } from "node:test";
import { openBucket } from "../../bucket/bucket.ts";
import { folder } from "../../bucket/bucket.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { silentLog } from "../../lib/process/log.ts";
import { testCluster } from "../../trust/cluster.fixture.ts";
import { newNodeState } from "../../trust/node/node-state.ts";
import { bucketSource } from "./source-bucket.ts";

test("an agent that is told to end does not wait for a bucket's ports", async (t) => {
  const cluster = await testCluster();
  const bucket = await openBucket(`dir:${folder(t)}`, { env: {}, writing: false, signal: t.signal });
  const state = newNodeState(cluster.envelope, cluster.pin, Date.now());
  const options = { bucket, wish: () => true, clock: systemClock, log: silentLog };
  const source = bucketSource({ state, apply: async () => [] }, options);
  const stop = new AbortController();
  const ports = source.ports(stop.signal)[Symbol.asyncIterator]();
  assert.deepEqual((await ports.next()).value?.ports, []);
  stop.abort();
  assert.equal((await ports.next()).done, true);
});
