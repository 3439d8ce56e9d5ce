import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { listInstalls, spareDir, spareStage } from "../../release/install-record.ts";
import { readTree, type Tree } from "../../release/release.fixture.ts";
import type { ReleaseId } from "../../lib/ids.ts";
import { ended, eventually, world, type World } from "../agent.fixture.ts";

/** Apps share files between releases only where they have users of their own. */
const options = { skip: process.getuid?.() !== 0 && "needs root" };

/** Enough files to be worth a spare. */
function files(version: string, changes: Tree = {}): Tree {
  const many: Record<string, string> = {};
  for (let n = 0; n < 2000; n++) many[`lib/${n % 40}/file-${n}.js`] = `module.exports = ${n};\n`;
  return {
    "skein.yaml": "app: shop\nkind: files\nkeep: { releases: 2, good: 1 }\n",
    ...many,
    "version.txt": version,
    ...changes,
  };
}

/** What a deployment left, and what is told of it. */
async function deployed(w: World, version: string): Promise<ReleaseId> {
  const { digest, release } = await w.deploy(files(version));
  assert.equal((await w.receipt(digest)).verdict, "ok");
  assert.equal(fs.readFileSync(path.join(revsOf(w), release, "version.txt"), "utf8"), version);
  return release;
}

const revsOf = (w: World): string => path.join(w.paths.lib, "apps/shop/revs");
const inodeOf = (dir: string): number => fs.lstatSync(path.join(dir, "lib/7")).ino;

async function spareOf(w: World, release: ReleaseId): Promise<string> {
  const dir = spareDir(revsOf(w), release);
  // It flushes the file system, whatever others write there.
  return await eventually("a spare", async () => (fs.existsSync(dir) ? dir : undefined), 90_000);
}

test(
  "what an idle node prepared becomes the next release, and the oldest one what it prepares next",
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

const POINTS = [
  "spare.placing:500",
  "spare.filled",
  "spare.flushed",
  "spare.made",
  "install.spare-taken",
  "install.spare-cleared",
  "install.filled",
  "install.recorded",
  "agent.remove",
  "install.unrecorded",
  "install.bequeathed",
  "agent.collected",
] as const;

test(
  "an agent killed at any point of preparing and of using it converges at its next start",
  options,
  async (t) => {
    const w = await world(t);
    let version = 0;
    let release: ReleaseId | undefined;
    for (const point of POINTS) {
      const child = w.child(point);
      for (let tries = 0; child.signalCode === null; tries += 1) {
        assert.ok(tries < 4, `${point} was never passed`);
        version += 1;
        const { digest, release: next } = await w.deploy(files(String(version)));
        const done = await Promise.race([ended(child).then(() => null), w.receipt(digest)]);
        if (done === null) break;
        release = next;
        const made = (): true | undefined =>
          child.signalCode !== null || fs.existsSync(spareDir(revsOf(w), next)) ? true : undefined;
        await eventually(`${point} or a spare`, async () => made(), 90_000);
      }
      assert.equal(child.signalCode, "SIGKILL", point);
    }
    assert.ok(release);
    const last = w.child();
    const current = await deployed(w, "the last one");
    await spareOf(w, current);
    last.kill("SIGKILL");
    await ended(last);
    const installed = await listInstalls(revsOf(w));
    const left = fs.readdirSync(path.join(revsOf(w), ".install")).filter((name) => !name.endsWith(".record"));
    assert.deepEqual(left, [`${current}.spare`]);
    assert.equal(installed.length, 2);
  },
);

async function begun(t: TestContext): Promise<{ w: World; release: ReleaseId }> {
  const w = await world(t);
  await w.agent();
  return { w, release: await deployed(w, "1") };
}

test("nothing is prepared for an app that was stopped", options, async (t) => {
  const { w, release } = await begun(t);
  const spare = await spareOf(w, release);
  const tell = async (state: "run" | "stopped"): Promise<void> => {
    const ordered = await w.order(w.offered.releases[0]!, { state });
    w.offer({ orders: [ordered.envelope], gates: { [ordered.digest]: "go" } });
    assert.equal((await w.receipt(ordered.digest)).verdict, "ok");
  };
  await tell("stopped");
  await eventually("no spare", async () => (fs.existsSync(spare) ? undefined : true));
  await tell("run");
  await spareOf(w, release);
});

test("what is being prepared gives way to an order", options, async (t) => {
  const { w, release } = await begun(t);
  const stage = spareStage(revsOf(w), release);
  await eventually("it is being prepared", async () => (fs.existsSync(stage) ? true : undefined));
  const next = await deployed(w, "2");
  assert.equal(fs.existsSync(spareDir(revsOf(w), release)), false, "it was broken off");
  await spareOf(w, next);
});

test("a node whose disk is full removes what it prepared", options, async (t) => {
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
