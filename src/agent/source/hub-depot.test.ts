import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { badHub } from "../../depot/http/bad-hub.fixture.ts";
import type { Fault } from "../../depot/seam/depot-faults.conformance.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { noise, tempDir } from "../../release/release.fixture.ts";
import { hubDepot } from "./hub-depot.ts";

const BYTES = noise(300_000, 1);
const PACE = { windowMs: 200, leastBytes: 5000 };

async function open(t: Parameters<typeof badHub>[0], pace = PACE) {
  const depot = directoryDepot(path.join(tempDir(t), "depot"));
  await depot.put("packs/a", bytesBlob(BYTES), t.signal);
  const hub = await badHub(t, depot);
  const reader = hubDepot(hub.transport, pace);
  const read = async (): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(reader.get("packs/a", t.signal)));
  return { hub, read };
}

for (const fault of [{ kind: "drip" }, { kind: "boast" }] satisfies readonly Fault[]) {
  test(`a node does not wait for ever for a hub that can only "${fault.kind}"`, async (t) => {
    const { hub, read } = await open(t);
    hub.misbehave = () => fault;
    await assert.rejects(read(), { code: "HUB_UNREACHABLE" });
  });
}

test("what a hub cut off is gone on with where it stopped", async (t) => {
  const { hub, read } = await open(t, { ...PACE, windowMs: 30_000 });
  hub.misbehave = (n) => (n % 2 === 1 ? { kind: "cut", afterBytes: 70_000 } : undefined);
  assert.ok((await read()).equals(BYTES));
  assert.equal(hub.requests(), 2);
});
