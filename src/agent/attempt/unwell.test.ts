import assert from "node:assert/strict";
import test from "node:test";
import type { Digest } from "../../lib/text/ids.ts";
import { Replaced, unwellOf as signOf, type Served, type Unwell } from "./unwell.ts";

const T = Date.parse("2026-11-28T12:00:00Z");
const iso = (seconds: number): string => new Date(T + seconds * 1000).toISOString();
const row = (
  instance: string,
  crashes = 0,
  code: number | null = null,
  seconds = 0,
  signal: string | null = null,
) => ({
  key: `shop/${instance}`,
  instance,
  crashes,
  exit: crashes === 0 ? null : { code, signal, at: iso(seconds) },
});

const ORDER = "ab".repeat(32) as Digest;
type Rows = Parameters<typeof signOf>[0];
const unwellOf = (rows: Rows, replaced: Replaced, served?: Served): Unwell | undefined =>
  signOf(rows, replaced, served).unwell;

test("of crashes and failed live checks the newest is told", () => {
  const replaced = new Replaced();
  assert.equal(unwellOf([], replaced), undefined);
  assert.equal(unwellOf([row("web.1"), row("web.2")], replaced), undefined);
  const crashed = [row("web.1", 1, 1, 5), row("web.2", 3, null, 7, "SIGSEGV"), row("web.3", 1, 2, 6)];
  assert.deepEqual(unwellOf(crashed, replaced), {
    at: iso(7),
    message: "web.2 ended by itself (ended by SIGSEGV), 3 times",
  });
  replaced.note(row("web.3"), "no answer", T + 8000);
  assert.deepEqual(unwellOf(crashed, replaced), { at: iso(8), message: "web.3 was replaced: no answer" });
  replaced.note(row("web.3"), "x".repeat(5000), T + 9000);
  assert.equal(unwellOf(crashed, replaced)?.message.length, 300, "what the hub takes");
  replaced.keep(new Set(["shop/web.1"]));
  assert.equal(unwellOf(crashed, replaced)?.at, iso(7));
});

test("an end that nobody saw, and one with status 0, say nothing of the release", () => {
  const replaced = new Replaced();
  assert.equal(unwellOf([row("web.1", 1, null, 5)], replaced), undefined);
  assert.equal(unwellOf([row("web.1", 4, 0, 5)], replaced), undefined);
});

test("a sign since an order's release serves is told with that order, an earlier one without", () => {
  const crashed = [row("web.1", 1, 1, 5)];
  const under = (seconds: number) =>
    unwellOf(crashed, new Replaced(), { order: ORDER, at: T + seconds * 1000 });
  assert.deepEqual(under(5), {
    at: iso(5),
    message: "web.1 ended by itself (exit status 1)",
    order: ORDER,
  });
  assert.equal(under(6)?.order, undefined);
});
