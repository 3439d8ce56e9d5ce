import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { plainSource, tempDir, writeTree } from "../../release/release.fixture.ts";
import { getTree, putSource } from "./local-cache.ts";

test("what is got out of the cache goes into a folder that is there, and none is made for it", async (t) => {
  const dir = tempDir(t);
  const paths = pathsFrom({ SKEIN_HOME: path.join(dir, "home") });
  await putSource(paths, "shop", plainSource(writeTree(path.join(dir, "shop"), { a: "b" })), t.signal);
  const away = path.join(dir, "away");
  await assert.rejects(getTree(paths, "shop", path.join(away, "out"), t.signal), {
    code: "NOT_FOUND",
    message: `there is no folder ${away} for out`,
  });
  assert.ok(!fs.existsSync(away));
  await getTree(paths, "shop", path.join(dir, "out"), t.signal);
  assert.equal(fs.readFileSync(path.join(dir, "out/a"), "utf8"), "b");
});
