/** Each shell really reads its script and really completes with it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import { LAUNCHER } from "../../lib/launcher.fixture.ts";
import { PATIENCE_MS } from "../../lib/patience.fixture.ts";

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
  print -r -- ${"$"}{${"$"}{(z)line}[-1]}
done
zpty -d shell
`;
const FISH = `source $argv[1]
for typed in $argv[2..]
  complete -C $typed | string split -f1 \\t
end
`;
const BASH = String.raw`. "$1"; shift
for typed; do
  typed=${"$"}{typed//=/ = } # a word of its own to bash
  read -ra COMP_WORDS <<<"$typed"
  COMP_CWORD=$((${"$"}{#COMP_WORDS[@]} - 1))
  _skein
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
    const done = spawnSync(name, [...args(program), script, ...CASES.map(([typed]) => typed)], {
      cwd: dir, // empty: nothing here that a file's name could complete
      encoding: "utf8",
      timeout: PATIENCE_MS,
    });
    assert.deepEqual(
      done.stdout
        .trim()
        .split(/\r?\n/)
        .map((line) => line.trim()),
      CASES.map(([, completed]) => completed),
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
