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
