import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import os from "node:os";
import { test } from "node:test";
import { cliProgram } from "../cli-program.ts";
import { everyCommand } from "./every-command.ts";
import { habitHint } from "./habits.ts";
import { LAUNCHER } from "../../lib/process/launcher.fixture.ts";

function skein(...words: string[]): { readonly exit: number | null; readonly said: string } {
  const { status, output } = spawnSync(LAUNCHER, words, { cwd: os.tmpdir(), encoding: "utf8" });
  return { exit: status, said: output.join("") };
}

test("who types what other tools call it is told what it is called here, and never to deploy what was to go (long)", () => {
  for (const [words, here] of [
    ["ps", /Here that is skein status\./],
    ["destroy", /Here that is skein stop\./],
    ["node list", /Here that is skein node ls\./],
    ["statsu", /Did you mean status\?/],
    ["exec shop ls", /Nothing is run on nodes by hand/],
    ["frob shop ls", /See skein --help\./],
  ] as const) {
    const { exit, said } = skein(...words.split(" "));
    assert.deepEqual([exit, here.test(said)], [2, true], said);
  }
});

test("no habit hides a verb, and each leads to one", () => {
  const names = everyCommand(cliProgram(() => undefined)).map((one) =>
    [one.parent?.name() ?? "", one.name()].join(" ").replace(/^skein /, ""),
  );
  for (const name of names) assert.equal(habitHint(name), undefined, name);
  for (const word of ["ps", "nodes", "log", "server", "join", "setup", "node add", "node delete"]) {
    const [, verb = ""] = /skein ([a-z]+(?: [a-z]+)?)/.exec(habitHint(word) ?? "") ?? [];
    assert.ok(names.includes(verb), `${word}: ${verb}`);
  }
});

test("help of a verb below another is that verb's (long)", () => {
  assert.match(skein("help", "node", "invite").said, /^Usage: skein node invite/m);
  assert.equal(skein("help", "node", "invite").exit, 0);
  assert.match(skein("help", "deploy").said, /^Usage: skein deploy/m);
  const { exit, said } = skein("help", "node", "nope");
  assert.deepEqual([exit, /unknown command 'node nope'/.test(said)], [2, true], said);
});

test("no help says a default that is no word", () => {
  for (const command of everyCommand(cliProgram(() => undefined)))
    assert.doesNotMatch(command.helpInformation(), /default: [[{]/, command.name());
});
