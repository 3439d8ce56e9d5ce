/** Members that lie or overstep: what a node reports of others, and what an operator of one app does to all. */
import assert from "node:assert/strict";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { digestOf, type ReleaseId } from "../lib/text/ids.ts";
import { encodePack, packName } from "../release/tree/pack.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { digestOfEnvelope } from "../trust/document/envelope.ts";
import type { HubClient } from "../api/hub-client.ts";
import {
  at,
  charterWithOperator,
  joinNode,
  keyClient,
  makeCluster,
  makeOrder,
  makeReceipt,
  makeRelease,
  operatorClient,
  reportOf,
  rosterOf,
  startTestHub,
} from "./hub.fixture.ts";

const instance = (app: string, release: ReleaseId, name: string) => ({
  app,
  env: "default",
  release,
  commit: null,
  process: "db",
  instance: name,
  socket: "db",
  protocol: "tcp",
  host: "127.0.0.66",
  port: 5432,
  pid: 1,
  state: "serving",
  since: at(),
});

async function put(client: HubClient, name: string, bytes: Buffer): Promise<void> {
  const response = await client.raw({
    method: "PUT",
    path: `/v1/depot/blobs/${name}`,
    headers: {
      "upload-offset": "0",
      "upload-length": String(bytes.length),
      "upload-sha256": digestOf(bytes),
    },
    body: bytes,
  });
  response.resume();
}

test("a node's entries in the port table are of apps that some order gave it", async (t) => {
  const hub = await startTestHub(t);
  const [web, other] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "db1", { role: "db" })];
  const { envelope, id } = await makeRelease(hub.cluster, "shop", "v1");
  await hub.client.postRelease(envelope);
  const roster = rosterOf([web]);
  const order = await makeOrder(hub.cluster, id, roster);
  await hub.client.postOrder(order.envelope, roster, null);

  await web.client.report(reportOf({ instances: [instance("shop", id, "shop.db.1")] }));
  await other.client.report(reportOf({ instances: [instance("shop", id, "shop.db.2")] }));
  const { ports } = await hub.client.ports({ app: "shop" });
  assert.deepEqual(
    ports.map(({ nodeName }) => nodeName),
    ["web1"],
  );
});

test("a node that a later order leaves out keeps its entries while it drains", async (t) => {
  const hub = await startTestHub(t);
  const [one, two] = [await joinNode(t, hub, "web1"), await joinNode(t, hub, "web2")];
  const { envelope, id } = await makeRelease(hub.cluster, "shop", "v1");
  await hub.client.postRelease(envelope);
  const roster = rosterOf([one, two]);
  const first = await makeOrder(hub.cluster, id, roster);
  await hub.client.postOrder(first.envelope, roster, null);
  for (const node of [one, two]) {
    await node.client.report(
      reportOf({
        instances: [instance("shop", id, "shop.db.1")],
        receipts: [await makeReceipt(hub.cluster, node, first)],
      }),
    );
  }
  assert.equal((await hub.client.ports({ app: "shop" })).ports.length, 2);
});

test("a receipt counts for the app of its order only", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const { envelope, id } = await makeRelease(hub.cluster, "shop", "v1");
  await hub.client.postRelease(envelope);
  const roster = rosterOf([node]);
  const order = await makeOrder(hub.cluster, id, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const receipts = [];
  for (let n = 0; n < 20; n++)
    receipts.push(await makeReceipt(hub.cluster, node, order, { app: `junk-${n}` }));
  receipts.push(await makeReceipt(hub.cluster, node, order, { seq: 7 }));
  const answer = await node.client.report(reportOf({ receipts }));
  assert.deepEqual(answer.receipts, receipts.map(digestOfEnvelope), "they need not be sent again");
  const stored = await hub.hub.core.store.range("/", { limit: 10_000 });
  const junk = stored.entries.filter(({ key }) => key.includes("junk"));
  assert.deepEqual(junk, []);
  assert.deepEqual((await node.client.wanted(undefined, 0))?.lastReceipts, []);
});

test("who may deploy one app cannot write over the packs of another", async (t) => {
  const limited = generateSigner();
  const cluster = await makeCluster();
  const hub = await startTestHub(t, { cluster });
  await hub.client.postCharter(await charterWithOperator(cluster, limited, ["deploy:blog/default"]));
  const client = await operatorClient(cluster, hub.address, limited);
  atEnd(t, () => client.close());
  const pack = encodePack([], Buffer.alloc(0), new Map());
  const good = Buffer.concat(pack.pieces);
  const name = packName(pack.id);
  await put(hub.client, name, good);
  await assert.rejects(put(client, name, Buffer.from("other bytes")), { code: "BAD_REQUEST" });
  const read = await hub.client.raw({ method: "GET", path: `/v1/depot/blobs/${name}` });
  assert.ok(Buffer.concat((await read.toArray()) as Buffer[]).equals(good));
});

test("who may deploy nothing stores no blobs, with a release or by themselves, and collects none", async (t) => {
  const limited = generateSigner();
  const hub = await startTestHub(t);
  await hub.client.postCharter(await charterWithOperator(hub.cluster, limited, ["enrol:*", "root:*/*"]));
  const client = await operatorClient(hub.cluster, hub.address, limited);
  atEnd(t, () => client.close());
  const pack = encodePack([], Buffer.alloc(0), new Map());
  const blob = { name: packName(pack.id), bytes: Buffer.concat(pack.pieces) };
  const { envelope } = await makeRelease(hub.cluster, "shop", "one");
  const refusal = { code: "NOT_AUTHORISED", message: "this needs a right to deploy" };
  await assert.rejects(put(client, blob.name, blob.bytes), refusal);
  await assert.rejects(client.postRelease(envelope, t.signal, [blob]), refusal);
  await assert.rejects(client.call("depotCollect", { body: { dryRun: true } }), refusal);
  assert.deepEqual(await hub.client.releases({ app: "shop" }), []);
  const { names } = await hub.client.call("depotList", { query: { prefix: "packs/", after: "", limit: 10 } });
  assert.deepEqual(names, []);
});

test("the next charter is posted by operators, and by nobody else however well it is signed", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  using stranger = keyClient(hub.cluster, hub.address);
  const next = await charterWithOperator(hub.cluster, generateSigner(), ["deploy:*/*"]);
  for (const client of [node.client, stranger]) {
    await assert.rejects(client.postCharter(next), {
      code: "UNKNOWN_CLIENT",
      message: "only operators may post charters",
    });
  }
  assert.equal((await hub.client.hub()).charterVersion, 1);
  await hub.client.postCharter(next);
  assert.equal((await hub.client.hub()).charterVersion, 2);
});
