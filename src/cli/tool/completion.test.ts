/** Each shell really reads its script and really completes with it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { LAUNCHER } from "../../lib/process/launcher.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

/** What is typed → what the shell completes it to, or offers for its last word. */
const CASES = [
  ["skein rollb", "rollback"],
  ["skein nod", "node"],
  ["skein node inv", "invite"],
  ["skein --json node inv", "invite"],
  ["skein node invite --lab", "--label"],
  ["skein agent install --pri", "--print"],
  ["skein deploy shop --det", "--detach"],
  ["skein --app shop rollb", "rollback"],
  ["skein --app=shop --on web1 node inv", "invite"],
  ["skein node --on web1 inv", "invite"],
  ["skein deploy --version v1 --det", "--detach"],
  ["skein --no-color rollb", "rollback"],
  ["skein deploy --no-hooks --det", "--detach"],
  ["skein stage --through", "--through-cache"],
  ["skein completion fi", "fish"],
  // After a flag with a value stands a value: of one that is known, or a file, or whatever a person knows.
  ["skein ports --by com", "commit"],
  ["skein ports --by=com", "commit"],
  ["skein ftl spool --layout sk", "skein"],
  ["skein deploy shop --from not", "notes.txt"],
  ["skein deploy --from=not", "notes.txt"],
  ["skein release export --output not", "notes.txt"],
  ["skein release export --from not", "not"],
  ["skein deploy --version not", "not"],
] as const;
/** The same of what looks like a flag; fish of itself takes it for one. */
const DASHED = [
  ["skein deploy --version --det", "--det"],
  ["skein --on --det", "--det"],
  ["skein logs -n --fol", "--fol"],
] as const;

interface Shell {
  readonly name: string;
  /** A program that prints, for each argument after the script, what its last word becomes. */
  readonly driver: string;
  readonly args: (driver: string) => readonly string[];
}

/** Types into a zsh of its own, at a terminal, and has it show the line after the Tab. */
const ZSH = String.raw`
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= PS2= RPS1=; autoload -U compinit && compinit -D"
zpty -w shell "source $1"
zpty -w shell 'shown() { print -r -- "[""[$BUFFER]""]" }; zle -N shown; bindkey "^X^L" shown'
shift
for typed; do
  zpty -w -n shell $'\x15'"$typed"$'\t\x18\x0c'
  zpty -r shell out '*\[\[*\]\]*'
  line=${"$"}{${"$"}{out##*\[\[}%%\]\]*}
  word=${"$"}{${"$"}{(z)line}[-1]}
  print -r -- ${"$"}{word##--*=}
done
zpty -d shell
`;
const FISH = `source $argv[1]
for typed in $argv[2..]
  set -l found (complete -C $typed | string split -f1 \\t | string replace -r '^--.*=' '')
  set -q found[1]; or set found (string split -r -m1 -f2 ' ' $typed)
  printf '%s\\n' $found
end
`;
const BASH = String.raw`. "$1"; shift
# What readline does of itself where nothing is found, and what turns that off.
compopt() { plain=yes; }
for typed; do
  plain=""
  typed=${"$"}{typed//=/ = } # a word of its own to bash
  read -ra COMP_WORDS <<<"$typed"
  COMP_CWORD=$((${"$"}{#COMP_WORDS[@]} - 1))
  _skein
  last="${"$"}{COMP_WORDS[COMP_CWORD]}"
  if [ ${"$"}{#COMPREPLY[@]} = 0 ] && [ -z "$plain" ]; then COMPREPLY=($(compgen -f -- "$last")); fi
  if [ ${"$"}{#COMPREPLY[@]} = 0 ]; then COMPREPLY=("$last"); fi
  printf '%s\n' "${"$"}{COMPREPLY[@]}"
done
`;

const SHELLS: readonly Shell[] = [
  { name: "bash", driver: BASH, args: (driver) => ["--norc", driver] },
  { name: "zsh", driver: ZSH, args: (driver) => ["-f", driver] },
  { name: "fish", driver: FISH, args: (driver) => ["--no-config", driver] },
];

for (const { name, driver, args } of SHELLS) {
  test(`${name} completes verbs and flags`, { skip: skipped(name) }, (t) => {
    const dir = folder(t);
    const [script, program] = [path.join(dir, `skein.${name}`), path.join(dir, "driver")];
    const made = spawnSync(LAUNCHER, ["completion", name], { encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
    fs.writeFileSync(script, made.stdout);
    fs.writeFileSync(program, driver);
    const cases = name === "fish" ? CASES : [...CASES, ...DASHED];
    const cwd = path.join(dir, "cwd");
    fs.mkdirSync(cwd);
    fs.writeFileSync(path.join(cwd, "notes.txt"), "");
    const done = spawnSync(name, [...args(program), script, ...cases.map(([typed]) => typed)], {
      cwd,
      encoding: "utf8",
      timeout: PATIENCE_MS,
    });
    assert.deepEqual(
      done.stdout
        .trim()
        .split(/\r?\n/)
        .map((line) => line.trim()),
      cases.map(([, completed]) => completed),
      done.stderr,
    );
  });
}

/** Everywhere but in CI a shell may be missing. */
function skipped(shell: string): string | false {
  if (process.env["CI"] !== undefined || spawnSync(shell, ["-c", "true"]).status === 0) return false;
  return `there is no ${shell} here`;
}

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-shell-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}
