import assert from "node:assert/strict";
import test from "node:test";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { Contents, type AnswerStuff, type AppStuff } from "./contents.ts";

const envelope = (p: string): Envelope => ({ t: "order.1", p, s: [] });
const kid = (n: number): KeyId => String(n).padStart(32, "0") as KeyId;
const roster = { nodes: [{ node: kid(1), name: "web1", labels: {} }] };
const orders = { body: () => ({ roster: "r" }) as never, roster: async () => roster };

function app(name: string, stamp: string): AppStuff {
  const digest = "0".repeat(64) as Digest;
  const record = { digest, epoch: 0, seq: 1, order: envelope(name) };
  const settle = { settle: envelope("settle"), published: true, receipts: [envelope("receipt")] };
  const place = { app: name, env: "default" };
  return { place, records: [record], settles: [settle], releases: [], gates: { [digest]: "go" }, stamp };
}

function answer(ticket: string, more: Partial<AnswerStuff> = {}): AnswerStuff {
  const identity = { ticket: envelope(ticket), enrol: envelope("enrol"), label: null, revoke: null };
  const own = { incarnation: "1", catchingUp: false, members: 3, duplicate: false, charters: [], identity };
  return { own, ownStamp: ticket, apps: [app("shop", "shop1"), app("say", "say1")], commands: [], ...more };
}

test("in parts it is the very JSON that a node makes of what it reads", async () => {
  const contents = new Contents(orders);
  const commands = [envelope("command")];
  for (const stuff of [answer("a"), answer("b", { apps: [] }), answer("c", { commands })]) {
    const { content, fields } = await contents.of(kid(1), stuff);
    assert.equal(Buffer.concat(content.parts).toString(), JSON.stringify(fields));
    assert.deepEqual(Object.keys(fields).at(-1), "commands");
  }
});

test("what nodes are told alike is one part, and so is what one is told again", async () => {
  const contents = new Contents(orders);
  const [first, other, again] = [
    await contents.of(kid(1), answer("a")),
    await contents.of(kid(2), answer("b")),
    await contents.of(kid(1), answer("a", { apps: [app("shop", "shop2"), app("say", "say1")] })),
  ].map(({ content }) => content.parts);
  const same = (n: number): boolean[] => [first?.[n] === other?.[n], first?.[n] === again?.[n]];
  assert.deepEqual([0, 1, 3, 4].map(same), [
    [false, true],
    [true, false],
    [true, true],
    [true, true],
  ]);
});

test("a part that could not be made is made when it is asked for again", async () => {
  let fails = true;
  const flaky = {
    ...orders,
    roster: async () => (fails ? await Promise.reject(new Error("closed")) : roster),
  };
  const contents = new Contents(flaky);
  await assert.rejects(contents.of(kid(1), answer("a")), /closed/);
  fails = false;
  assert.equal((await contents.of(kid(1), answer("a"))).fields.apps.length, 2);
});
