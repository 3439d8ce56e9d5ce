import assert from "node:assert/strict";
import { test } from "node:test";
import type { DocumentStore } from "../depot/seam/documents.ts";
import { listRoot, readCharters } from "./entries.ts";

/** A bucket that has whatever is asked for, and ever more of it. */
const liar: DocumentStore = {
  name: "s3://liar",
  conditional: false,
  read: async () => {
    const envelope = { t: "charter.1", p: Buffer.alloc(300_000, 1).toString("base64"), s: [] };
    return await Promise.resolve({ bytes: Buffer.from(JSON.stringify(envelope)), etag: "e" });
  },
  write: () => Promise.reject(new Error("it is only read")),
  async *list(prefix) {
    for (let n = 0; ; n++)
      yield await Promise.resolve({ name: `${prefix}${n}`, sizeBytes: 1, modifiedMs: 0 });
  },
  delete: () => Promise.reject(new Error("it is only read")),
};

test("a bucket that names documents without end is given up on (long)", async (t) => {
  await assert.rejects(listRoot(liar, t.signal), { code: "LIST_ENDLESS", data: { depot: "s3://liar" } });
});

test("a bucket that has ever more charters is given up on", async (t) => {
  await assert.rejects(readCharters(liar, 0, Number.MAX_SAFE_INTEGER, t.signal), { code: "LIST_ENDLESS" });
});
