import assert from "node:assert/strict";
import test from "node:test";
import { hubSource } from "../../agent/source/source-hub.ts";
import { hubDepot } from "../../agent/source/hub-depot.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Roster } from "../../trust/document/documents.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { joinNode, makeOrder, makeRelease, rosterOf, startTestHub } from "../hub.fixture.ts";

test("a large roster is asked for by its digest, and only by a node that does not have it", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const release = await makeRelease(hub.cluster, "shop", "one");
  await hub.client.postRelease(release.envelope);
  const others = Array.from({ length: 200 }, (_, n) => ({
    node: generateSigner().kid,
    name: `other${n}`,
    labels: { role: "web" },
  }));
  const roster: Roster = { nodes: [...rosterOf([node]).nodes, ...others] };
  const order = await makeOrder(hub.cluster, release.id, roster);
  await hub.client.postOrder(order.envelope, roster, null);
  const digest = order.body.roster;

  const told = await node.client.wanted(undefined, 0);
  assert.deepEqual(told?.apps[0]?.rosters, {});
  assert.equal(await node.client.roster("0".repeat(64) as Digest), undefined);

  const asked: Digest[] = [];
  const ask = node.client.roster.bind(node.client);
  node.client.roster = async (which, signal) => {
    asked.push(which);
    return await ask(which, signal);
  };
  const kept = new Map<Digest, Roster>();
  const own = { node: node.kid, boot: "b".repeat(24), charterVersion: () => 1, papers: () => undefined };
  const source = hubSource(node.client, hubDepot(node.client), {
    ...own,
    kept: { roster: async (which) => await Promise.resolve(kept.get(which)) },
  });
  const never = new AbortController().signal;
  const first = await source.wanted(undefined, 0, never);
  const got = first?.apps[0]?.rosters[digest];
  assert.equal(got?.nodes.length, 201);
  assert.deepEqual(asked, [digest]);
  kept.set(digest, got);
  const again = await source.wanted(undefined, 0, never);
  assert.deepEqual(again?.apps[0]?.rosters[digest], got);
  assert.deepEqual(asked, [digest]);
});
