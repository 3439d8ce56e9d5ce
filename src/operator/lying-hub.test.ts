/** What a hub shows an operator: believed for the signatures on it, and where they do not hold, told as what it is. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { HubClient } from "../api/hub-client.ts";
import type { Envelope } from "../trust/document/envelope.ts";
import { cluster, type Cluster } from "./cluster.fixture.ts";
import { deploy } from "./deploy/deploy.ts";
import { DryRun } from "./tell/dry-run.ts";
import { knownNodes, membersAndFormer, labelNode, removeNode } from "./nodes/nodes.ts";
import type { Operator } from "./identity/operator.ts";
import { readLine } from "./order/order.ts";
import { documentOf } from "./release/release.ts";

type Lies = { [K in keyof HubClient]?: (truth: never) => unknown };

/** The operator at a hub that bends some of its answers on their way. */
function liedTo(operator: Operator, lies: Lies): Operator {
  const client = new Proxy(operator.client, {
    get(target, name: keyof HubClient) {
      const value: unknown = Reflect.get(target, name, target);
      const lie = lies[name] as ((truth: unknown) => unknown) | undefined;
      if (typeof value !== "function") return value;
      const call = async (...args: unknown[]): Promise<unknown> =>
        lie?.(await Reflect.apply(value, target, args));
      return lie === undefined ? value.bind(target) : call;
    },
  });
  return { ...operator, client };
}

const bent = (envelope: Envelope, from: RegExp, to: string): Envelope => {
  const text = Buffer.from(envelope.p, "base64url").toString();
  assert.match(text, from);
  return { ...envelope, p: Buffer.from(text.replace(from, to)).toString("base64url") };
};

async function deployed(t: TestContext): Promise<Cluster> {
  const made = await cluster(t);
  await made.absent("n1", { role: "web" });
  await made.absent("n2", { role: "web" });
  for (const app of ["shop", "blog"]) {
    mkdirSync(path.join(made.dir, app));
    writeFileSync(path.join(made.dir, app, "a.txt"), app);
    await deploy(made.operator, made.options({ from: path.join(made.dir, app), app }));
  }
  return made;
}

const ALTERED = { code: "DOC_UNSIGNED", hint: /^Nothing was changed.*altered/ };

test("an order and a release that nobody signed are not believed, and it is told where to look", async (t) => {
  const { operator, signal } = await deployed(t);
  const { head } = await readLine(operator, "shop", "default", signal);
  assert.ok(head);
  const forging = liedTo(operator, {
    app: ([view]: [{ head: { order: Envelope } }]) => [
      { ...view, head: { ...view.head, order: bent(view.head.order, /"state":"run"/, '"state":"stopped"') } },
    ],
    release: (view: { release: Envelope }) => ({
      ...view,
      release: bent(view.release, /"files":1/, '"files":7'),
    }),
  });
  await assert.rejects(readLine(forging, "shop", "default", signal), {
    ...ALTERED,
    message: /^an order of shop\/default is shown that does not hold: order\.1: 0 of 1 signatures/,
  });
  await assert.rejects(documentOf(forging, "shop", head.order.release, signal), {
    ...ALTERED,
    message: /^a release of shop is shown/,
  });
});

test("a genuine release of another app does not pass for the one that was asked for", async (t) => {
  const { operator, signal } = await deployed(t);
  const [shop, blog] = [
    await readLine(operator, "shop", "default", signal),
    await readLine(operator, "blog", "default", signal),
  ];
  assert.ok(shop.head && blog.head);
  const other = await operator.client.release(blog.head.order.release, "blog", signal);
  const swapping = liedTo(operator, { release: () => other });
  await assert.rejects(documentOf(swapping, "shop", shop.head.order.release, signal), {
    code: "ORDER_UNKNOWN_RELEASE",
  });
});

test("a hub adds no node, and gives none a label or a name", async (t) => {
  const { operator, signal, paths } = await deployed(t);
  const forget = (): void => rmSync(path.join(paths.etc, "operator/cache"), { recursive: true, force: true });
  type View = { node: string; name: string; labels: object };
  const one = (await operator.client.nodes(signal)).nodes[0];
  assert.ok(one);
  const relabelling = liedTo(operator, {
    nodes: ({ nodes }: { nodes: View[] }) => ({
      nodes: nodes.map((view) => ({ ...view, name: `x-${view.name}`, labels: { role: "db" } })),
    }),
  });
  const seen = await knownNodes(relabelling, signal);
  assert.deepEqual(
    seen.map(({ identity }) => [identity.name, identity.labels]),
    [
      ["n1", { role: "web" }],
      ["n2", { role: "web" }],
    ],
  );
  const documents = await operator.client.nodeDocuments(one.node, signal);
  forget();
  const adding = liedTo(operator, { nodeDocuments: () => documents });
  await assert.rejects(knownNodes(adding, signal), { ...ALTERED, message: /another node's documents/ });
  forget();
  const forging = liedTo(operator, {
    nodeDocuments: (truth: { ticket: Envelope }) => ({
      ...truth,
      ticket: bent(truth.ticket, /"role":"web"/, '"role":"db"'),
    }),
  });
  await assert.rejects(knownNodes(forging, signal), ALTERED);
  const expelling = liedTo(operator, {
    nodes: ({ nodes }: { nodes: View[] }) => ({ nodes: [], unvouched: nodes, revision: 1 }),
  });
  assert.deepEqual(await membersAndFormer(expelling, signal), { members: [], former: [] });
});

test("a hub that shows a removed node, or labels of before, is not believed over what was signed here", async (t) => {
  const { operator, signal } = await deployed(t);
  await knownNodes(operator, signal);
  const before = await operator.client.nodes(signal);
  await labelNode(operator, "n1", { tier: "gold" }, signal);
  await removeNode(operator, "n2", signal);
  const asked: string[] = [];
  const setBack = liedTo(operator, {
    nodes: () => before,
    nodeDocuments: () => asked.push("documents"),
    postLabel: () => asked.push("label"),
    postRevocation: () => asked.push("revocation"),
  });
  const seen = await knownNodes(setBack, signal);
  assert.deepEqual(
    seen.map(({ name, labels, labelSerial, identity }) => [name, labels, labelSerial, identity.labels]),
    [["n1", { role: "web", tier: "gold" }, 1, { role: "web", tier: "gold" }]],
  );
  assert.deepEqual(asked.toSorted(), ["label", "revocation"], "and it is told");
  const dry = { ...setBack, dryRun: new DryRun() };
  assert.equal((await knownNodes(dry, signal)).length, 1);
  assert.equal(asked.length, 2, "but not by a dry run");
});
