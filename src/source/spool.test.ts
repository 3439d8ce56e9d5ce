import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { tempDir } from "./source.fixture.ts";
import { Spool } from "./spool.ts";

test("what was unpacked has no name, and is gone with the spool, which closes nobody else's file", (t) => {
  const scratch = tempDir(t);
  const spool = new Spool(scratch);
  spool.write(Buffer.from("one"));
  spool.write(Buffer.from("two"));
  assert.deepEqual([spool.end, spool.read(2, 9).toString()], [6, "etwo"]);
  assert.deepEqual(fs.readdirSync(scratch), []);
  const { file } = spool.contentAt(0);
  spool[Symbol.dispose]();
  assert.throws(() => fs.fstatSync(file as number), { code: "EBADF" });
  const other = fs.openSync(scratch, "r");
  assert.equal(other, file);
  spool[Symbol.dispose]();
  fs.closeSync(other);
});
