import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { SkeinError } from "../../lib/errors/errors.ts";
import * as grammar from "./grammar.ts";

const none = { app: null, version: null, selector: null, from: null };
const DEPLOY: readonly (readonly [string, string, grammar.WordFlags, object])[] = [
  ["nothing: the manifest here", "", {}, none],
  ["one word: an app", "shop", {}, { ...none, app: "shop" }],
  ["two words: app and version", "shop v1.2", {}, { ...none, app: "shop", version: "v1.2" }],
  [
    "three words: app, selector, version",
    "shop role=web v1",
    {},
    { app: "shop", selector: "role=web", version: "v1", from: null },
  ],
  ["a path", "./app.tgz", {}, { ...none, from: path.resolve("app.tgz") }],
  ["a file's name with a dot", "server.bin", {}, { ...none, from: path.resolve("server.bin") }],
  ["this folder", ".", {}, { ...none, from: path.resolve(".") }],
  [
    "flags in place of words",
    "",
    { app: "shop", version: "v1", on: "a" },
    { ...none, app: "shop", version: "v1", selector: "a" },
  ],
  ["a word and a flag that agree", "shop", { app: "shop" }, { ...none, app: "shop" }],
  ["a source with an app's name", "shop", { from: "/x" }, { ...none, app: "shop", from: "/x" }],
];
for (const [name, words, flags, wanted] of DEPLOY) {
  test(`deploy, ${name}`, () => {
    assert.deepEqual(grammar.deployWords(words.split(" ").filter(Boolean), flags), wanted);
  });
}

const REFUSED: readonly (readonly [string, () => unknown, RegExp])[] = [
  ["too many words", () => grammar.deployWords(["a", "b", "c", "d"], {}), /too many words/],
  ["an app that is none", () => grammar.deployWords(["Shop"], {}), /no app's name/],
  ["the app twice", () => grammar.deployWords(["shop"], { app: "web" }), /given twice: shop and web/],
  [
    "the selector twice",
    () => grammar.deployWords(["shop", "a", "v"], { on: "b" }),
    /selector is given twice/,
  ],
  ["a version of a path", () => grammar.deployWords(["./x"], { version: "v" }), /has no version/],
  ["a version of nothing", () => grammar.deployWords([], { version: "v" }), /a version of which app/],
  ["a subject that is none", () => grammar.subject("Shop!", undefined), /neither APP/],
  ["a release without id", () => grammar.subject("shop@", undefined), /neither APP/],
  ["a label without name", () => grammar.labelWords(["=web"]), /no label/],
  ["a duration without unit", () => grammar.durationFlag("30"), /no duration/],
  ["a duration that no date can tell", () => grammar.durationFlag("99999999999h"), /over a hundred years/],
  ["no time", () => grammar.momentFlag("yesterday", 0), /no time/],
  ["a time before all dates", () => grammar.momentFlag("99999999999h", 0), /over a hundred years/],
  ["a time to come", () => grammar.momentFlag("1970-01-03", 0), /still to come/],
  ["no amount", () => grammar.amountFlag("many"), /no number of nodes/],
  ["more nodes than an order can say", () => grammar.amountFlag("9".repeat(20)), /no number of nodes/],
  ["no nodes at a time", () => grammar.amountFlag("0"), /no number of nodes, and no share/],
  ["a share that is none", () => grammar.amountFlag("0.0%"), /no number of nodes, and no share/],
  ["more than all nodes", () => grammar.amountFlag("100.5%"), /no number of nodes, and no share/],
  ["no port", () => grammar.hostPort("host", "h"), /no address/],
  ["a port too high", () => grammar.hostPort("h:70000", "h"), /no address/],
];
for (const [name, act, message] of REFUSED) {
  test(`refused with exit 2: ${name}`, () => {
    assert.throws(act, (err) => err instanceof SkeinError && err.exit === 2 && message.test(err.message));
  });
}

test("what cp cannot read is told in cp's own words", () => {
  assert.throws(() => grammar.deployWords(["a", "b", "c", "d"], {}, "cp"), { hint: /^skein cp \[APP/ });
  assert.throws(() => grammar.deployWords([], { version: "v2" }, "cp"), { hint: "skein cp APP v2" });
  assert.throws(() => grammar.deployWords(["My App"], {}), { hint: /as a path: \.\/My App$/ });
  assert.throws(() => grammar.deployWords(["3f9c2ab1"], {}, "cp"), { hint: /skein cp --version 3f9c2ab1;/ });
});

test("start, stop and restart act on an app, one of its releases, or an instance", () => {
  assert.deepEqual(grammar.subject(undefined, undefined), { kind: "app", app: null, release: null });
  assert.deepEqual(grammar.subject("shop@3f9c", undefined), { kind: "app", app: "shop", release: "3f9c" });
  const instance = { kind: "instance", instance: "web.1", process: "web", node: "node1.fra" };
  assert.deepEqual(grammar.subject("web.1@node1.fra", undefined), instance);
});

test("list shows everything, nodes, versions, or asks what a word is", () => {
  assert.deepEqual(grammar.listing(undefined), { kind: "all" });
  assert.deepEqual(grammar.listing("versions"), { kind: "versions" });
  const known = { apps: ["shop", "web"], names: ["web", "n1"] };
  assert.equal(grammar.appOrSelector("shop", known), "app");
  assert.equal(grammar.appOrSelector("n1", known), "selector");
  assert.equal(grammar.appOrSelector("role=web", known), "selector");
  assert.throws(() => grammar.appOrSelector("web", known), { code: "AMBIGUOUS" });
});

test("labels are set, made true, and taken away", () => {
  const changes = grammar.labelWords(["role=web", "canary", "zone-", "old="]);
  assert.deepEqual(changes, { role: "web", canary: "true", zone: null, old: null });
});

test("units of flags", () => {
  assert.equal(grammar.durationFlag("1h30m"), 5_400_000);
  assert.equal(grammar.durationFlag("1.1h"), 3_960_000);
  assert.equal(grammar.everyFlag("100ms"), 100);
  for (const text of ["0s", "99ms", "5"])
    assert.throws(() => grammar.everyFlag(text), { code: "USAGE" }, text);
  assert.equal(grammar.momentFlag("3d", 4 * 86_400_000), 86_400_000);
  assert.equal(grammar.momentFlag("2026-11-20", Date.parse("2026-11-21")), Date.parse("2026-11-20"));
  for (const text of ["2026-11-20T10:00Z", "2026-11-20 10:00:30", "2026-11-20T10:00:00.5+01:00"])
    assert.equal(grammar.momentFlag(text, Date.parse("2026-11-21")), Date.parse(text));
  for (const text of ["3", "2026", "shop 5", "2026-02-31", "2026-13-01", "11/20/2026", "2026-11-20T25:00Z"])
    assert.throws(() => grammar.momentFlag(text, 0), { code: "USAGE" }, text);
  assert.equal(grammar.amountFlag("25%"), "25%");
  assert.equal(grammar.amountFlag("3"), 3);
  assert.deepEqual(grammar.hostPort("7400", "0.0.0.0"), { host: "0.0.0.0", port: 7400 });
  assert.deepEqual(grammar.hostPort("[::1]:0", "h"), { host: "::1", port: 0 });
});

test("gc takes its count and age with or without dashes", () => {
  const { gcWords } = grammar;
  assert.deepEqual(gcWords([], {}), { app: null, count: null, older: null });
  assert.deepEqual(gcWords(["count", "3"], {}), { app: null, count: "3", older: null });
  assert.deepEqual(gcWords(["shop", "older", "2026-01-31", "count", "2"], {}), {
    app: "shop",
    count: "2",
    older: "2026-01-31",
  });
  const flagged = gcWords(["older", "3d"], { app: "count", count: "1" });
  assert.deepEqual(flagged, { app: "count", count: "1", older: "3d" });
  for (const bad of [["count"], ["a", "b"], ["count", "1", "count", "2"]]) {
    assert.throws(() => gcWords(bad, {}), { code: "USAGE" }, bad.join(" "));
  }
  assert.throws(() => gcWords(["count", "1"], { count: "2" }), { code: "USAGE" });
});
