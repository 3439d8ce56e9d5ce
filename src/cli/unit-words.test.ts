import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { unitText } from "./ftl-units.ts";
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

test("what runs sync by itself names settings and program as they are", () => {
  const text = unitText("/opt/my skein/skein", { SKEIN_ROOT: "/srv/$x y", SKEIN_BUCKET: "s3://b/50%" });
  assert.match(text, /^Environment="SKEIN_ROOT=\/srv\/\$x y"$/m);
  assert.match(text, /^Environment=SKEIN_BUCKET=s3:\/\/b\/50%%$/m);
  assert.match(text, /^ExecStart="\/opt\/my skein\/skein" ftl sync/m);
  assert.match(
    text,
    /^@reboot {6}root {2}SKEIN_ROOT='\/srv\/\$x y' SKEIN_BUCKET=s3:\/\/b\/50\\% '\/opt\/my skein\/skein' ftl sync --quiet$/m,
  );
});
