import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import type { HubClient } from "../../api/hub-client.ts";
import type { OrderSummary } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { writeTree } from "../../release/release.fixture.ts";
import { cluster } from "../cluster.fixture.ts";
import { deploy } from "./deploy.ts";
import { earlier, inForce, rollback } from "./rollback.ts";

const id = (letter: string): ReleaseId => letter.repeat(32) as ReleaseId;

/** Orders as people tell a history: oldest first, `x!` was undone, `x~` is under way, `x<` was a rollback. */
function history(text: string): OrderSummary[] {
  const orders = text.split(" ").map((word, seq) => {
    const phase = word.endsWith("!") ? "undone" : word.endsWith("~") ? "running" : "ok";
    return { release: id(word.slice(0, 1)), state: "run", phase, seq: seq + 1, goesBack: word.endsWith("<") };
  });
  return orders.toReversed() as unknown as OrderSummary[];
}

const CASES: readonly [history: string, goesTo: string | undefined, why: string][] = [
  ["a b", "a", "the one before"],
  ["a b c", "b", "the one before, not the first"],
  ["a b c b<", "a", "again: one further back"],
  ["a b c d c< b<", "a", "a third time: three back"],
  ["a b a", "b", "deploying an old version is a deployment: what ran before it is b"],
  ["a b a b<", "a", "and back again is what ran before that"],
  ["a b c b< d", "b", "after a rollback and a deployment: what ran before the deployment"],
  ["a b c b< d b<", "a", "and then one further back"],
  ["a b b< c", "b", "a rollback to what runs changes nothing"],
  ["a b c< d", "c", "a rollback to a version that the history has forgotten counts as what ran"],
  ["a b c!", "a", "a failed deployment was undone to b, so b is what is left"],
  ["a b c! d!", "a", "two failures in a row change nothing"],
  ["a b a<", undefined, "a rollback moves back in the row, there is nothing before a"],
  ["a b c~", "b", "one under way is left for the last that ran well"],
  ["a", undefined, "the first has nothing before it"],
  ["a!", undefined, "nothing ever ran"],
  ["a a b", "a", "restarts are the same version"],
];

for (const [told, goesTo, why] of CASES) {
  test(`after "${told}" a rollback goes to ${goesTo ?? "nowhere"}: ${why}`, () => {
    const orders = history(told);
    const current = inForce(orders) ?? orders[0]!.release;
    assert.equal(earlier(orders, current), goesTo === undefined ? undefined : id(goesTo));
  });
}

test("what some nodes are taken back to that all others run goes on to be the app of all", async (t) => {
  const { dir, operator, options, absent, signal } = await cluster(t);
  for (const node of ["n1", "n2"]) await absent(node);
  const from = writeTree(path.join(dir, "shop"), { "readme.txt": "one" });
  const { order } = (await deploy(operator, options({ from }))).draft;
  const said: unknown[] = [];
  const postOrder: HubClient["postOrder"] = async (_order, _roster, _settle, _signal, how) => {
    said.push([how?.goesBack, how?.part]);
    throw new SkeinError("NOT_AUTHORISED", "seen enough");
  };
  const client = new Proxy(operator.client, {
    get: (target, name) => {
      const value: unknown = name === "postOrder" ? postOrder : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { app, env, release } = order;
  const wish = { app, env, release, attended: false, tell: () => undefined, signal };
  for (const selector of ["n2", null])
    await assert.rejects(rollback({ ...operator, client }, { ...wish, selector }), {
      code: "NOT_AUTHORISED",
    });
  assert.deepEqual(said, [
    [true, true],
    [true, false],
  ]);
});
