import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Digest, ReleaseId } from "../lib/text/ids.ts";
import { charterName, orderName, releaseName, releasePlace } from "./layout.ts";
import { appIn, orderIn, parseRoot, rootOf, rootText } from "./root.ts";

const id = (n: number): ReleaseId => n.toString(16).padStart(32, "0") as ReleaseId;
const made = (n: number): string => releaseName(releasePlace("shop", 1_800_000_000_000 + n * 1000, id(n)));
const ordered = (seq: number, env = "default", digest: Digest | null = null): string =>
  orderName({ app: "shop", env, epoch: 0, seq, digest });

test("a root names the newest order of each environment and the newest releases", () => {
  const root = rootOf([
    made(1),
    made(4),
    made(2),
    made(3),
    ordered(9),
    ordered(10),
    ordered(2, "prod"),
    charterName(2),
  ]);
  assert.equal(root.charter, 2);
  assert.deepEqual(root.apps["shop"]?.orders, { default: ordered(10), prod: ordered(2, "prod") });
  assert.deepEqual(root.apps["shop"]?.releases.newest, [made(4), made(3), made(2)]);
  assert.equal(root.apps["shop"]?.releases.count, 4);
});

test("of two orders with one serial everybody names the same", () => {
  const [a, b] = [
    ordered(3, "default", "a".repeat(64) as Digest),
    ordered(3, "default", "b".repeat(64) as Digest),
  ];
  assert.equal(rootOf([a, b]).apps["shop"]?.orders["default"], a);
  assert.equal(rootOf([b, a]).apps["shop"]?.orders["default"], a);
});

test("strange names in the bucket change nothing", () => {
  assert.deepEqual(rootOf(["releases/x", "orders/README", "root.json", made(1)]), rootOf([made(1)]));
});

test("an app or an environment that a root does not name is none, also when every object has one of its name", () => {
  const called = { app: "constructor", env: "constructor", epoch: 0, seq: 1, digest: null };
  assert.equal(appIn(rootOf([made(1)]), "constructor"), undefined);
  assert.equal(orderIn(rootOf([ordered(1)]), "shop", "constructor"), undefined);
  const root = rootOf([orderName(called)]);
  assert.equal(appIn(root, "constructor")?.releases.count, 0);
  assert.equal(orderIn(root, "constructor", "constructor"), orderName(called));
});

test("a root depends on what is there and not on the order it is listed in", () => {
  const other = releaseName(releasePlace("blog", 1_800_000_000_000, id(1)));
  const names = [made(1), made(7), ordered(1), ordered(2), ordered(1, "prod"), other, charterName(1)];
  fc.assert(
    fc.property(fc.shuffledSubarray(names, { minLength: names.length }), (shuffled) => {
      assert.equal(rootText(rootOf(shuffled)), rootText(rootOf(names)));
    }),
  );
  assert.notEqual(rootText(rootOf(names)), rootText(rootOf(names.slice(1))));
});

test("a root is read as it was written, and anything else is refused", () => {
  const root = rootOf([made(1), ordered(1), charterName(1)]);
  assert.deepEqual(parseRoot(Buffer.from(rootText(root))), root);
  for (const text of [
    "",
    "null",
    "{}",
    rootText({ ...root, format: 2 as unknown as 1 }),
    `${rootText(root)}x`,
  ]) {
    assert.throws(() => parseRoot(Buffer.from(text)), { code: "DOC_MALFORMED" });
  }
});

test("a root grows with packages and not with their history", () => {
  const few = rootText(rootOf([1, 2, 3, 4].map(made)));
  const many = rootText(rootOf(Array.from({ length: 2000 }, (_, n) => made(n))));
  assert.ok(many.length < few.length + 10, `${few.length} ${many.length}`);
});
