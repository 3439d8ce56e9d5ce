import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { listInstalls, spareDir, spareStage } from "../../release/record/install-record.ts";
import { readTree, type Tree } from "../../release/release.fixture.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { ended, world, type World } from "../agent.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

/** Apps share files between releases only where they have users of their own. */
const options = { skip: process.getuid?.() !== 0 && "needs root" };

/** Enough files to be worth a spare. */
const MANY = 2000;
/** Enough for agents that are told so. */
const FEW = 200;

function files(version: string, count = MANY): Tree {
  const many: Record<string, string> = {};
  for (let n = 0; n < count; n++) many[`lib/${n % 40}/file-${n}.js`] = `module.exports = ${n};\n`;
  return {
    "skein.yaml": "app: shop\nkind: files\nkeep: { releases: 2, good: 1 }\n",
    ...many,
    "version.txt": version,
  };
}

/** What a deployment left, and what is told of it. */
async function deployed(w: World, version: string, count = MANY): Promise<ReleaseId> {
  const { digest, release } = await w.deploy(files(version, count));
  assert.equal((await w.receipt(digest)).verdict, "ok");
  assert.equal(fs.readFileSync(path.join(revsOf(w), release, "version.txt"), "utf8"), version);
  return release;
}

const revsOf = (w: World): string => path.join(w.paths.lib, "apps/shop/revs");
/** A spare comes when the whole file system was flushed, whatever others write there. */
const FLUSHED_MS = 120_000;
const inodeOf = (dir: string): number => fs.lstatSync(path.join(dir, "lib/7")).ino;

async function spareOf(w: World, release: ReleaseId): Promise<string> {
  const dir = spareDir(revsOf(w), release);
  return await eventually("a spare", async () => (fs.existsSync(dir) ? dir : undefined), {
    withinMs: FLUSHED_MS,
  });
}

test(
  "what an idle node prepared becomes the next release, and the oldest one what it prepares next (long)",
  options,
  async (t) => {
    const w = await world(t);
    await w.agent();
    const one = await deployed(w, "1");
    const prepared = inodeOf(await spareOf(w, one));
    const two = await deployed(w, "2");
    assert.equal(inodeOf(path.join(revsOf(w), two)), prepared);
    const oldest = inodeOf(path.join(revsOf(w), one));
    await spareOf(w, two);
    const three = await deployed(w, "3");
    const spare = await spareOf(w, three);
    assert.equal(inodeOf(spare), oldest);
    assert.deepEqual(readTree(spare), readTree(path.join(revsOf(w), three)));
    assert.deepEqual((await listInstalls(revsOf(w))).toSorted(), [two, three].toSorted());
  },
);

const MAKING = ["spare.placing:50", "spare.filled", "spare.flushed", "spare.made"] as const;
const TAKING = [
  "install.spare-taken",
  "install.spare-cleared",
  "install.filled",
  "install.recorded",
] as const;
const REMOVING = [
  "agent.remove",
  "install.moved",
  "install.unrecorded",
  "install.bequeathed",
  "agent.collected",
] as const;

for (const [what, points] of [
  ["preparing", MAKING],
  ["using what was prepared", TAKING],
  ["removing an old release", REMOVING],
] as const) {
  test(`an agent killed at any point of ${what} converges at its next start (long)`, options, async (t) => {
    const w = await world(t);
    let version = 0;
    for (const point of points) {
      const child = w.child(point, FEW);
      for (let tries = 0; child.signalCode === null; tries += 1) {
        assert.ok(tries < 4, `${point} was never passed`);
        version += 1;
        const { digest, release } = await w.deploy(files(String(version), FEW));
        const done = await Promise.race([ended(child).then(() => null), w.receipt(digest)]);
        if (done === null) break;
        const made = (): boolean => child.signalCode !== null || fs.existsSync(spareDir(revsOf(w), release));
        await eventually(`${point} or a spare`, made, { withinMs: FLUSHED_MS });
      }
      assert.equal(child.signalCode, "SIGKILL", point);
    }
    const last = w.child(undefined, FEW);
    // What was begun of an order stays until two others came.
    await deployed(w, "the last but one", FEW);
    const current = await deployed(w, "the last one", FEW);
    const left = async () => {
      const names = fs.readdirSync(path.join(revsOf(w), ".install"));
      const others = names.filter((name) => !/\.(record|synced)$/.test(name));
      return { others, installed: (await listInstalls(revsOf(w))).length };
    };
    const wanted = { others: [`${current}.spare`], installed: 2 };
    // What is of no use any more goes after it has its name.
    await eventually("one spare, and nothing else", async () => isDeepStrictEqual(await left(), wanted), {
      withinMs: FLUSHED_MS,
    }).catch(async (err: unknown) => assert.deepEqual(await left(), wanted, String(err)));
    last.kill("SIGKILL");
    await ended(last);
  });
}

async function begun(t: TestContext): Promise<{ w: World; release: ReleaseId }> {
  const w = await world(t);
  await w.agent({ leastSpareFiles: FEW });
  return { w, release: await deployed(w, "1", FEW) };
}

test("nothing is prepared for an app that was stopped (long)", options, async (t) => {
  const { w, release } = await begun(t);
  const spare = await spareOf(w, release);
  const tell = async (state: "run" | "stopped"): Promise<void> => {
    const ordered = await w.order(w.offered.releases[0]!, { state });
    w.offer({ orders: [ordered.envelope], gates: { [ordered.digest]: "go" } });
    assert.equal((await w.receipt(ordered.digest)).verdict, "ok");
  };
  await tell("stopped");
  await eventually("no spare", async () => !fs.existsSync(spare));
  await tell("run");
  await spareOf(w, release);
});

test("what is being prepared gives way to an order (long)", options, async (t) => {
  const w = await world(t);
  const two = await w.publish(files("2"));
  await w.agent();
  const one = await deployed(w, "1");
  const stage = spareStage(revsOf(w), one);
  const link = fs.linkSync;
  let links = 0;
  t.mock.method(fs, "linkSync", (from: string, to: string) => {
    link(from, to);
    if (!to.startsWith(stage)) return;
    links += 1;
    // So slow that it is not done before the order comes, on whatever machine.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3);
  });
  const begun = await eventually("it is being prepared", async () => inodeOf(stage));
  const { envelope, digest, release } = await w.order(two);
  w.offer({ orders: [envelope], releases: [...w.offered.releases, two], gates: { [digest]: "go" } });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  assert.equal(inodeOf(await spareOf(w, release)), begun, "it is gone on with");
  assert.ok(links < 2000, `${links} links were made, as if there was no order`);
});

test("a node whose disk is full removes what it prepared (long)", options, async (t) => {
  const { w, release } = await begun(t);
  const spare = await spareOf(w, release);
  const real = fs.statfsSync;
  t.mock.method(fs, "statfsSync", (at: string) =>
    Object.assign(real(at), fs.existsSync(spare) ? { bsize: 1, bavail: 1000 } : {}),
  );
  const { digest } = await w.deploy({ "skein.yaml": "app: shop\nkind: files\n", "small.txt": "small" });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  assert.equal(fs.existsSync(spare), false);
});
