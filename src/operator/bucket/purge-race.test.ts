/** A purge and an order of one revision at the same moment: what is ordered stays in the bucket. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { revisionWord } from "../../bucket/layout.ts";
import type { DocumentStore } from "../../depot/seam/documents.ts";
import { bucketWorld, scripts, type BucketWorld } from "./bucket-world.fixture.ts";
import type { BucketOperator } from "./bucket-operator.ts";
import { jumpMaster, masterRevisions, purgeMaster } from "./master.ts";

async function racedFor(t: TestContext): Promise<{ world: BucketWorld; first: string }> {
  const world = await bucketWorld(t);
  const first = await world.spool("site", scripts("v1"));
  for (const version of ["v2", "v3"]) await world.jump(await world.spool("site", scripts(version)));
  return { world, first };
}

/** An operator of whose calls to the bucket one is overtaken by what somebody else does. */
async function overtaken(
  world: BucketWorld,
  call: "write" | "delete",
  prefix: string,
  meanwhile: () => Promise<unknown>,
): Promise<BucketOperator> {
  const operator = await world.operator();
  const { documents } = operator.bucket;
  let isOver = false;
  const first = async (name: string): Promise<void> => {
    if (isOver || !name.startsWith(prefix)) return;
    isOver = true;
    await meanwhile();
  };
  const slow: Pick<DocumentStore, "write" | "delete"> = {
    write: async (name, ...rest) => {
      if (call === "write") await first(name);
      return await documents.write(name, ...rest);
    },
    delete: async (name, signal) => {
      if (call === "delete") await first(name);
      await documents.delete(name, signal);
    },
  };
  return { ...operator, bucket: { ...operator.bucket, documents: { ...documents, ...slow } } };
}

async function assertActive(t: TestContext, world: BucketWorld, revision: string): Promise<void> {
  const { bucket, charter, clock } = await world.operator();
  const listed = await masterRevisions("site", { bucket, charter, clock, env: "default", signal: t.signal });
  assert.deepEqual(
    listed.filter(({ state }) => state === "active").map((one) => `site.${one.revision}`),
    [revision],
  );
  const machine = world.machine("m", ["site"]);
  const { packages } = await machine.sync();
  assert.deepEqual([`site.${packages[0]?.active}`, packages[0]?.troubles], [revision, []]);
}

test("a purge that is overtaken by an order is refused, and its release is there as before", async (t) => {
  const { world, first } = await racedFor(t);
  const purger = await overtaken(world, "delete", "releases/", async () => await world.jump(first));
  const purged = purgeMaster(purger, revisionWord(first), { env: "default", signal: t.signal });
  await assert.rejects(purged, { code: "REVISION_ACTIVE" });
  await assertActive(t, world, first);
});

test("an order that a purge did not see brings its release's document back", async (t) => {
  const { world, first } = await racedFor(t);
  const orderer = await overtaken(world, "write", "orders/", async () => await world.purge(first));
  const options = { env: "default", selector: "all", spreadMs: 0, signal: t.signal };
  assert.equal((await jumpMaster(orderer, revisionWord(first), options)).seq, 3);
  await assertActive(t, world, first);
});
