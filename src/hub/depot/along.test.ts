import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test, { type TestContext } from "node:test";
import { withAlong, withoutAlong } from "../../api/along-blob.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { digestOf, type ReleaseId, type TreeId } from "../../lib/text/ids.ts";
import { deltaName } from "../../release/tree/release-index.ts";
import {
  joinNode,
  makeOrder,
  makeReceipt,
  makeRelease,
  reportOf,
  rosterOf,
  startTestHub,
  wantedUntil,
  type MadeOrder,
  type MadeRelease,
  type TestHub,
  type TestNode,
} from "../hub.fixture.ts";

const treeOf = (content: string): TreeId => digestOf(content) as string as TreeId;
const NAME = deltaName(treeOf("two"), treeOf("one"));

interface Story {
  readonly hub: TestHub;
  readonly node: TestNode;
  readonly one: MadeRelease;
  readonly two: MadeRelease;
  readonly delta: Buffer;
}

/** A hub with two releases and the delta from one to the other; the node is told of nothing yet and runs the first. */
async function begin(t: TestContext, bytes = 1000): Promise<Story> {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const [one, two] = [
    await makeRelease(hub.cluster, "shop", "one"),
    await makeRelease(hub.cluster, "shop", "two"),
  ];
  for (const { envelope } of [one, two]) await hub.client.postRelease(envelope);
  const delta = randomBytes(bytes);
  const blob = {
    size: bytes,
    sha256: digestOf(delta),
    async *open() {
      yield delta;
    },
  };
  await hub.hub.core.depot.put(NAME, blob, t.signal);
  await hub.hub.peers.proof(NAME);
  await node.client.report(reportOf({ apps: [{ ...RUNS, release: one.id }] }));
  return { hub, node, one, two, delta };
}

const RUNS = { app: "shop", env: "default", state: "running", head: null } as const;

async function order({ hub, node }: Story, release: ReleaseId, more = {}): Promise<MadeOrder> {
  const roster = rosterOf([node]);
  const made = await makeOrder(hub.cluster, release, roster, more);
  await hub.client.postOrder(made.envelope, roster, null);
  return made;
}

/** The hub has it no more: what is given now came along. */
async function gone({ hub }: Story, t: TestContext): Promise<void> {
  await hub.hub.core.depot.delete(NAME, t.signal);
  hub.hub.peers.forget(NAME);
}

test("a small delta comes with the answer that tells of its order, once", async (t) => {
  const story = await begin(t);
  const { client } = story.node;
  const before = await client.wanted(undefined, 0);
  await order(story, story.two.id);
  assert.equal((await client.wanted(before?.etag, 10_000))?.apps.length, 1);
  await gone(story, t);
  const given = await client.provenBlob(NAME, 16_384, t.signal);
  assert.ok(given.bytes !== undefined && story.delta.equals(given.bytes));
  await assert.rejects(client.provenBlob(NAME, 16_384, t.signal), { code: "BLOB_MISSING" });
});

/** What the node was told before `prepare`, and then the order for the second release; nothing comes along. */
async function nothing(
  t: TestContext,
  story: Story,
  more: Parameters<typeof makeOrder>[3] = {},
): Promise<void> {
  const { client } = story.node;
  const before = await client.wanted(undefined, 0);
  await order(story, story.two.id, more);
  assert.equal((await client.wanted(before?.etag, 10_000))?.apps.length, 1);
  await gone(story, t);
  await assert.rejects(client.provenBlob(NAME, 20_000, t.signal), { code: "BLOB_MISSING" });
}

test("a larger delta does not come along", async (t) => {
  await nothing(t, await begin(t, 16_385));
});

test("a delta from what the node does not run does not come along", async (t) => {
  const story = await begin(t);
  await story.node.client.report(reportOf({ apps: [{ ...RUNS, release: story.two.id }] }));
  await nothing(t, story);
});

test("a delta to what was ordered before, and is likely there still, does not come along", async (t) => {
  const story = await begin(t);
  const { hub, node } = story;
  const first = await order(story, story.two.id);
  await wantedUntil(node.client, ({ apps }) => apps[0]?.gates[first.digest] === "go");
  const receipts = [await makeReceipt(hub.cluster, node, first)];
  await node.client.report(reportOf({ apps: [{ ...RUNS, release: story.one.id }], receipts }));
  await eventually("its end", async () => (await hub.client.rollout(first.digest)).phase === "ok");
  await nothing(t, story, { seq: 2, prev: first.digest, generation: 1 });
});

test("what follows a body is told from it by the header, and nothing else is taken for it", () => {
  const body = Buffer.from("{}");
  const along = { name: "deltas/a.b", bytes: Buffer.from("delta") };
  const { bytes, headers } = withAlong(body, along);
  assert.deepEqual(withoutAlong(bytes, headers["skein-along"]), { body, along });
  assert.deepEqual(withoutAlong(body, undefined), { body, along: undefined });
  for (const header of ["8 deltas/a.b", "5", "-1 deltas/a.b", "5 a b", ""])
    assert.throws(() => withoutAlong(bytes, header), header);
});
