import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { release, T0 } from "../../trust/cluster.fixture.ts";
import type { AppState, NodeState } from "../../trust/node/node-state.ts";
import type { Serial } from "../../trust/orders/orders.ts";
import { heldGoal, heldNow, isHeld, readHold, settled, writeHold, type Asked, type Hold } from "./hold.ts";
import { newRecord, withVerdict, type AppRecord } from "./records.ts";

const [first, second] = [release(1), release(2)];
const asked = (of: Partial<Asked> = {}): Asked => ({
  env: "default",
  release: first,
  over: { epoch: 0, seq: 5 },
  at: new Date(T0).toISOString(),
  ...of,
});
const held = (of: Partial<Hold> = {}): Hold => ({ ...asked(), before: null, ...of });
const RECORD = newRecord("shop", "default");

/** A node whose newest order of shop has this serial. */
function nodeAt(head: Serial | null, env = "default"): NodeState {
  const app = { app: "shop", env, head } as AppState;
  return { apps: { [`shop/${env}`]: app } } as unknown as NodeState;
}
const AT_FIVE = nodeAt({ epoch: 0, seq: 5 });

/** As `record` is once what was asked for came to `verdict`. */
function ended(one: Asked, verdict: "ok" | "failed", record = RECORD): AppRecord {
  const goal = heldGoal({ ...one, before: null }, record, AT_FIVE);
  assert.ok(goal);
  return withVerdict(record, goal.order, verdict);
}

test("what was asked for on a node counts until an order comes that is newer than it was then", () => {
  const over = (serial: Serial | null, head: Serial | null): boolean =>
    isHeld(asked({ over: serial }), "shop", nodeAt(head));
  assert.equal(over(null, null), true);
  assert.equal(over({ epoch: 0, seq: 5 }, null), true, "a node that lost its orders");
  assert.equal(over({ epoch: 0, seq: 5 }, { epoch: 0, seq: 5 }), true);
  assert.equal(over({ epoch: 0, seq: 5 }, { epoch: 0, seq: 4 }), true);
  assert.equal(over({ epoch: 0, seq: 5 }, { epoch: 0, seq: 6 }), false);
  assert.equal(over({ epoch: 0, seq: 5 }, { epoch: 1, seq: 1 }), false);
  assert.equal(over(null, { epoch: 0, seq: 1 }), false, "the first order ever");
  assert.equal(isHeld(asked({ over: null }), "shop", nodeAt({ epoch: 0, seq: 1 }, "staging")), true);
});

test("what failed gives way to what was held before it, and that to the order", () => {
  const before = asked({ release: second });
  const hold = held({ before });
  const { before: _, ...now } = hold;
  assert.equal(heldNow(null, RECORD, AT_FIVE), null);
  assert.deepEqual(heldNow(hold, RECORD, AT_FIVE), now);
  assert.deepEqual(heldNow(hold, ended(now, "ok"), AT_FIVE), now);
  const failed = ended(now, "failed");
  assert.deepEqual(heldNow(hold, failed, AT_FIVE), before);
  assert.equal(heldNow(held(), failed, AT_FIVE), null);
  assert.equal(heldNow(hold, ended(before, "failed", failed), AT_FIVE), null);
  const again = { ...now, at: new Date(T0 + 1).toISOString() };
  assert.deepEqual(
    heldNow({ ...again, before }, failed, AT_FIVE),
    again,
    "asked for once more, it is tried again",
  );
});

test("a hold is kept without what does not count any more", () => {
  const before = asked({ release: second });
  const hold = held({ before });
  assert.equal(settled(null, RECORD, AT_FIVE), null);
  assert.equal(settled(hold, RECORD, AT_FIVE), hold);
  assert.deepEqual(settled(hold, ended(asked(), "failed"), AT_FIVE), { ...before, before: null });
  assert.equal(settled(hold, RECORD, nodeAt({ epoch: 0, seq: 6 })), null);
  const later = asked({ at: new Date(T0 + 1).toISOString() });
  const twice = { ...later, before: asked() };
  assert.deepEqual(
    settled(twice, ended(later, "failed"), AT_FIVE),
    held(),
    "the same release, asked for earlier",
  );
});

test("the goal of a hold is to run that release here, at once and by nobody's order", () => {
  const reached = {
    order: "f".repeat(64),
    release: second,
    state: "run",
    generation: 3,
    beside: [],
  } as const;
  const record = { ...RECORD, reached } as unknown as AppRecord;
  assert.equal(heldGoal(held(), record, nodeAt({ epoch: 0, seq: 6 })), undefined);
  const goal = heldGoal(held(), record, AT_FIVE);
  assert.match(goal?.order ?? "", /^[0-9a-f]{64}$/);
  assert.deepEqual(goal, {
    order: goal?.order,
    release: first,
    state: "run",
    generation: 3,
    beside: [],
    hooks: true,
    back: false,
    go: true,
    everywhere: true,
    local: true,
    answers: { epoch: 0, seq: 5, release: first },
  });
  const other = heldGoal(held({ at: new Date(T0 + 1).toISOString() }), RECORD, AT_FIVE);
  assert.notEqual(other?.order, goal?.order, "each asking is one of its own");
  const bare = heldGoal(held({ over: null }), RECORD, nodeAt(null));
  assert.deepEqual([bare?.generation, bare?.answers.seq], [0, 0]);
});

test("a hold outlives the process; a damaged one holds nothing, and none is none", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, "hold.json");
  assert.equal(await readHold(file), null);
  await writeHold(file, null);
  await writeHold(file, held({ before: asked({ release: second }) }));
  assert.deepEqual(await readHold(file), held({ before: asked({ release: second }) }));
  const { before: _, ...older } = held();
  fs.writeFileSync(file, JSON.stringify(older));
  assert.deepEqual(await readHold(file), held(), "from before a hold remembered the one before it");
  for (const damage of ["", "{", JSON.stringify({ ...held(), more: 1 })]) {
    fs.writeFileSync(file, damage);
    assert.equal(await readHold(file), null, damage);
  }
  await writeHold(file, null);
  assert.equal(fs.existsSync(file), false);
});
