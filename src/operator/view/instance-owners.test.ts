import assert from "node:assert/strict";
import { test } from "node:test";
import type { PortEntry } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { ownersOf } from "./instance-owners.ts";

const HERE = "a".repeat(32) as KeyId;
const THERE = "b".repeat(32) as KeyId;

const entry = (app: string, instance: string, node = HERE): PortEntry =>
  ({ app, instance: `${app}.${instance}.33333333`, release: "3".repeat(32), node }) as PortEntry;

const TABLE = [
  entry("shop", "web.1"),
  entry("shop", "worker.1"),
  entry("bank", "web.1"),
  entry("mail", "worker.1"),
  entry("pics", "web.1", THERE),
];
const APPS = ["bank", "conf", "mail", "pics", "shop"];

test("an instance may be of those apps alone that have one of its name on that node", () => {
  assert.deepEqual(ownersOf(APPS, TABLE, HERE, "web.1"), ["bank", "shop"]);
  assert.deepEqual(ownersOf(APPS, TABLE, HERE, "worker.1"), ["mail", "shop"]);
  assert.deepEqual(ownersOf(APPS, TABLE, HERE, "shop.web.1.33333333"), ["shop"]);
});

test("where the table has none of that name, it may be of any app", () => {
  assert.deepEqual(ownersOf(APPS, TABLE, HERE, "web.2"), APPS);
});
