import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import { openNodeStore } from "./node-store.ts";

test("what killed writers left beside the node's state is removed, and nothing else", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-agent-"));
  atEnd(t, async () => fs.rm(dir, { recursive: true, force: true }));
  const kept = ["node.json.bak", "other.json.0a1b2c3d4e5f.tmp"];
  for (const name of [...kept, "node.json.0a1b2c3d4e5f.tmp", "node.json.ffffffffffff.tmp"]) {
    await fs.writeFile(path.join(dir, name), "{}");
  }
  assert.equal(await openNodeStore(dir), undefined);
  assert.deepEqual((await fs.readdir(dir)).sort(), kept);
});
