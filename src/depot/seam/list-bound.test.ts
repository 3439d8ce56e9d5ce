import assert from "node:assert/strict";
import { test } from "node:test";
import { ListBound } from "./list-bound.ts";

/** @returns how many such pages were borne */
function pagesBorne(names: number): number {
  const bound = new ListBound("s3://bucket");
  let pages = 0;
  assert.throws(
    () => {
      for (;;) {
        bound.page(names);
        pages += 1;
      }
    },
    { code: "LIST_ENDLESS", message: /^s3:\/\/bucket: a list does not end: \d+ pages with \d+ names/ },
  );
  return pages;
}

test("a list of ten million names by full pages is read, and one without end is not", () => {
  const pages = pagesBorne(1000);
  assert.ok(pages > 10_000 && pages < 100_000, String(pages));
});

test("short pages are borne where they lead somewhere, and empty ones for a while", () => {
  assert.ok(pagesBorne(150) > 10_000);
  assert.ok(pagesBorne(1) < 2000);
  assert.ok(pagesBorne(0) < 2000);
});
