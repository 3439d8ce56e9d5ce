import assert from "node:assert/strict";
import test from "node:test";
import { SaidOnce } from "./said-once.ts";

const HOUR_MS = 3_600_000;

test("what is new is said once, and of a flood no more than a thousand things within an hour", () => {
  const said = new SaidOnce();
  const news = Array.from({ length: 1200 }, (_, n) => said.isNews(`document ${n % 1100}`, n));
  assert.equal(news.filter(Boolean).length, 1000);
  assert.equal(said.isNews("document 999", HOUR_MS), false, "it was said before");
  assert.equal(said.isNews("one of the next hour", HOUR_MS), true);
  assert.equal(said.isNews("document 1001", HOUR_MS), false, "only as many as came into age");
  assert.equal(said.isNews("document 0", 2 * HOUR_MS), true, "what was forgotten is news again");
});

test("a clock that was set back makes nobody silent", () => {
  const said = new SaidOnce();
  for (let n = 0; n < 1000; n++) said.isNews(`document ${n}`, HOUR_MS);
  assert.equal(said.isNews("the next one", 0), true);
});
