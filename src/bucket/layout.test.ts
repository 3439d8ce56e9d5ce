import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest, ReleaseId } from "../lib/text/ids.ts";
import {
  charterName,
  charterVersionOf,
  compareOrders,
  isMeant,
  orderName,
  orderPlaceOf,
  packageOfFile,
  releaseName,
  releasePlace,
  releasePlaceOf,
  revisionOf,
  revisionWord,
} from "./layout.ts";

const ID = "3f9c2ab1".padEnd(32, "0") as ReleaseId;
const MADE = Date.parse("2026-11-28T03:15:02.917Z");

test("a package is the file's name up to the first dot", () => {
  const rows = [
    ["my_site.tgz", "my_site", "my-site"],
    ["my.site.tar.gz", "my", "my"],
    ["tool", "tool", "tool"],
    ["Shop2.v1.tar", "Shop2", "shop2"],
    ["my--site.tgz", "my--site", "my--site"],
  ] as const;
  for (const [file, name, app] of rows) assert.deepEqual(packageOfFile(file), { name, app });
});

test("packages that an app's name cannot tell apart are told apart all the same", () => {
  const long = "a-name-that-is-longer-than-any-app-may-be-called";
  const names = [
    "9lives",
    "lives",
    "\u00dcn\u00efcode",
    "n-code",
    "Odd Name!",
    "odd-name",
    "odd+name",
    `${long}-1`,
    `${long}-2`,
  ];
  const apps = names.map((name) => packageOfFile(`${name}.tgz`).app);
  assert.equal(new Set(apps).size, names.length, apps.join(" "));
  for (const app of apps) {
    assert.match(app, /^[a-z][a-z0-9-]{0,38}$/);
    assert.equal(packageOfFile(app).app, app, "and by that name they are found, too");
  }
  assert.equal(packageOfFile("U\u0308n\u00efcode").app, packageOfFile("\u00dcn\u00efcode").app);
});

test("a file whose name says nothing is refused, and crashes nobody", () => {
  for (const file of ["", ".profile", "...", "123", "_._", "new\nline.tgz", "bell\u0007.tgz"]) {
    assert.throws(() => packageOfFile(file), { code: "USAGE" });
  }
});

test("revisions sort by when they were made, and stand for one release", () => {
  const first = releasePlace("my-site", MADE, ID);
  const later = releasePlace("my-site", MADE + 1, "0".repeat(32) as ReleaseId);
  assert.equal(revisionOf(first), "20261128031502917-3f9c2ab1");
  assert.ok(revisionOf(first) < revisionOf(later));
  const twin = releasePlace("my-site", MADE, "3f9c2ab2".padEnd(32, "0") as ReleaseId);
  assert.notEqual(revisionOf(first), revisionOf(twin));
});

test("names lead back to what they name", () => {
  const place = releasePlace("my-site", MADE, ID);
  assert.deepEqual(releasePlaceOf(releaseName(place)), place);
  assert.equal(charterVersionOf(charterName(12)), 12);
  for (const digest of [null, "a".repeat(64) as Digest]) {
    const order = { app: "my-site", env: "default", epoch: 2, seq: 41, digest };
    assert.deepEqual(orderPlaceOf(orderName(order)), order);
  }
});

test("names of anything else are passed over, whatever the one thing is that is wrong with them", () => {
  const others = [
    `releases/My/20261128031502917-${ID}.json`,
    "releases/my/20261128031502917-x.json",
    `orders/My/default/0000000001-0000000000000001.json`,
    `orders/my/Default/0000000001-0000000000000001.json`,
    `orders/my/default/0000000001-${Number.MAX_SAFE_INTEGER + 1}.json`,
    "releases/a/b/20261128031502917-0.json",
    "orders/a/b/1-2.json",
    "orders/a/b/0000000001-0000000000000001.zz.json",
    "orders/a/0000000001-0000000000000001.json",
    "charters/1.json",
    "charters/latest.json",
  ];
  for (const name of others) {
    assert.equal(releasePlaceOf(name), undefined, name);
    assert.equal(orderPlaceOf(name), undefined, name);
    assert.equal(charterVersionOf(name), undefined, name);
  }
});

test("orders follow each other by serial, and of two with one serial the lower digest counts", () => {
  const order = (epoch: number, seq: number, digest: string | null) =>
    ({ app: "a", env: "b", epoch, seq, digest: digest as Digest | null }) as const;
  const rows = [order(0, 1, null), order(0, 2, "f"), order(0, 2, "a"), order(0, 10, null), order(1, 1, "c")];
  assert.deepEqual([...rows].reverse().sort(compareOrders), rows);
});

test("a revision is meant by its name, by the start of it and by the release's id", () => {
  const place = releasePlace("my-site", MADE, ID);
  for (const word of ["my_site.20261128031502917-3f9c2ab1", "my_site.20261128", "my-site@3f9c2ab1"]) {
    const { package: found, revision } = revisionWord(word);
    assert.equal(found.app, "my-site");
    assert.ok(isMeant(revision, place), word);
  }
  assert.ok(!isMeant("20261128031502918", place));
  for (const word of ["my_site", "my_site.", "my_site.x/../y", ".20261128"]) {
    assert.throws(() => revisionWord(word), { code: "USAGE", message: `${word} is no revision` });
  }
});
