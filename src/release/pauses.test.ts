/** What is done with a large file leaves other work of the process its turns, however little of the file is new. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { verifyInstall } from "./install/verify-install.ts";
import { directoryDepot } from "../depot/directory/directory.ts";
import { makeWorld, noise, plainSource, releaseId } from "./release.fixture.ts";
import { publish, type Published } from "./publish/publish.ts";

const MIB = 2 ** 20;
const LARGE_BYTES = 96 * MIB;
/** Read and written by this process between two turns of everything else in it. */
const MOST_BYTES = 40 * MIB;

const onlyLinux = { skip: fs.existsSync("/proc/self/io") ? false : "only Linux counts what a process reads" };

function movedBytes(): number {
  const counts = [...fs.readFileSync("/proc/self/io", "utf8").matchAll(/^[rw]char: (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** The most that was read and written without a turn of others. */
async function mostBetweenTurns(work: () => Promise<unknown>): Promise<number> {
  let [most, before, isOver] = [0, movedBytes(), false];
  const look = (): void => {
    const now = movedBytes();
    most = Math.max(most, now - before);
    before = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work();
  isOver = true;
  look();
  return most;
}

test(
  "publishing, installing, copying and looking through a large file leave others their turns (long)",
  onlyLinux,
  async (t) => {
    const world = makeWorld(t);
    const source = path.join(world.dir, "large");
    fs.mkdirSync(source);
    const file = path.join(source, "disk.img");
    // Zeros, but for its begin: the one chunk of theirs comes to many hundred places.
    fs.writeFileSync(file, noise(100_000));
    fs.truncateSync(file, LARGE_BYTES);
    const make = async (previous: Published | null): Promise<Published> =>
      await publish({
        source: plainSource(source),
        depot: directoryDepot(path.join(world.dir, "depot")),
        previous,
        now: 1_700_000_000_000,
        cacheDir: null,
        signal: t.signal,
      });
    let [one, two]: (Published | undefined)[] = [];
    const steps: Record<string, () => Promise<unknown>> = {
      publish: async () => (one = await make(null)),
      install: async () => await world.install(1, one!),
      verify: async () =>
        assert.deepEqual(await verifyInstall(world.revs, releaseId(1), one!.tree, t.signal), []),
      "copy what did not change": async () => await world.install(2, one!, { link: false }),
      "publish what changed": async () => {
        const fd = fs.openSync(file, "r+");
        fs.writeSync(fd, noise(50_000, 7), 0, 50_000, 0);
        fs.closeSync(fd);
        two = await make(one!);
      },
      // The digest waits for its first chunk, the only one that is fetched.
      update: async () => await world.install(3, two!),
    };
    for (const [step, work] of Object.entries(steps)) {
      const most = await mostBetweenTurns(work);
      assert.ok(most < MOST_BYTES, `${step}: ${Math.round(most / MIB)} MiB without a turn`);
    }
    assert.ok(fs.readFileSync(file).equals(fs.readFileSync(path.join(world.revs, releaseId(3), "disk.img"))));
  },
);

test("who leaves while a large file is read waits for no more of it", onlyLinux, async (t) => {
  const world = makeWorld(t);
  const source = path.join(world.dir, "large");
  fs.mkdirSync(source);
  const file = path.join(source, "disk.img");
  fs.writeFileSync(file, "");
  fs.truncateSync(file, LARGE_BYTES);
  const stop = new AbortController();
  const before = movedBytes();
  const leaving = publish({
    source: plainSource(source),
    depot: world.depot,
    previous: null,
    now: 1_700_000_000_000,
    cacheDir: null,
    signal: stop.signal,
  });
  setTimeout(() => stop.abort(new Error("left")), 1);
  await assert.rejects(leaving, /left/);
  assert.ok(movedBytes() - before < LARGE_BYTES / 2);
});
