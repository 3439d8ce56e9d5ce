import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import test from "node:test";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import {
  at,
  joinNode,
  makeOrder,
  makeRelease,
  reportOf,
  rosterOf,
  startTestHub,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

async function endpointOf(hub: TestHub, node: TestNode, address: string, key = node.key): Promise<Envelope> {
  const where = { node: node.kid, key: key.pub, incarnation: 1, addresses: [address], at: at() };
  return await seal("endpoint.1", { cluster: hub.cluster.id, ...where }, [key]);
}

async function serves(hub: TestHub, node: TestNode, address: string): Promise<void> {
  await node.client.report(reportOf({ endpoint: await endpointOf(hub, node, address) }));
}

const listFor = async (node: TestNode, etag = "") =>
  (await node.client.call("peers", { query: { etag } })).peers;

test("a node is told who else is there and serves, and the same only once", async (t) => {
  const hub = await startTestHub(t);
  const one = await joinNode(t, hub, "one");
  const two = await joinNode(t, hub, "two");
  const silent = await joinNode(t, hub, "silent");
  await serves(hub, one, "10.0.0.1:7500");
  await serves(hub, two, "10.0.0.2:7500");
  await silent.client.report(reportOf());
  const { etag, peers } = await one.client.call("peers", { query: {} });
  assert.deepEqual(peers, [{ node: two.kid, address: "10.0.0.2:7500" }]);
  assert.equal(await listFor(one, etag), null);
  await serves(hub, two, "10.0.0.2:7501");
  assert.deepEqual(await listFor(one, etag), [{ node: two.kid, address: "10.0.0.2:7501" }]);
  await two.client.report(reportOf({ endpoint: null }));
  assert.deepEqual(await listFor(one), []);
});

test("only nodes that share an app are named, and nobody who was revoked", async (t) => {
  const hub = await startTestHub(t);
  const web1 = await joinNode(t, hub, "web1");
  const web2 = await joinNode(t, hub, "web2");
  const web3 = await joinNode(t, hub, "web3");
  const other = await joinNode(t, hub, "db1", { role: "db" });
  for (const node of [web1, web2, web3, other]) await serves(hub, node, "10.0.0.9:1");
  assert.equal((await listFor(web1))?.length, 3, "without any app, all");
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const roster = rosterOf([web1, web2, web3]);
  const order = await makeOrder(hub.cluster, release.id, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const names = async (): Promise<string[]> => ((await listFor(web1)) ?? []).map(({ node }) => node).sort();
  assert.deepEqual(await names(), [web2.kid, web3.kid].sort());
  assert.equal((await listFor(other))?.length, 3, "it has no app of its own");
  const body = { cluster: hub.cluster.id, node: web2.kid, reason: "gone", issued: at() };
  await hub.client.postRevocation(await seal("revoke.1", body, [hub.cluster.operator]));
  assert.deepEqual(await names(), [web3.kid]);
});

test("an endpoint that another key signed, or that is another node's, is taken for none", async (t) => {
  const hub = await startTestHub(t);
  const one = await joinNode(t, hub, "one");
  const two = await joinNode(t, hub, "two");
  await two.client.report(reportOf({ endpoint: await endpointOf(hub, one, "10.0.0.1:1") }));
  await two.client.report(reportOf({ endpoint: await endpointOf(hub, two, "10.0.0.1:1", generateSigner()) }));
  assert.deepEqual(await listFor(one), []);
});

test("a blob's pieces are hashed once, and anew when the blob came again", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "one");
  const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  const proofOf = async () => await node.client.call("depotPieces", { params: { blob: "deltas/a" } });
  for (const size of [300_000, 262_144, 5, 0]) {
    const bytes = randomBytes(size);
    const blob = {
      size,
      sha256: sha256(bytes),
      async *open() {
        yield bytes;
      },
    };
    await hub.hub.core.depot.put("deltas/a", blob, t.signal);
    hub.hub.peers.forget("deltas/a");
    const pieces = [bytes.subarray(0, 262_144), bytes.subarray(262_144)].filter(({ length }) => length > 0);
    const hashes = pieces.map((piece) => sha256(piece).slice(0, 32)).join("");
    assert.deepEqual(await proofOf(), { size, hashes });
  }
  const none = node.client.call("depotPieces", { params: { blob: "deltas/b" } });
  await assert.rejects(none, { code: "BLOB_MISSING" });
});

test("a small blob is given at once to who would take it whole, a larger one's hashes", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "one");
  for (const [size, whole, isGiven] of [
    [1000, 16_384, true],
    [16_384, 16_384, true],
    [16_385, 16_384, false],
    [1000, 999, false],
    [1000, 0, false],
    [0, 16_384, true],
  ] as const) {
    const bytes = randomBytes(size);
    const name = `deltas/${size}.${whole}`;
    const blob = {
      size,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      async *open() {
        yield bytes;
      },
    };
    await hub.hub.core.depot.put(name, blob, t.signal);
    const proven = await node.client.provenBlob(name, whole, t.signal);
    assert.equal(proven.size, size);
    assert.equal(proven.bytes !== undefined, isGiven, `${size} bytes for who takes ${whole}`);
    if (proven.bytes !== undefined) assert.ok(bytes.equals(proven.bytes));
  }
  const none = node.client.provenBlob("deltas/none", 16_384, t.signal);
  await assert.rejects(none, { code: "BLOB_MISSING" });
});

test("whoever asks while a blob comes again is told of the one before, and afterwards of the new one", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "one");
  const proofOf = async () => await node.client.call("depotPieces", { params: { blob: "index/a" } });
  const depot = httpDepot(hub.client);
  const sizes: number[] = [];
  for (const size of [300, 200]) {
    const bytes = randomBytes(size);
    const blob = {
      size,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      async *open() {
        yield bytes.subarray(0, 100);
        if (size === 200) sizes.push((await proofOf()).size);
        yield bytes.subarray(100);
      },
    };
    await depot.put("index/a", blob, t.signal);
  }
  sizes.push((await proofOf()).size);
  assert.deepEqual(sizes, [300, 200]);
});
