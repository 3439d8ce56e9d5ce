import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { openNodeStore } from "./node-store.ts";

test("what killed writers left in the state's folder is removed, and nothing else", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-agent-"));
  atEnd(t, async () => fs.rm(dir, { recursive: true, force: true }));
  await fs.mkdir(path.join(dir, "apps"));
  const left = ["node.json.0a1b2c3d4e5f.tmp", "reserve.ffffffffffff.tmp", "apps/shop.json.0a1b2c3d4e5f.tmp"];
  const kept = ["apps/shop.json", "commands.json.0a1b2c3d4e5f.tmp", "node.json.bak", "note.tmp"];
  const longAgo = new Date(Date.now() - 2 * 3_600_000);
  for (const name of [...left, ...kept]) {
    await fs.writeFile(path.join(dir, name), "{}");
    if (!name.startsWith("commands")) await fs.utimes(path.join(dir, name), longAgo, longAgo);
  }
  assert.equal(await openNodeStore(dir), undefined);
  const names = (await fs.readdir(dir, { recursive: true })).filter((name) => name !== "apps");
  assert.deepEqual(names.sort(), kept, "what may be written at this moment stays");
});
