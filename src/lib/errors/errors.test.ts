import assert from "node:assert/strict";
import test from "node:test";
import { SkeinError } from "./errors.ts";

test("an error anywhere in a result has what it has by itself", () => {
  const trouble = new SkeinError("BLOB_MISSING", "a blob is gone", { hint: "Do this.", data: { blob: "a" } });
  assert.deepEqual(JSON.parse(JSON.stringify({ troubles: [trouble] })), {
    troubles: [{ code: "BLOB_MISSING", message: "a blob is gone", hint: "Do this.", data: { blob: "a" } }],
  });
});
