import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { digestOf, type TreeId } from "../../lib/text/ids.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { tempDir } from "../../release/release.fixture.ts";
import { cachedNames, keepName, nameIfThere } from "./names.ts";

test("a name that was damaged is none, and hides no other", async (t) => {
  const paths = pathsFrom({ SKEIN_HOME: tempDir(t) });
  const shop = {
    name: "shop",
    tree: digestOf("tree") as string as TreeId,
    rows: digestOf("rows"),
    since: null,
  };
  await keepName(paths, shop);
  writeFileSync(path.join(paths.lib, "cache-names", "bank.json"), "{");
  assert.equal(await nameIfThere(paths, "bank"), undefined);
  assert.deepEqual(await cachedNames(paths), [shop]);
});
