/** Commands that wait for nodes that are away. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import test from "node:test";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  at,
  charterWithOperator,
  joinNode,
  startTestHub,
  wantedUntil,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

async function stageFor(
  hub: TestHub,
  nodes: readonly TestNode[],
  more: object = {},
  signer = hub.cluster.operator,
): Promise<Envelope> {
  const body = {
    cluster: hub.cluster.id,
    kind: "stage",
    app: "shop",
    env: "default",
    args: { release: "a".repeat(32), document: "{}" },
    nodes: nodes.map(({ kid }) => kid),
    nonce: randomBytes(16).toString("hex"),
    issued: at(),
    expires: at(86_400_000),
    ...more,
  };
  return await seal("command.1", body, [signer]);
}

/** Hands a command in and leaves. */
async function handIn(hub: TestHub, command: Envelope): Promise<void> {
  for await (const line of hub.client.command(command, AbortSignal.timeout(PATIENCE_MS))) {
    assert.equal(line.type, "kept");
    break;
  }
}

async function answer({ client, kid }: TestNode, command: Envelope, ...lines: object[]): Promise<void> {
  const body = Readable.from(lines.map((line) => Buffer.from(`${JSON.stringify(line)}\n`)));
  await client.answerCommand(digestOfEnvelope(command), kid, body, AbortSignal.timeout(PATIENCE_MS));
}

const commandsOf = async ({ client }: TestNode): Promise<Envelope[]> => [
  ...((await client.wanted(undefined, 0))?.commands ?? []),
];

test("a command waits for its nodes when its reader has left, and over a restart of the hub", async (t) => {
  const first = await startTestHub(t);
  const [one, two] = [await joinNode(t, first, "web1"), await joinNode(t, first, "web2")];
  const command = await stageFor(first, [one, two]);
  await handIn(first, command);
  assert.deepEqual(await commandsOf(one), [command]);
  await answer(one, command, { type: "result", ok: true });
  assert.deepEqual(await commandsOf(one), [], "it has done it");

  const { cluster, home, port } = first;
  await first.closeHubOnly();
  const second = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port } });
  assert.deepEqual([await commandsOf(one), await commandsOf(two)], [[], [command]]);
  await answer(two, command, { type: "line" }, { type: "result", ok: false, code: "DISK_FULL" });
  assert.deepEqual(await commandsOf(two), [], "a node's no is an answer, too");
  assert.deepEqual((await second.hub.core.store.range("/commands/")).entries, [], "nothing is left of it");
});

test("an answer that is cut off is no answer: the node is handed the command again", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  await commandsOf(node); // so that it is present
  const command = await stageFor(hub, [node]);
  const got: string[] = [];
  for await (const line of hub.client.command(command, t.signal)) {
    got.push(line.type);
    if (line.type === "kept") {
      await wantedUntil(node.client, ({ commands }) => commands.length > 0);
      await answer(node, command, { type: "progress" });
    }
    if (line.type !== "cut") continue;
    assert.deepEqual(await commandsOf(node), [command]);
    await answer(node, command, { type: "result", ok: true });
  }
  assert.deepEqual(got, ["kept", "progress", "cut", "result"]);
});

test("who goes away before it begins is told, also where another one reads on, and is handed the command when it comes", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const [here, gone] = [await joinNode(t, hub, "here"), await joinNode(t, hub, "gone")];
  for (const node of [here, gone]) await commandsOf(node);
  const command = await stageFor(hub, [here, gone]);
  const away = [gone.kid, "cut", "NODES_SILENT"];
  const told = async (): Promise<unknown[]> => {
    for await (const { node, type, code } of hub.client.command(command, t.signal))
      if (type !== "kept") return [node, type, code];
    return [];
  };
  const first = told();
  while (hub.hub.commands.openFor(gone.kid).length === 0) await new Promise(setImmediate);
  for (let passed = 0; passed <= 31_000; passed += 1000) {
    clock.advance(1000);
    await commandsOf(here);
  }
  assert.deepEqual([await first, await told()], [away, away]);
  assert.deepEqual(await commandsOf(gone), [command]);
});

test("a command that is sent again is read on, whether the hub has seen its first reader go or not", async (t) => {
  const hub = await startTestHub(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  await commandsOf(two); // so that it is present
  const command = await stageFor(hub, [one, two]);
  await handIn(hub, command);
  await answer(one, command, { type: "result", ok: false, code: "DISK_FULL" });
  const left = hub.client.command(command, t.signal)[Symbol.asyncIterator]();
  assert.equal((await left.next()).value?.type, "kept", "of the one that is still to come");
  const got: unknown[] = [];
  for await (const line of hub.client.command(command, t.signal)) {
    got.push([line.node, line.type, line["code"]]);
    if (got.length < 2) continue;
    if (line.node === one.kid) await answer(two, command, { type: "result", ok: true });
  }
  assert.deepEqual(got, [
    [two.kid, "kept", undefined],
    [one.kid, "result", "DISK_FULL"],
    [two.kid, "result", undefined],
  ]);
  const rest = await Array.fromAsync({ [Symbol.asyncIterator]: () => left });
  assert.deepEqual(
    rest.map(({ type }) => type),
    ["result"],
    "the reader before hears what was for it, and of the end",
  );
  assert.deepEqual(await commandsOf(two), []);
});

test("who sends a command again to a hub that was restarted hears how it ended on others before", async (t) => {
  const first = await startTestHub(t);
  const nodes = [await joinNode(t, first, "web1"), await joinNode(t, first, "web2")];
  const [one, two, three] = [...nodes, await joinNode(t, first, "web3")] as [TestNode, TestNode, TestNode];
  const command = await stageFor(first, [one, two, three], { issued: at(-1000) });
  await handIn(first, command);
  await answer(one, command, { type: "staged" }, { type: "result", ok: false, code: "DISK_FULL" });
  const purge = { kind: "purge", args: { release: "a".repeat(32) }, expires: at(60_000) };
  await first.hub.commands.begin(await stageFor(first, [two], purge));
  const { cluster, home, port } = first;
  await first.closeHubOnly();
  const second = await startTestHub(t, { cluster, home, listen: { host: "127.0.0.1", port } });
  await commandsOf(three); // so that it is present
  const got = new Set<string>();
  for await (const line of second.client.command(command, t.signal)) {
    got.add([line.node, line.type, line["code"]].join(" "));
    if (got.size === 3) await answer(three, command, { type: "result", ok: true });
  }
  assert.deepEqual(
    got,
    new Set([
      `${three.kid} kept `,
      `${one.kid} result DISK_FULL`,
      `${two.kid} result CONFLICT`,
      `${three.kid} result `,
    ]),
  );
});

test("only the last three of an app and environment wait, and none after its time", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const node = await joinNode(t, hub, "web1");
  const commands: Envelope[] = [];
  for (let n = 0; n < 4; n++) {
    const command = await stageFor(hub, [node], { issued: at(n), expires: at(n + 60_000) });
    commands.push(command);
    await handIn(hub, command);
  }
  const other = await stageFor(hub, [node], { env: "prod", issued: at(-2000), expires: at(400) });
  await handIn(hub, other);
  const waiting = await commandsOf(node);
  assert.deepEqual(new Set(waiting), new Set([...commands.slice(1), other]));
  clock.advance(30_000);
  assert.equal((await commandsOf(node)).length, 3);
  const tooLong = await stageFor(hub, [node], { expires: at(8 * 86_400_000) });
  await assert.rejects(handIn(hub, tooLong), { code: "NOT_AUTHORISED" });
});

test("one operator's commands leave room for another's", async (t) => {
  const hub = await startTestHub(t);
  const bob = generateSigner();
  await hub.client.postCharter(await charterWithOperator(hub.cluster, bob, ["deploy:blog/*"]));
  const node = await joinNode(t, hub, "web1");
  const { commands } = hub.hub;
  const ofBob = async (env: string): Promise<Envelope> =>
    await stageFor(hub, [node], { app: "blog", env }, bob);
  for (let n = 0; n < 200; n++) await commands.begin(await ofBob(`env-${n}`));
  await assert.rejects(commands.begin(await ofBob("more")), { code: "TOO_MANY" });
  await handIn(hub, await stageFor(hub, [node]));
});

test("a purge ends what was to place the release on a node that is away, and nothing else", async (t) => {
  const hub = await startTestHub(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const [first, other] = [
    await stageFor(hub, [one, two], { issued: at(-1000) }),
    await stageFor(hub, [one], { issued: at(-1000), args: { release: "b".repeat(32), document: "{}" } }),
  ];
  for (const command of [first, other]) await handIn(hub, command);
  const purge = async (args: object): Promise<Envelope> =>
    await stageFor(hub, [one], {
      kind: "purge",
      args: { release: "a".repeat(32), ...args },
      expires: at(60_000),
    });
  const asked = await purge({ dry: true });
  await hub.hub.commands.begin(asked);
  assert.deepEqual(new Set(await commandsOf(one)), new Set([first, other, asked]));
  const purged = await purge({});
  await hub.hub.commands.begin(purged);
  assert.deepEqual(new Set(await commandsOf(one)), new Set([other, asked, purged]));
  assert.deepEqual(await commandsOf(two), [first], "it was purged from the other one alone");
  const again = await stageFor(hub, [one], { issued: at(1000) });
  await handIn(hub, again);
  assert.ok((await commandsOf(one)).some((command) => digestOfEnvelope(command) === digestOfEnvelope(again)));
});
