import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { isNodeCommand, styleOf, type Style } from "./handover-style.ts";
import { isNodeExecutable } from "./node-executable.ts";
import { listenAt, processPlan } from "./runtime.fixture.ts";

test("how a process's sockets change hands follows from what it runs and what each asks for", () => {
  const at = (handover: Parameters<typeof listenAt>[1] = {}, port: number | null = 80) =>
    listenAt(port, handover);
  const table: [run: string, listen: Parameters<typeof processPlan>[1], style: Style | "refused"][] = [
    ["node a.js", { listen: {} }, "own"],
    ["node a.js", { listen: { a: at() } }, "node"],
    ["python a.py", { listen: { a: at() } }, "socket"],
    ["python a.py", { listen: { a: at({ handover: "node" }) } }, "node"],
    ["node a.js", { listen: { a: at({ handover: "socket" }) } }, "socket"],
    ["node a.js", { listen: { a: at({ handover: "port" }) } }, "own"],
    ["node a.js", { listen: { a: at({ handover: "auto" }, null) } }, "own"],
    ["node a.js", { listen: { a: at({ handover: "auto", path: "s", protocol: "unix" }, null) } }, "node"],
    ["node a.js", { listen: { a: at({ handover: "gap" }) } }, "gap"],
    ["node a.js", { listen: { a: at(), b: at({ handover: "port" }, 81) } }, "node"],
    ["node a.js", { listen: { a: at({ handover: "gap" }), b: at({ handover: "port" }, 81) } }, "gap"],
    ["node a.js", { listen: { a: at(), b: at({ handover: "socket" }, 81) } }, "refused"],
    ["node a.js", { listen: { a: at(), b: at({ handover: "gap" }, 81) } }, "refused"],
  ];
  for (const [run, over, style] of table) {
    const one = (canHold: boolean) => styleOf(processPlan(run, over), "/none", canHold);
    const what = `${run} ${JSON.stringify(over)}`;
    if (style === "refused") assert.throws(() => one(true), { code: "HANDOVER_REFUSED" }, what);
    else assert.equal(one(true), style, what);
    if (style === "own" || style === "gap") assert.equal(one(false), style, what);
    else assert.throws(() => one(false), { code: "HANDOVER_REFUSED" }, what);
  }
});

test("a Node command in a shell is one where a command begins", () => {
  const isNode = (sh: string): boolean => isNodeCommand({ sh }, "/none");
  for (const sh of ["node a.js", "exec node", "x; /opt/bin/node a", "a && B=1 npm start", "(tsx a.ts)"])
    assert.ok(isNode(sh), sh);
  for (const sh of ["./nodes", "echo node.js", "mynode a", "python a.py node"]) assert.ok(!isNode(sh), sh);
  assert.ok(isNodeCommand({ argv: ["/usr/bin/env", "A=1", "node", "a.js"] }, "/none"));
  assert.ok(!isNodeCommand({ argv: [] }, "/none"));
});

/** Of an ELF file no more than is read: its header, the program headers, and notes of these owners. */
function elf(
  owners: readonly string[],
  { type = 4, content = 5, magic = "\u007fELF\u0002\u0001" } = {},
): Buffer {
  const notes = owners.map((owner) => {
    const padded = (text: string): Buffer =>
      Buffer.alloc(Math.ceil(text.length / 4) * 4, 0).fill(text, 0, text.length);
    const name = `${owner}\0`;
    const head = Buffer.alloc(12);
    head.writeUInt32LE(name.length, 0);
    head.writeUInt32LE(content, 4);
    return Buffer.concat([head, padded(name), padded("x".repeat(content))]);
  });
  const header = Buffer.alloc(64);
  header.write(magic, "latin1");
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(2, 56);
  const [other, note] = [Buffer.alloc(56), Buffer.alloc(56)];
  other.writeUInt32LE(1, 0);
  note.writeUInt32LE(type, 0);
  note.writeBigUInt64LE(64n + 112n, 8);
  note.writeBigUInt64LE(BigInt(Buffer.concat(notes).length), 32);
  return Buffer.concat([header, other, note, ...notes, Buffer.alloc(64)]);
}

test("an executable that is Node with a program in it is known by its note, and no other file is taken for one", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "hs-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, "app");
  const isNode = (bytes: Buffer): boolean => {
    fs.writeFileSync(file, bytes);
    return isNodeExecutable(file);
  };
  assert.equal(isNode(elf(["NODE_SEA_BLOB"])), true);
  assert.equal(isNode(elf(["GNU", "stapsdt", "NODE_SEA_BLOB"])), true);
  assert.equal(isNode(elf(["GNU"])), false);
  assert.equal(isNode(elf([])), false);
  assert.equal(isNode(elf(["NODE_SEA_BLOB"], { type: 1 })), false);
  assert.equal(isNode(elf(["NODE_SEA_BLOB"], { magic: "MZ" })), false);
  assert.equal(isNode(elf(["GNU", "NODE_SEA_BLOB"]).subarray(0, 100)), false);
  const behind = Buffer.concat([elf(["GNU"]).subarray(0, -64), elf(["NODE_SEA_BLOB"]).subarray(176)]);
  assert.equal(isNode(behind), false, "what lies behind the notes is none");
  assert.equal(isNode(Buffer.alloc(0)), false);
  assert.equal(isNodeExecutable(dir), false);
  assert.equal(isNodeExecutable(path.join(dir, "none")), false);
});
