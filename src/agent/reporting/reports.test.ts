import assert from "node:assert/strict";
import test from "node:test";
import { notesOf } from "./reports.ts";

const row = (...unenforced: readonly string[]) => ({ unenforced });

test("an app is noted for what its instances have less of, and only while it has some", () => {
  assert.deepEqual(notesOf([], null, false), {});
  assert.deepEqual(notesOf([row()], null, true), {});
  assert.deepEqual(notesOf([row()], null, false), { notes: ["not isolated"] });
  const limited = [row("memory"), row("memory", "cpu")];
  assert.deepEqual(notesOf(limited, null, true), { notes: ["limits not enforced: memory, cpu"] });
  assert.deepEqual(notesOf(limited, null, false).notes?.length, 2);
});
