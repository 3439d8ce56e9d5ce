import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { isSkewed, leastAheadMs, nextCharter, openChain, openCharter } from "./charter.ts";
import { at, keyRecords, MINUTE, T0, testCluster, type TestCluster } from "../cluster.fixture.ts";
import type { Charter } from "../document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../document/envelope.ts";
import { generateSigner, keyIdOf, type Signer } from "../keys/keys.ts";
import { allows, keysWith, mayDeploy, quorumOf, releaseKeys } from "./rights.ts";

const cluster = await testCluster();
const next = async (
  change: Partial<Charter>,
  signers: readonly Signer[],
  from: TestCluster = cluster,
): Promise<Envelope> =>
  seal(
    "charter.1",
    { ...from.charter, version: from.charter.version + 1, issued: at(0), ...change },
    signers,
  );
const refusal = (envelope: Envelope, code: string, why?: string): void =>
  assert.throws(() => nextCharter(cluster.charter, envelope, T0), { code }, why);

test("the first charter is known by its fingerprint and signed by its own recovery keys", async () => {
  assert.deepEqual(openCharter(cluster.envelope, cluster.pin).body, cluster.charter);
  assert.throws(() => openCharter(cluster.envelope, "0".repeat(64) as Digest), { code: "CHARTER_PIN" });
  const byAdmin = await seal("charter.1", cluster.charter, [cluster.alice]);
  assert.throws(() => openCharter(byAdmin, cluster.pin), { code: "DOC_UNSIGNED" });
  const second = await next({}, [cluster.recovery]);
  assert.throws(() => openCharter(second, digestOfEnvelope(second)), { code: "CHARTER_PIN" });
});

test("recovery may change everything, with its old and its new keys", async () => {
  const fresh = generateSigner();
  const change = {
    epoch: 1,
    recovery: { keys: [fresh.kid], threshold: 1 },
    keys: keyRecords(fresh, cluster.alice),
    operators: { [cluster.alice.kid]: { name: "alice", allow: ["admin"] } },
  };
  const both = await next(change, [cluster.recovery, fresh]);
  assert.equal(nextCharter(cluster.charter, both, T0).body.epoch, 1);
  refusal(
    await next(change, [cluster.recovery]),
    "DOC_UNSIGNED",
    "the new keys must prove that they are held",
  );
  refusal(await next(change, [fresh]), "DOC_UNSIGNED", "the old keys hand over");
});

test("a threshold of recovery keys is needed, each counted once", async () => {
  const [a, b, c] = [generateSigner(), generateSigner(), generateSigner()];
  const base = await testCluster();
  const keys = { ...base.charter.keys, ...keyRecords(a, b, c) };
  const three: Charter = { ...base.charter, keys, recovery: { keys: [a.kid, b.kid, c.kid], threshold: 2 } };
  const changed = (signers: Signer[]): Promise<Envelope> =>
    seal("charter.1", { ...three, version: 2, epoch: 1 }, signers);
  const one = await changed([a]);
  assert.throws(() => nextCharter(three, one, T0), { code: "DOC_UNSIGNED" });
  const [signature] = one.s;
  assert.ok(signature);
  assert.throws(() => nextCharter(three, { ...one, s: [signature, signature] }, T0), {
    code: "DOC_UNSIGNED",
  });
  const two = await changed([a, c]);
  assert.equal(nextCharter(three, two, T0).body.version, 2);
});

test("an admin may change operators, builders and hubs, and raise a quorum", async () => {
  const carol = generateSigner();
  const change: Partial<Charter> = {
    keys: keyRecords(cluster.recovery, cluster.alice, carol),
    operators: {
      [cluster.alice.kid]: cluster.charter.operators[cluster.alice.kid] ?? { name: "", allow: [] },
      [carol.kid]: { name: "carol", allow: ["deploy:shop/prod"] },
    },
    builders: { [carol.kid]: { name: "ci", apps: ["shop"] } },
    hubs: { ["ab".repeat(32)]: ["hub1:7878"] },
    quorum: { "shop/prod": 2 },
  };
  const { body } = nextCharter(cluster.charter, await next(change, [cluster.alice]), T0);
  assert.equal(mayDeploy(body, carol.kid, "shop", "prod"), true);
  assert.equal(mayDeploy(body, cluster.bob.kid, "shop", "prod"), false);
});

test("an admin may not touch what the others' trust hangs on", async () => {
  const { alice, bob, charter, recovery } = cluster;
  const lines = charter.operators;
  const stolen = generateSigner();
  const guarded: Record<string, Partial<Charter>> = {
    epoch: { epoch: 1 },
    expires: { expires: at(60 * 24 * 7300) },
    commands: { commands: true },
    limits: { limits: { files: 1_000_000 } },
    recovery: { recovery: { keys: [alice.kid], threshold: 1 } },
    "another admin": { operators: { ...lines, [bob.kid]: { name: "bob", allow: ["admin"] } } },
    "no admin": { operators: { [bob.kid]: lines[bob.kid] ?? { name: "", allow: [] } } },
    "more rights for the admin": {
      operators: { ...lines, [alice.kid]: { name: "alice", allow: ["admin", "deploy:skein-agent/*"] } },
    },
    "recovery's key under another algorithm": {
      keys: { ...keyRecords(alice, bob), ...keyRecords({ ...stolen, alg: "raw" }) },
      recovery: { keys: [stolen.kid], threshold: 1 },
    },
  };
  for (const [why, change] of Object.entries(guarded)) {
    refusal(await next(change, [alice]), "NOT_AUTHORISED", why);
    if (change.recovery === undefined) nextCharter(charter, await next(change, [recovery]), T0);
  }
  refusal(await next({ hubs: {} }, [bob]), "DOC_UNSIGNED", "an operator who is no admin");
});

test("what an admin may not change may be written down in any order", async () => {
  const { alice, bob, charter } = cluster;
  const admins = [alice, bob].map(({ kid }): [KeyId, Charter["operators"][KeyId]] => [
    kid,
    { name: "an admin", allow: ["admin"] },
  ]);
  const limits = Object.entries({ files: 3, bytes: 4 });
  const one: Charter = {
    ...charter,
    operators: Object.fromEntries(admins),
    limits: Object.fromEntries(limits),
  };
  const two: Charter = {
    ...one,
    version: 2,
    operators: Object.fromEntries(admins.toReversed()),
    limits: Object.fromEntries(limits.toReversed()),
  };
  assert.equal(nextCharter(one, await seal("charter.1", two, [alice]), T0).body.version, 2);
});

test("an admin may go on with commands that were allowed, and forbid them", async () => {
  const { alice, charter } = cluster;
  const allowed: Charter = { ...charter, commands: true };
  for (const commands of [true, false]) {
    const following = await seal("charter.1", { ...allowed, version: 2, commands }, [alice]);
    assert.equal(nextCharter(allowed, following, T0).body.commands, commands);
  }
});

test("an admin may not lower a quorum", async () => {
  const strict: Charter = { ...cluster.charter, quorum: { "shop/prod": 2 } };
  const lowered = await seal("charter.1", { ...strict, version: 2, quorum: {} }, [cluster.alice]);
  assert.throws(() => nextCharter(strict, lowered, T0), { code: "NOT_AUTHORISED" });
  const raised = await seal("charter.1", { ...strict, version: 2, quorum: { "shop/prod": 3 } }, [
    cluster.alice,
  ]);
  assert.equal(quorumOf(nextCharter(strict, raised, T0).body, "shop", "prod"), 3);
  const kept = await seal("charter.1", { ...strict, version: 2 }, [cluster.alice]);
  assert.equal(quorumOf(nextCharter(strict, kept, T0).body, "shop", "prod"), 2);
});

test("charters follow one by one, in one cluster, and not from the future", async () => {
  refusal(await next({ version: 3 }, [cluster.recovery]), "CHARTER_ROLLBACK");
  refusal(await next({ version: 1 }, [cluster.recovery]), "CHARTER_ROLLBACK");
  refusal(await next({ cluster: "d".repeat(32) }, [cluster.recovery]), "WRONG_CLUSTER");
  refusal(await next({ issued: at(11) }, [cluster.recovery]), "DOC_FROM_FUTURE");
  const second = await next({}, [cluster.alice]);
  assert.equal(openChain([cluster.envelope, second], cluster.pin, T0).body.version, 2);
  const epoch1: Charter = { ...cluster.charter, epoch: 1 };
  const back = await seal("charter.1", { ...epoch1, version: 2, epoch: 0 }, [cluster.recovery]);
  assert.throws(() => nextCharter(epoch1, back, T0), { code: "CHARTER_ROLLBACK" });
});

test("clocks are ten minutes apart at most, by what is certain about them", () => {
  const tenMinutes = 600_000;
  assert.deepEqual([null, 0, tenMinutes, -tenMinutes, tenMinutes + 1, -tenMinutes - 1].map(isSkewed), [
    false,
    false,
    false,
    false,
    true,
    true,
  ]);
  assert.deepEqual(
    [99, 100, 150, 200, 201].map((at) => leastAheadMs(at, 100, 200)),
    [-1, 0, 0, 0, 1],
  );
});

test("an expired charter can be followed by the next one", async () => {
  const renewed = await next({ issued: at(60 * 24 * 731), expires: at(60 * 24 * 1461) }, [cluster.recovery]);
  const later = T0 + 60 * 24 * 731 * MINUTE;
  assert.equal(nextCharter(cluster.charter, renewed, later).body.version, 2);
});

test("a charter that does not fit together is malformed", async () => {
  const { alice, bob, recovery, charter } = cluster;
  const asSsh = { alg: "sshsig", pub: alice.pub } as const;
  const bad: Record<string, Partial<Charter>> = {
    "a key under another's id": { keys: { ...charter.keys, [alice.kid]: { alg: "raw", pub: bob.pub } } },
    "another key under an id": {
      keys: { ...charter.keys, [alice.kid]: { alg: "raw", pub: generateSigner().pub } },
    },
    "one key with two ids": { keys: { ...charter.keys, [keyIdOf(asSsh)]: asSsh } },
    "threshold out of reach": { recovery: { keys: [recovery.kid], threshold: 2 } },
    "threshold of none": { recovery: { keys: [recovery.kid], threshold: 0 } },
    "a recovery key twice": { recovery: { keys: [recovery.kid, recovery.kid], threshold: 2 } },
    "an unknown recovery key": { recovery: { keys: [generateSigner().kid], threshold: 1 } },
    "an unknown recovery key beside another": {
      recovery: { keys: [recovery.kid, generateSigner().kid], threshold: 1 },
    },
    "an operator without a key beside others": {
      operators: { ...charter.operators, [generateSigner().kid]: { name: "x", allow: [] } },
    },
    "a builder without a key": { builders: { [generateSigner().kid]: { name: "ci", apps: ["*"] } } },
    "an operator without a key": { operators: { [generateSigner().kid]: { name: "x", allow: [] } } },
    "an end before its beginning": { expires: at(-120) },
    "an end at its beginning": { expires: charter.issued },
    "an odd scope": { operators: { [alice.kid]: { name: "alice", allow: ["deploy:shop"] } } },
    "a scope with a space": { operators: { [alice.kid]: { name: "alice", allow: ["deploy:shop/prod "] } } },
    "a quorum of none": { quorum: { "shop/prod": 0 } },
    "a hub without a port": { hubs: { ["ab".repeat(32)]: ["hub1"] } },
    "a number that loses digits": { epoch: 2 ** 53 },
    "a name that redraws the terminal": { operators: { [alice.kid]: { name: "alice\u001b[2J", allow: [] } } },
  };
  for (const [why, change] of Object.entries(bad)) {
    await assert.rejects(
      seal("charter.1", { ...charter, ...change }, [recovery]),
      { code: "DOC_MALFORMED" },
      why,
    );
  }
});

test("a scope to enrol names labels with their values", async () => {
  const { alice, recovery, charter } = cluster;
  const sealed = async (scope: string): Promise<unknown> =>
    await seal("charter.1", { ...charter, operators: { [alice.kid]: { name: "alice", allow: [scope] } } }, [
      recovery,
    ]);
  for (const good of ["enrol:*", "enrol:role=web", "enrol:role=*", "enrol:role=web,zone=a"])
    await sealed(good);
  const odd = [
    "enrol",
    "enrol:",
    "enrol:role",
    "enrol:role=",
    "enrol:=web",
    "enrol:role=web=x",
    "enrol:role=web,",
  ];
  for (const bad of [...odd, "enrol:role=we b", "enrol:Ro le=web", "enrol:role=web,zone", "Enrol:role=web"])
    await assert.rejects(sealed(bad), { code: "DOC_MALFORMED" }, bad);
});

test("scopes reach as far as they say", () => {
  const { alice, charter } = cluster;
  const having = (...allow: string[]): Charter => ({
    ...charter,
    operators: { [alice.kid]: { name: "a", allow } },
  });
  const may = (scope: string, app: string, env: string): boolean =>
    mayDeploy(having(scope), alice.kid, app, env);
  assert.equal(may("deploy:shop/prod", "shop", "prod"), true);
  assert.equal(may("deploy:shop/prod", "shop", "staging"), false);
  assert.equal(may("deploy:shop*/prod", "shop-api", "prod"), true);
  assert.equal(may("deploy:*/staging", "shop", "prod"), false);
  assert.equal(may("secrets:*/*", "shop", "prod"), false);
  assert.equal(may("admin", "shop", "prod"), false, "no right implies another");
  assert.equal(may("deploy:*/*", "skein-agent", "prod"), false, "Skein's own apps are named in full");
  assert.equal(may("deploy:skein-agent/*", "skein-agent", "prod"), true);
  assert.equal(mayDeploy(charter, generateSigner().kid, "shop", "prod"), false);
  const enrol = (scope: string, labels: Record<string, string>): boolean =>
    allows(having(scope), alice.kid, { kind: "enrol", labels });
  assert.equal(enrol("enrol:*", { role: "db" }), true);
  assert.equal(enrol("enrol:role=web,zone=*", { role: "web", zone: "a" }), true);
  assert.equal(enrol("enrol:role=web", { role: "web", zone: "a" }), false, "every label must be covered");
  assert.equal(enrol("enrol:role=web", {}), true);
  assert.equal(enrol("deploy:*/*", {}), false);
});

test("releases are signed by builders of the app or by who may deploy it", () => {
  const { alice, bob, charter } = cluster;
  const ci = generateSigner();
  const built: Charter = {
    ...charter,
    keys: { ...charter.keys, ...keyRecords(ci) },
    operators: {
      [alice.kid]: { name: "a", allow: ["deploy:shop/staging"] },
      [bob.kid]: { name: "b", allow: ["admin"] },
    },
    builders: { [ci.kid]: { name: "ci", apps: ["shop*"] } },
  };
  assert.deepEqual([...releaseKeys(built, "shop").keys()].sort(), [alice.kid, ci.kid].sort());
  assert.deepEqual([...releaseKeys(built, "shop-api").keys()], [ci.kid]);
  assert.equal(keysWith(built, { kind: "admin" }).size, 1);
});
