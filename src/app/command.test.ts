import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import * as fc from "fast-check";
import { CommandError, expandArgv, splitCommand } from "./command.ts";
import { editDistance, suggest } from "./suggest.ts";

const argvOf = (line: string): readonly string[] => {
  const command = splitCommand(line);
  return "argv" in command ? command.argv : [];
};

test("a command is split as a shell would, protected dollars stay dollars", () => {
  const env = { PORT: "80", EMPTY: "" };
  const line = `node  'a b' "c\\"$PORT" d\\ e \${PORT}x '$PORT' \\$PORT "\\$PORT" $EMPTY$NONE`;
  assert.deepEqual(expandArgv(argvOf(line), env), [
    "node",
    "a b",
    'c"80',
    "d e",
    "80x",
    "$PORT",
    "$PORT",
    "$PORT",
    "",
  ]);
});

test("a dollar sign that begins no variable stays one, whatever comes to stand behind it", () => {
  const env = { abc: "no" };
  for (const line of [`$"abc"`, `"$"abc`, `"a$"'b'`, `'$'abc`, `$1`, `"$1"`, `"$$"`, `a$`])
    assert.deepEqual(expandArgv(argvOf(line), env), [line.replaceAll(/["']/g, "").replace("$$", "$")], line);
  assert.deepEqual(expandArgv(argvOf(`"$abc" "\${abc}"`), env), ["no", "no"]);
});

test("what needs a shell is refused", () => {
  for (const line of [
    "a | b",
    "a && b",
    "a > b",
    "a *.js",
    "a $(b)",
    "a `b`",
    "~/x",
    "# x",
    "A=1 a",
    "a\nb",
  ]) {
    assert.throws(() => splitCommand(line), CommandError, line);
  }
  assert.deepEqual(argvOf("\n'A=1' a=b\n"), ["A=1", "a=b"]);
});

test("a line that ends in a backslash goes on, as in a shell", () => {
  const line = "printf '%s\\0' a \\\n  b\\\nc \"d\\\ne\" \\\n";
  const sh = spawnSync("sh", ["-c", line], { encoding: "utf8" }).stdout;
  assert.equal(
    argvOf(line)
      .slice(2)
      .map((text) => `${text}\0`)
      .join(""),
    sh,
  );
  assert.equal(sh, "a\0bc\0de\0");
});

test("a variable that nobody set is empty, also under a name that every object has", () => {
  assert.deepEqual(expandArgv(["$constructor", "${toString}", "$A"], { A: "a" }), ["", "", "a"]);
});

test("words with any characters reach the program as sh would hand them over", () => {
  const word = fc.stringMatching(/^[ -&(-~]{0,12}$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
      const line = words.map((text) => `'${text}'`).join(" ");
      const sh = spawnSync("sh", ["-c", `printf '%s\\0' ${line}`], { encoding: "utf8" }).stdout;
      assert.equal(
        expandArgv(argvOf(line), {})
          .map((text) => `${text}\0`)
          .join(""),
        sh,
      );
    }),
    { numRuns: 20 },
  );
});

test("only what is near is suggested", () => {
  assert.equal(suggest("stratgey", ["strategy", "kind"]), "strategy");
  assert.equal(suggest("zzz", ["strategy", "kind"]), undefined);
  assert.equal(editDistance("ab", "ba"), 1);
  assert.equal(editDistance("", "abc"), 3);
});
