/** Whom a charter drops has signed what nodes hold: others read it, and order after it. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import type { Charter } from "../trust/document/documents.ts";
import { seal } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { cluster, orEnded, type Cluster } from "./cluster.fixture.ts";
import { deploy } from "./deploy/deploy.ts";
import { signerFor } from "./identity/signer-and-hubs.ts";
import { membersAndFormer, invite, knownNodes, labelNode, removeNode } from "./nodes/nodes.ts";
import { openOperator, type Operator } from "./identity/operator.ts";
import { readLine } from "./order/order.ts";
import { planDeploy } from "./deploy/plan.ts";
import { findRelease } from "./release/release.ts";
import { stage } from "./deploy/stage.ts";
import { steer } from "./deploy/steer.ts";
import { statusOf } from "./view/views.ts";

/** The next charter, with these operators beside ann. */
async function charterWith(
  { operator: { client, paths, config, charter }, signal }: Cluster,
  version: number,
  others: Charter["operators"],
  keys: Charter["keys"],
): Promise<void> {
  const ann = await signerFor(paths, config);
  const body: Charter = {
    ...charter,
    version,
    issued: timeOf(Date.now()),
    keys: { ...charter.keys, ...keys },
    operators: { ...charter.operators, ...others },
  };
  await client.postCharter(await seal("charter.1", body, [ann]), signal);
}

async function opened(t: TestContext, { paths, signal }: Cluster): Promise<Operator> {
  const operator = await openOperator({ paths, signal });
  atEnd(t, () => operator[Symbol.dispose]());
  return operator;
}

test("what an operator signed whom the charter has dropped is read, told, and followed by others' orders", async (t) => {
  const at = await cluster(t);
  const { absent, dir, events, options, signal } = at;
  await absent("n1");
  const bob = generateSigner();
  const keys = { [bob.kid]: { alg: bob.alg, pub: bob.pub } };
  await charterWith(at, 2, { [bob.kid]: { name: "bob", allow: ["deploy:*/*", "enrol:*"] } }, keys);
  const asBob = { ...(await opened(t, at)), signer: bob };
  const from = path.join(dir, "shop");
  mkdirSync(from);
  writeFileSync(path.join(from, "skein.yaml"), "app: shop\nkind: files\n");
  const by = await deploy(asBob, options({ from }));
  await labelNode(asBob, "n1", { role: "web" }, signal);
  await at.absent("n2", {}, asBob);
  await charterWith(at, 3, {}, {});

  const operator = await opened(t, at);
  rmSync(path.join(at.paths.etc, "operator/cache"), { recursive: true });
  const line = await readLine(operator, "shop", "default", signal);
  assert.deepEqual([line.head?.digest, line.head?.droppedSigner], [by.order, "bob"]);
  const [status] = await statusOf(operator, null, null, signal);
  assert.deepEqual([status?.release, status?.droppedSigner], [by.draft.order.release, "bob"]);
  const [node, ...more] = await knownNodes(operator, signal);
  assert.deepEqual({ ...node?.identity.labels }, { role: "web" }, "its label stands, too");
  assert.deepEqual(more, [], "whom bob invited is no member");
  const former = async (): Promise<unknown> =>
    (await membersAndFormer(operator, signal)).former.map(({ identity, invitedBy }) => [
      identity.name,
      invitedBy,
    ]);
  assert.deepEqual(await former(), [["n2", "bob"]]);
  const warned = async (selector: string | null): Promise<unknown> => {
    events.length = 0;
    await planDeploy(operator, options({ from, selector }));
    return events.flatMap((event) => (event.type === "warning" ? [event.text] : []));
  };
  assert.deepEqual(await warned("n1"), []);
  assert.deepEqual(await warned(null), [
    "n2 is told nothing: it is no member any more, since the charter dropped who had let it in (bob). See skein node ls.",
  ]);
  const placing = { ...options({ app: "shop" }), full: false, throughCache: false, withinMs: 60_000 };
  await assert.rejects(stage(operator, placing), {
    code: "DOC_UNSIGNED",
    message: /^shop@[0-9a-f]{8} was signed by bob, whom the charter has dropped since$/,
  });
  await removeNode(operator, "n2", signal);
  assert.deepEqual(await former(), []);
  const again = { name: "n2", labels: {}, validMs: 60_000, replace: null };
  assert.equal((await invite(operator, again, signal)).replaced, null, "its name is free");
  assert.ok(line.head);
  await orEnded(steer(operator, line.head, "abort", signal));

  events.length = 0;
  const next = await deploy(operator, options({ from }));
  assert.deepEqual([next.draft.order.prev, next.draft.order.seq], [by.order, 2]);
  assert.ok(events.some((event) => event.type === "note" && /signed by bob/.test(event.text)));
  assert.equal(next.draft.order.release, by.draft.order.release);
  const found = await findRelease(operator, "shop", next.draft.order.release, signal);
  assert.equal(found?.droppedBuilder, undefined, "what is deployed again is signed anew");
  assert.equal((await readLine(operator, "shop", "default", signal)).head?.droppedSigner, undefined);
});
