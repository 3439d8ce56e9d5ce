import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeDocuments } from "../../api/member-schemas.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { T0, testCluster, testNode, type TestNode } from "../../trust/cluster.fixture.ts";
import { spkiDigestOf } from "../../trust/keys/keys.ts";
import { Members } from "./members.ts";

const documentsOf = ({ ticket, enrol }: TestNode): NodeDocuments => ({
  ticket,
  enrol,
  label: null,
  revoke: null,
});

async function world() {
  const cluster = await testCluster();
  const node = await testNode(cluster, "web1");
  const clock = fakeClock(T0);
  let asked = 0;
  let answer: () => NodeDocuments = () => documentsOf(node);
  const listed = new Set<string>();
  const members = new Members({
    isListed: async (kid) => listed.has(kid),
    state: () => ({ charter: cluster.charter, pin: cluster.pin }),
    documents: async () => {
      asked += 1;
      return answer();
    },
    clock,
  });
  const answers = (next: () => NodeDocuments) => (answer = next);
  return { cluster, node, clock, members, listed, asked: () => asked, answers };
}

const gone = (): never => {
  throw new SkeinError("HUB_UNREACHABLE", "gone");
};

test("a node whose birth certificate verifies is known by its key, and looked up once a minute", async () => {
  const { members, node, clock, asked } = await world();
  const { kid, pub } = node.signer;
  const both = await Promise.all([members.spki(kid), members.spki(kid)]);
  assert.deepEqual(both, [spkiDigestOf(pub), spkiDigestOf(pub)]);
  clock.advance(59_000);
  await members.spki(kid);
  assert.equal(asked(), 1);
  clock.advance(2000);
  await members.spki(kid);
  assert.equal(asked(), 2);
});

test("where the clock was set back, a node that was revoked meanwhile is not let in for that long", async () => {
  const { members, node, clock, answers } = await world();
  const { kid, pub } = node.signer;
  assert.equal(await members.spki(kid), spkiDigestOf(pub));
  clock.advance(-3_600_000);
  answers(() => ({ ...documentsOf(node), revoke: node.ticket }));
  assert.equal(await members.spki(kid), undefined);
});

test("while a node is listed its documents are not asked for again; off the list, it is looked up", async () => {
  const { members, node, clock, listed, asked, answers } = await world();
  const { kid, pub } = node.signer;
  listed.add(kid);
  for (let minute = 0; minute < 10; minute++) {
    assert.equal(await members.spki(kid), spkiDigestOf(pub));
    clock.advance(61_000);
  }
  assert.equal(asked(), 1);
  listed.delete(kid);
  answers(() => ({ ...documentsOf(node), revoke: node.ticket }));
  assert.equal(await members.spki(kid), undefined);
  listed.add(kid);
  clock.advance(61_000);
  assert.equal(await members.spki(kid), undefined, "being listed makes nobody a member");
  assert.equal(asked(), 3);
});

test("nobody is let in on the word of who hands the documents over", async () => {
  const { members, node, cluster, answers, clock } = await world();
  const stranger = await testNode(await testCluster(), "web1");
  const other = await testNode(cluster, "web2");
  const { kid } = node.signer;
  const rows: [string, () => NodeDocuments][] = [
    ["another cluster's", () => documentsOf(stranger)],
    ["another node's", () => documentsOf(other)],
    ["an enrolment for another ticket", () => ({ ...documentsOf(node), ticket: other.ticket })],
    ["a revoked one", () => ({ ...documentsOf(node), revoke: node.ticket })],
    ["nothing of the kind", () => ({ ...documentsOf(node), enrol: { t: "enrol.1", p: "e30", s: [] } })],
  ];
  for (const [what, documents] of rows) {
    answers(documents);
    clock.advance(61_000);
    assert.equal(await members.spki(kid), undefined, what);
  }
});

test("a revocation is noticed within a minute", async () => {
  const { members, node, answers, clock } = await world();
  assert.ok((await members.spki(node.signer.kid)) !== undefined);
  answers(() => ({ ...documentsOf(node), revoke: node.ticket }));
  clock.advance(61_000);
  assert.equal(await members.spki(node.signer.kid), undefined);
});

test("while nobody can be asked, who was known stays known for a day, and strangers stay strangers", async () => {
  const { members, node, answers, clock, cluster } = await world();
  assert.ok((await members.spki(node.signer.kid)) !== undefined);
  answers(gone);
  clock.advance(23 * 3_600_000);
  assert.ok((await members.spki(node.signer.kid)) !== undefined);
  assert.equal(await members.spki((await testNode(cluster, "web9")).signer.kid), undefined);
  clock.advance(2 * 3_600_000);
  assert.equal(await members.spki(node.signer.kid), undefined);
});
