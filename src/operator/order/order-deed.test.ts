import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Order, Strategy } from "../../trust/document/documents.ts";
import { DEFAULTS } from "../../app/defaults.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import { orderDeed } from "./order-deed.ts";
import type { Draft, HeldOrder, Line } from "./order.ts";

const id = (letter: string): ReleaseId => letter.repeat(32) as ReleaseId;

const order = (more: Partial<Order>): Order =>
  ({
    app: "web",
    env: "prod",
    seq: 7,
    release: id("a"),
    state: "run",
    generation: 0,
    beside: [],
    selector: "all",
    strategy: { ...DEFAULTS.strategy, type: "all_at_once" } as Strategy,
    ...more,
  }) as Order;

const node = (name: string, release: ReleaseId | null, present = true): KnownNode =>
  ({ identity: { name }, present, apps: [{ app: "web", env: "prod", release }] }) as unknown as KnownNode;

function told(more: Partial<Order>, before: Partial<Order> | null, nodes: readonly KnownNode[]) {
  const head = before === null ? null : ({ order: order(before) } as HeldOrder);
  const line = { head, standing: head, takenBack: false } as Line;
  const deed = orderDeed({ order: order(more), nodes } as Draft, line);
  return [deed.text, ...(deed.rows ?? []).map((row) => row.join(" ").trim())];
}

const A = "web@aaaaaaaa";
const ROLLING = { ...DEFAULTS.strategy, batch: 1 } as Strategy;

test("an order is told as what it makes of each node", () => {
  assert.deepEqual(told({ strategy: ROLLING }, null, [node("n1", null), node("n2", id("b"), false)]), [
    `order #7 of web/prod: ${A} would run on 2 nodes, 1 at a time`,
    `n1 nothing -> ${A}`,
    `n2 web@bbbbbbbb -> ${A} absent`,
  ]);
  assert.deepEqual(told({ state: "stopped" }, {}, [node("n1", id("a")), node("n2", null)]), [
    `order #7 of web/prod: ${A} would be stopped on 2 nodes`,
    `n1 ${A} -> stopped`,
    "n2 nothing as it is",
  ]);
  assert.deepEqual(told({ generation: 1 }, {}, [node("n1", id("a"))]), [
    `order #7 of web/prod: ${A} would be restarted on 1 node`,
    `n1 ${A} -> new instances`,
  ]);
  assert.deepEqual(told({ beside: [id("b")] }, {}, [node("n1", id("a"))]), [
    `order #7 of web/prod: ${A} would run, beside web@bbbbbbbb, on 1 node`,
    `n1 ${A} as it is`,
  ]);
  assert.deepEqual(told({ selector: "role=web" }, {}, []), [
    `order #7 of web/prod: ${A} would run where role=web is true`,
  ]);
});
