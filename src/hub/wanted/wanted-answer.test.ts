import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { AFTER_HEADER, CODED_AFTER, contentIn, decode, encode, sharedOf } from "../../api/body-coding.ts";
import {
  joinNode,
  makeOrder,
  makeReceipt,
  makeRelease,
  reportOf,
  rosterOf,
  startTestHub,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

async function nodeWithOrder(
  t: TestContext,
): Promise<{ hub: TestHub; node: TestNode; order: () => Promise<Buffer> }> {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  /** @returns the report of having done it */
  const order = async (): Promise<Buffer> => {
    const release = await makeRelease(hub.cluster, "shop", "one");
    await hub.client.postRelease(release.envelope);
    const roster = rosterOf([node]);
    const made = await makeOrder(hub.cluster, release.id, roster);
    await hub.client.postOrder(made.envelope, roster, null);
    const report = reportOf({ receipts: [await makeReceipt(hub.cluster, node, made)] });
    await node.client.report(report);
    return Buffer.from(JSON.stringify(report));
  };
  return { hub, node, order };
}

interface RawAnswer {
  readonly coding: string | undefined;
  readonly bytes: Buffer;
}

async function poll(node: TestNode, headers: Record<string, string>): Promise<RawAnswer> {
  const response = await node.client.raw({ method: "GET", path: "/v1/wanted?wait=0", headers });
  const bytes = Buffer.concat(await (response as AsyncIterable<Buffer> & typeof response).toArray());
  return { coding: response.headers["content-encoding"], bytes };
}

test("a node that asks again gets what is new, and it means the same as the whole answer", async (t) => {
  const { node, order } = await nodeWithOrder(t);
  const first = await poll(node, { "accept-encoding": "zstd" });
  const held = contentIn(JSON.parse((await decode(first.bytes, 1_000_000)).toString()));
  assert.ok(held);
  const said = await order();
  const news = await poll(node, { "accept-encoding": CODED_AFTER, "if-none-match": held.etag });
  assert.equal(news.coding, CODED_AFTER);
  const whole = JSON.parse((await poll(node, {})).bytes.toString()) as Record<string, unknown>;
  const { lastReceipts, ...same } = whole;
  assert.ok(Array.isArray(lastReceipts) && lastReceipts.length === 1);
  assert.deepEqual(JSON.parse((await decode(news.bytes, 1_000_000, sharedOf(held, said))).toString()), same);
  assert.ok(news.bytes.length < JSON.stringify(whole).length / 2);
});

test("whoever reads no coding gets JSON, and whoever names what the hub does not remember gets all of it", async (t) => {
  const { node } = await nodeWithOrder(t);
  const plain = await poll(node, {});
  assert.equal(plain.coding, undefined);
  assert.ok(JSON.parse(plain.bytes.toString()));
  const unknown = await poll(node, { "accept-encoding": CODED_AFTER, "if-none-match": "0".repeat(32) });
  assert.equal(unknown.coding, "zstd");
  assert.ok("lastReceipts" in (JSON.parse((await decode(unknown.bytes, 1_000_000)).toString()) as object));
});

test("a report may be coded after what the node was told, and after nothing else", async (t) => {
  const { hub, node } = await nodeWithOrder(t);
  const other = await joinNode(t, hub, "web2");
  const answer = await poll(other, { "accept-encoding": "zstd" });
  const told = contentIn(JSON.parse((await decode(answer.bytes, 1_000_000)).toString()));
  assert.ok(told);
  const report = async (from: TestNode): Promise<unknown> => {
    const headers = { "content-encoding": CODED_AFTER, [AFTER_HEADER]: told.etag };
    const body = await encode(Buffer.from(JSON.stringify(reportOf({ version: "9.9.9" }))), sharedOf(told));
    return await from.client.call("report", { body, headers });
  };
  await report(other);
  assert.equal((await hub.client.nodes()).nodes.find(({ name }) => name === "web2")?.version, "9.9.9");
  await assert.rejects(report(node), {
    code: "CODING_UNKNOWN",
    data: { status: 415, coding: CODED_AFTER },
  });
});

test("an agent's client goes on by itself when the hub has forgotten what it told", async (t) => {
  const { hub, node } = await nodeWithOrder(t);
  const before = await node.client.wanted(undefined, 0);
  await hub.closeHubOnly();
  const { port } = hub;
  const listen = { host: "127.0.0.1", port };
  const again = await startTestHub(t, { cluster: hub.cluster, home: hub.home, listen });
  await node.client.report(reportOf({ version: "2.0.0" }));
  assert.equal((await again.client.nodes()).nodes.find(({ name }) => name === "web1")?.version, "2.0.0");
  const after = await node.client.wanted(before?.etag, 0);
  assert.equal(after, undefined);
});
