import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { writeTree } from "../../release/release.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { besideFor } from "./beside.ts";
import { cluster } from "../cluster.fixture.ts";
import { deploy } from "../deploy/deploy.ts";
import { readLine } from "./order.ts";
import { start } from "../deploy/lifecycle.ts";
import { removeNode } from "../nodes/nodes.ts";
import { planDeploy } from "../deploy/plan.ts";
import { followDigest } from "./publish-order.ts";
import { rollback } from "../deploy/rollback.ts";
import { readManifest } from "../source/source.ts";

const REFUSED = {
  code: "HANDOVER_REFUSED",
  message: /^clock may not run in two versions at once \(overlap: false\)/,
};

test("old versions are not kept beside one that may not run twice, and nothing is published for it", async (t) => {
  const { dir, operator, options, absent, signal } = await cluster(t);
  await absent("n1");
  const from = writeTree(path.join(dir, "app"), {
    "skein.yaml": "app: shop\nprocesses: { web: node a.js, clock: { run: node b.js, overlap: false } }\n",
  });
  await assert.rejects(deploy(operator, options({ from, keepOld: true })), REFUSED);
  assert.deepEqual(await operator.client.releases({ app: "shop", limit: 1 }, signal), []);
  await assert.rejects(planDeploy(operator, options({ from, keepOld: true })), REFUSED);
  await deploy(operator, options({ from }));
  const line = await readLine(operator, "shop", "default", signal);
  const release = line.head?.order.release;
  assert.ok(release);
  const manifest = await readManifest({ kind: "path", path: from }, { env: "default", signal });
  // One that was made before such a manifest was refused.
  const earlier = { release: "0".repeat(32) as ReleaseId, manifest: { ...manifest, beside: 1 } };
  const how = { keepOld: false, selector: "all" };
  assert.throws(() => besideFor(line, earlier, how), {
    ...REFUSED,
    message: new RegExp(`shop@${release.slice(0, 8)} is to go on beside it`),
  });
  assert.deepEqual(besideFor(line, { ...earlier, release }, how), []);
  assert.deepEqual(besideFor(line, { ...earlier, manifest }, how), []);
});

test("an old version that may not run twice is neither started nor gone back to beside others (long)", async (t) => {
  const { dir, operator, options, absent, signal } = await cluster(t);
  const from = path.join(dir, "app");
  const made: ReleaseId[] = [];
  for (const overlap of [false, true, true]) {
    const text = `app: shop\nprocesses: { clock: { run: node ${made.length}.js, overlap: ${overlap} } }\n`;
    const keepOld = made.length > 1;
    const node = `n${made.length}`;
    await absent(node);
    writeTree(from, { "skein.yaml": text });
    const { order, draft } = await deploy(operator, options({ from, keepOld }));
    made.push(draft.order.release);
    // Nobody waits any more for whom it was, and another order may follow.
    await removeNode(operator, node, signal);
    await followDigest(operator, order, { tell: () => undefined, signal });
  }
  const [alone = "", two = "", three = ""] = made;
  await absent("n4");
  const at = { app: "shop", env: "default", selector: null, attended: false, tell: () => undefined, signal };
  const refused = (beside: string) => ({
    ...REFUSED,
    message: new RegExp(`\\(overlap: false\\), and shop@${beside.slice(0, 8)} is to go on beside it$`),
    hint: new RegExp(`skein deploy shop ${alone.slice(0, 8)}$`),
  });
  await assert.rejects(start(operator, { ...at, release: alone }), refused(three));
  await assert.rejects(rollback(operator, { ...at, release: alone }), refused(two));
  const headNow = async () => (await readLine(operator, "shop", "default", signal)).head?.order;
  assert.equal((await headNow())?.seq, 3, "nothing was ordered");
  await rollback(operator, { ...at, release: two });
  assert.deepEqual((await headNow())?.beside, []);
});
