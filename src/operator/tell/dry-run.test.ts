import assert from "node:assert/strict";
import { test } from "node:test";
import { seal } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { cluster } from "../cluster.fixture.ts";
import { announce, DryRun, DryRunEnd, toBeDone } from "./dry-run.ts";
import { knownNodes, labelNode } from "../nodes/nodes.ts";
import { openOperator } from "../identity/operator.ts";

const deed = () => ({ text: "something would be done", data: { deed: "something" } });

test("without a dry run a deed is done; in one it is told, and the last one ends the command", () => {
  assert.equal(toBeDone({}, deed), true);
  announce({}, deed);
  const dryRun = new DryRun();
  assert.equal(toBeDone({ dryRun }, deed), false);
  assert.throws(() => announce({ dryRun }, deed), DryRunEnd);
  assert.deepEqual(dryRun.deeds, [deed(), deed()]);
});

test("a deed that nobody announced is not signed in a dry run, and not sent", async (t) => {
  const { paths, operator, absent, signal } = await cluster(t);
  await absent("n1");
  const [node] = await knownNodes(operator, signal);
  assert.ok(node);
  const body = {
    cluster: operator.charter.cluster,
    node: node.identity.node,
    reason: "test",
    issued: timeOf(operator.clock.now()),
  };
  using dry = await openOperator({ paths, signal, dryRun: new DryRun() });
  const defect = { code: "INTERNAL", message: /a dry run was about to/ };
  await assert.rejects(seal("revoke.1", body, [dry.signer]), defect);
  const signed = await seal("revoke.1", body, [operator.signer]);
  await assert.rejects(dry.client.postRevocation(signed, signal), defect);
  const depot = httpDepot(dry.client);
  const name = `rows/${"ab".repeat(32)}`;
  await assert.rejects(depot.put(name, bytesBlob(Buffer.from("x")), signal), defect);
  assert.deepEqual(await depot.has([name], signal), new Set());
  await assert.rejects(labelNode(dry, "n1", { role: "web" }, signal), DryRunEnd);
  assert.deepEqual(
    (await knownNodes(dry, signal)).map(({ identity }) => identity.labels),
    [{}],
  );
});
