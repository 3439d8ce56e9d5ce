import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { commandWord, cronWord, environmentWord, shellWord } from "./unit-words.ts";

test("a word of a unit is quoted where systemd would read something else in it", () => {
  assert.equal(commandWord("/usr/bin/skein"), "/usr/bin/skein");
  assert.equal(commandWord(`50%$x "y"\\`), String.raw`"50%%$$x \"y\"\\"`);
  assert.equal(commandWord("it's"), `"it's"`);
  assert.equal(environmentWord("A", "/srv/$x/50%"), `"A=/srv/$x/50%%"`);
  assert.equal(environmentWord("A", "/srv/b"), "A=/srv/b");
});

test("a shell gets back the word that was meant", () => {
  for (const word of ["plain", "with space", "it's", `a"b$c\`d\\e`, "50%"]) {
    const { stdout } = spawnSync("sh", ["-c", `printf %s ${shellWord(word)}`], { encoding: "utf8" });
    assert.equal(stdout, word);
  }
  assert.equal(cronWord("50% off"), String.raw`'50\% off'`);
});
