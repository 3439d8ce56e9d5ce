import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { makeGate, openGate, removeGate } from "./gate.ts";

test("a gate is opened by its owner, also one without root's rights, and read by everybody", (t) => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "gate-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  const file = makeGate(path.join(home, "gates"), "shop/1/web.1", false);
  assert.equal(fs.statSync(file).mode & 0o777, 0o644);
  const inherited = fs.openSync(file, "r");
  atEnd(t, () => fs.closeSync(inherited));
  const read = (): string => {
    const bytes = Buffer.alloc(2);
    fs.readSync(inherited, bytes, 0, 2, 0);
    return bytes.toString();
  };
  assert.equal(read(), "wa");
  openGate(file);
  assert.equal(read(), "go");
  removeGate(file);
  openGate(file);
  assert.equal(fs.existsSync(file), false);
});

test("a gate that is made anew says what it is made for, and one that is open already is the same file", (t) => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "gate-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  const made = (open: boolean): [number, string] => {
    const file = makeGate(path.join(home, "run", "gates"), "shop/1/web.1", open);
    return [fs.statSync(file).ino, fs.readFileSync(file, "utf8")];
  };
  const held = fs.openSync(makeGate(path.join(home, "run", "gates"), "shop/1/web.1", false), "r");
  atEnd(t, () => fs.closeSync(held)); // its inode is given to no other file
  const [waits, wait] = made(false);
  assert.match(wait, /^wa/);
  assert.notEqual(waits, fs.fstatSync(held).ino, "who waits at the former one goes on waiting");
  const [opened, go] = made(true);
  assert.match(go, /^go/);
  assert.deepEqual(made(true), [opened, go]);
  assert.match(made(false)[1], /^wa/);
});
