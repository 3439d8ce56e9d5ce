import assert from "node:assert/strict";
import { test } from "node:test";
import { orderBody, sealOrder, T0, testCluster } from "../cluster.fixture.ts";
import type { Charter } from "../document/documents.ts";
import { addSignature } from "../document/envelope.ts";
import { generateSigner } from "../keys/keys.ts";
import { openOrder } from "../orders/orders.ts";
import { droppedSigners, underChain } from "./chain.ts";

const { alice, bob, charter } = await testCluster();
const without = (kid: string, version: number, from: Charter): Charter => ({
  ...from,
  version,
  operators: Object.fromEntries(Object.entries(from.operators).filter(([id]) => id !== kid)),
});
const second = without(bob.kid, 2, charter);
const third = without(alice.kid, 3, second);

test("a document is read by the newest charter by which it holds, and who was dropped since is named", async () => {
  const byBob = await sealOrder(orderBody(3), bob);
  const open = (by: Charter): ReturnType<typeof openOrder> => openOrder(by, byBob, T0);
  const chain = [third, second, charter] as const;
  const upheld = underChain(chain, open);
  assert.equal(upheld.charter.version, charter.version);
  assert.equal(droppedSigners(chain, upheld), "bob");
  const inForce = underChain([charter], open);
  assert.equal(droppedSigners([charter], inForce), null);

  const byAlice = await sealOrder(orderBody(3), alice);
  assert.equal(underChain(chain, (by) => openOrder(by, byAlice, T0)).charter.version, 2);
});

test("all who signed are named, by their keys where no charter of then has a name for them", () => {
  const stranger = generateSigner().kid;
  const built: Charter = { ...charter, builders: { [stranger]: { name: "ci", apps: ["shop"] } } };
  const signers = new Set([alice.kid, stranger]);
  assert.equal(
    droppedSigners([third, charter], { opened: { signers }, charter }),
    `${charter.operators[alice.kid]?.name} and ${stranger}`,
  );
  assert.match(droppedSigners([third, built], { opened: { signers }, charter: built }) ?? "", / and ci$/);
});

test("what nobody could sign is refused as by the charter in force, and what is wrong otherwise at once", async () => {
  const order = orderBody(3);
  const stranger = await addSignature(await sealOrder(order, generateSigner()), generateSigner());
  const chain = [third, charter] as const;
  assert.throws(() => underChain(chain, (by) => openOrder(by, stranger, T0)), { code: "DOC_UNSIGNED" });
  const tried: number[] = [];
  const foreign = await sealOrder({ ...order, cluster: "d".repeat(32) }, alice);
  const refuse = (by: Charter): unknown => {
    tried.push(by.version);
    return openOrder(by, foreign, T0);
  };
  assert.throws(() => underChain(chain, refuse), { code: "WRONG_CLUSTER" });
  assert.deepEqual(tried, [3]);
  const broken = (by: Charter): never => {
    if (by === third) openOrder(by, stranger, T0);
    throw new TypeError("a defect");
  };
  assert.throws(() => underChain(chain, broken), TypeError);
});
