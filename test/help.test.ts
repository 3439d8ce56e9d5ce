/** Help is a program of its own in the package, so that it is there at once: it must say what the others would. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { checkout, tested } from "./support/program.ts";

test("what ships says the same help as what lies here (long)", () => {
  for (const words of [[], ["--help"], ["-h"], ["help"], ["--version"], ["-V"]]) {
    const [here, shipped] = [checkout, tested].map(({ command, args }) => {
      const { status, stdout, stderr } = spawnSync(command, [...args, ...words], { encoding: "utf8" });
      return { status, stdout, stderr };
    });
    assert.deepEqual(shipped, here, words.join(" "));
    assert.notEqual(`${here?.stdout}${here?.stderr}`, "");
  }
});

/** Each takes as long to load as all that help does, or half of it. */
const HEAVY = ["child_process", "crypto", "http", "https", "net", "sqlite", "tls", "worker_threads", "zlib"];

test("help loads nothing of Node that is heavy and that it does not use", (t) => {
  const program = path.join(tested.helperDir, "../dist/help.cjs");
  if (!fs.existsSync(program)) return t.skip("shown of what ships: npm test -- test/help.test.ts");
  const text = fs.readFileSync(program, "utf8");
  assert.match(text, /getBuiltinModule\("node:fs"\)/);
  const loaded = HEAVY.filter((name) => text.includes(`getBuiltinModule("node:${name}")`));
  assert.deepEqual(loaded, []);
});
