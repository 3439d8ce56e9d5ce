import assert from "node:assert/strict";
import test from "node:test";
import { notesOf } from "./reports.ts";

const row = (...unenforced: readonly string[]) => ({ unenforced });

test("an app is noted for what its instances have less of, and only while it has some", () => {
  assert.deepEqual(notesOf([], false), {});
  assert.deepEqual(notesOf([row()], true), {});
  assert.deepEqual(notesOf([row()], false), { notes: ["not isolated"] });
  const limited = [row("memory"), row("memory", "cpu")];
  assert.deepEqual(notesOf(limited, true), { notes: ["limits not enforced: memory, cpu"] });
  assert.deepEqual(notesOf(limited, false).notes?.length, 2);
});
