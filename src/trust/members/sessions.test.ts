import assert from "node:assert/strict";
import { test } from "node:test";
import { at, CLUSTER, MINUTE, T0, testCluster, testNode } from "../cluster.fixture.ts";
import type { Command, Session } from "../document/documents.ts";
import { seal, type Envelope } from "../document/envelope.ts";
import { generateSigner, spkiDigestOf, type Signer } from "../keys/keys.ts";
import { openCommand, openSession } from "./sessions.ts";

const cluster = await testCluster();
const { alice, bob, charter } = cluster;
const tls = generateSigner();
const spki = spkiDigestOf(tls.pub);

const session = async (change: Partial<Session> = {}, signer: Signer = alice): Promise<Envelope> =>
  seal(
    "session.1",
    { cluster: CLUSTER, operator: alice.kid, key: spki, issued: at(0), expires: at(720), ...change },
    [signer],
  );

test("a session vouches for one TLS key of one operator, for half a day at most", async () => {
  assert.equal(openSession(charter, await session(), T0).body.operator, alice.kid);
  const cases: [Envelope, string, string][] = [
    [await session({}, bob), "DOC_UNSIGNED", "by another operator"],
    [await session({ operator: tls.kid }, tls), "UNKNOWN_CLIENT", "by no operator"],
    [await session({ expires: at(1) }), "CLOCK_SKEW", "over"],
    [await session({ expires: at(721) }), "UNKNOWN_CLIENT", "too long"],
    [await session({ issued: at(12) }), "DOC_FROM_FUTURE", "of the future"],
    [await session({ cluster: "d".repeat(32) }), "WRONG_CLUSTER", "elsewhere"],
  ];
  for (const [envelope, code, why] of cases)
    assert.throws(() => openSession(charter, envelope, T0 + MINUTE), { code }, why);
});

test("whose clock differs is said where a session is refused for it", async () => {
  const read = (envelope: Envelope) => () => openSession(charter, envelope, T0 + 15 * MINUTE);
  const set = "Set the clock of the machine that differs.";
  assert.throws(read(await session({ issued: at(1455) })), {
    message: `this session is dated ${at(1455)}, 1d ahead of the hub's clock, which says ${at(15)}`,
    hint: set,
  });
  assert.throws(read(await session({ expires: at(5) })), {
    message: `the session ended at ${at(5)}, and the hub's clock says ${at(15)}`,
    hint: set,
  });
});

test("a command is for minutes, for the nodes it names, and within the charter's leave", async () => {
  const web1 = await testNode(cluster, "web1");
  const base: Command = {
    cluster: CLUSTER,
    kind: "logs",
    app: "shop",
    env: "default",
    args: { follow: true, lines: 100, process: null },
    nodes: [web1.signer.kid],
    nonce: "ab".repeat(16),
    issued: at(0),
    expires: at(5),
  };
  const command = async (change: Partial<Command> = {}, signer: Signer = bob): Promise<Envelope> =>
    seal("command.1", { ...base, ...change }, [signer]);
  const context = { now: T0 + MINUTE, self: web1.signer.kid };
  openCommand(charter, await command(), context);
  openCommand(charter, await command({ expires: at(660) }), context);
  openCommand({ ...charter, commands: true }, await command({ kind: "exec" }), context);
  const longExec = await command({ kind: "exec", expires: at(6) });
  assert.throws(() => openCommand({ ...charter, commands: true }, longExec, context), {
    code: "ORDER_EXPIRED",
  });
  openCommand(charter, await command({ app: null, env: null }, alice), context);
  const cases: [Envelope, string, string][] = [
    [await command({ kind: "exec" }), "NOT_AUTHORISED", "ad-hoc commands are off"],
    [await command({ app: null, env: null }), "DOC_UNSIGNED", "no app: for admins only"],
    [await command({ app: "shop", env: null }), "DOC_UNSIGNED", "no environment: neither"],
    [await command({ kind: "cache-flush" }), "DOC_UNSIGNED", "all apps' cache, by who may deploy one"],
    [await command({ nodes: [alice.kid] }), "ORDER_NOT_FOR_NODE", "for another node"],
    [await command({ expires: at(1) }), "ORDER_EXPIRED", "over"],
    [await command({ kind: "stop-instance", expires: at(6) }), "ORDER_EXPIRED", "too long"],
    [await command({ expires: at(721) }), "ORDER_EXPIRED", "too long even for a log"],
    [await command({ issued: at(12), expires: at(13) }), "DOC_FROM_FUTURE", "of the future"],
    [await command({}, generateSigner()), "DOC_UNSIGNED", "by a stranger"],
    [await command({ cluster: "d".repeat(32) }), "WRONG_CLUSTER", "of another cluster"],
  ];
  for (const [envelope, code, why] of cases)
    assert.throws(() => openCommand(charter, envelope, context), { code }, why);
});
