/** Help is a program of its own in the package, so that it is there at once: it must say what the others would. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { checkout, tested } from "./support/program.ts";

test("what ships says the same help as what lies here", () => {
  for (const words of [[], ["--help"], ["-h"], ["help"], ["--version"], ["-V"]]) {
    const [here, shipped] = [checkout, tested].map(({ command, args }) => {
      const { status, stdout, stderr } = spawnSync(command, [...args, ...words], { encoding: "utf8" });
      return { status, stdout, stderr };
    });
    assert.deepEqual(shipped, here, words.join(" "));
    assert.notEqual(`${here?.stdout}${here?.stderr}`, "");
  }
});
