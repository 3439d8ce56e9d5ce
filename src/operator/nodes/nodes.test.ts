import assert from "node:assert/strict";
import test from "node:test";
import { MOST_TOGETHER } from "../../api/together.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { MOST_FLOORS } from "../../trust/document/documents.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { cluster } from "../cluster.fixture.ts";
import { floorsIn, invite, knownNodes, selectNodes } from "./nodes.ts";

const node = (name: string, labels: Record<string, string> = {}): { identity: Identity } => ({
  identity: { node: name.padEnd(32, "0") as KeyId, name, labels } as unknown as Identity,
});
const NODES = [node("web1", { canary: "true" }), node("web2"), node("db", { web1x: "true" })];

const CASES: readonly [asked: string, signed: string, nodes: string[]][] = [
  ["web1", "name=web1", ["web1"]],
  ["canary", "canary=true", ["web1"]],
  ["web*", "name=web*", ["web1", "web2"]],
  ["!web1 & all", "!name=web1 & all", ["web2", "db"]],
  ["all", "all", ["web1", "web2", "db"]],
];

for (const [asked, signed, names] of CASES) {
  test(`the selector ${asked} is signed as ${signed}`, () => {
    const { selector, nodes } = selectNodes(NODES, asked);
    assert.equal(selector, signed);
    assert.deepEqual(
      nodes.map(({ identity }) => identity.name),
      names,
    );
    assert.deepEqual(selectNodes(NODES, selector).nodes, nodes, "and means the same when read again");
  });
}

test("what names no node is refused with its reason", () => {
  assert.throws(() => selectNodes(NODES, "nosuch"), { code: "NODE_NOT_FOUND" });
  assert.throws(() => selectNodes(NODES, "role=none"), { code: "SELECTION_EMPTY" });
  assert.throws(() => selectNodes([], "all"), { code: "SELECTION_EMPTY", hint: /node invite/ });
  assert.throws(() => selectNodes([...NODES, node("canary")], "canary"), { code: "SELECTOR_AMBIGUOUS" });
});

test("a node whose successor could not be invited is still a member", async (t) => {
  const { operator, absent, signal } = await cluster(t);
  await absent("web1", { role: "web" });
  const fails = async (): Promise<never> =>
    await Promise.reject(new SkeinError("HUB_UNREACHABLE", "it went away"));
  const client = new Proxy(operator.client, {
    get(target, key) {
      if (key === "postTicket") return fails;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  const wish = { name: null, labels: {}, validMs: 60_000, replace: "web1" };
  await assert.rejects(invite({ ...operator, client }, wish, signal), { code: "HUB_UNREACHABLE" });
  const { replaced } = await invite(operator, wish, signal);
  assert.notEqual(replaced, null);
  assert.deepEqual(await knownNodes(operator, signal), []);
});

test("an operator who sees a large cluster for the first time is told of all its nodes", async (t) => {
  const { absent, operator, signal } = await cluster(t);
  const names = Array.from({ length: MOST_TOGETHER + 1 }, (_, n) => `web${n}`).toSorted();
  await Promise.all(names.map(async (name) => await absent(name)));
  const known = await knownNodes(operator, signal);
  assert.deepEqual(
    known.map(({ identity }) => identity.name),
    names,
  );
});

test("of more apps than a ticket has room for, those that run have a floor, and those that were stopped last", () => {
  const apps = Array.from({ length: MOST_FLOORS + 100 }, (_, n) => ({
    app: `pr-${n}`,
    env: "default",
    epoch: 0,
    seq: n,
    state: n < 200 ? ("run" as const) : ("stopped" as const),
    issued: new Date(n).toISOString(),
  })).map((app) => ({ ...app, least: { epoch: 0, seq: app.seq } }));
  const floors = floorsIn(apps);
  assert.equal(Object.keys(floors).length, MOST_FLOORS);
  assert.deepEqual(
    [0, 199, 200, 299, 300, MOST_FLOORS + 99].map((n) => floors[`pr-${n}/default`]?.seq),
    [0, 199, undefined, undefined, 300, MOST_FLOORS + 99],
  );
  assert.equal(Object.keys(floorsIn(apps.slice(0, 10))).length, 10);
});
