import assert from "node:assert/strict";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import test, { type TestContext } from "node:test";
import * as fc from "fast-check";
import { directoryDepot } from "../../depot/directory/directory.ts";
import type { PrunableDepot } from "../../depot/seam/depot.ts";
import { fakeClock, type FakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { bytesBlob } from "../fetch/blobs.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { packName } from "../tree/pack.ts";
import { publish, type Published } from "../publish/publish.ts";
import { noise, plainSource, tempDir, writeTree } from "../release.fixture.ts";
import { indexOf, loadTree } from "../fetch/tree-blobs.ts";
import { collect, type Collected } from "./collect.ts";
import { seesRetired } from "./retired.ts";

const GRACE_MS = 1000;

/**
 * Everybody's operations on one depot, one at a time, in an order that `pick` decides: each of them may come to
 * stand for as long as the others need. Renames are a copy and a deletion, as S3
 * does them.
 */
class Crowd {
  readonly #waiting: (() => void)[] = [];
  #active = 0;
  readonly depot: PrunableDepot;

  constructor(depot: PrunableDepot) {
    const once = async <T>(work: () => Promise<T>): Promise<T> => {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      return await work();
    };
    this.depot = {
      ...depot,
      has: async (names, signal) => await once(async () => await depot.has(names, signal)),
      async *get(name, signal, range) {
        const pieces = await once(async () => await Array.fromAsync(depot.get(name, signal, range)));
        yield* pieces;
      },
      async *list(prefix, signal) {
        yield* await once(async () => await Array.fromAsync(depot.list(prefix, signal)));
      },
      async *entries(prefix, signal) {
        yield* await once(async () => await Array.fromAsync(depot.entries(prefix, signal)));
      },
      put: async (name, blob, signal) => await once(async () => await depot.put(name, blob, signal)),
      delete: async (name, signal) => await once(async () => await depot.delete(name, signal)),
      rename: async (from, to, signal) => {
        const bytes = await once(async () => {
          const pieces = await Array.fromAsync(depot.get(from, signal));
          return Buffer.concat(pieces);
        });
        await once(async () => await depot.put(to, bytesBlob(bytes), signal));
        await once(async () => await depot.delete(from, signal));
      },
    };
  }

  /** Waits for its turn, as an operation does. */
  async wait(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async run(
    actors: readonly Promise<void>[],
    pick: (n: number) => number,
    between: () => void,
  ): Promise<void> {
    this.#active = actors.length;
    const all = Promise.all(actors.map(async (actor) => await actor.finally(() => (this.#active -= 1))));
    while (this.#active > 0) {
      await turn();
      if (this.#waiting.length === 0) continue;
      const [next] = this.#waiting.splice(pick(this.#waiting.length), 1);
      between();
      next?.();
    }
    await all;
  }
}

interface World {
  readonly plain: PrunableDepot;
  readonly crowd: Crowd;
  readonly clock: FakeClock;
  readonly roots: Map<string, Published>;
  readonly folder: string;
}

function makeWorld(t: TestContext): World {
  const folder = tempDir(t);
  const plain = directoryDepot(path.join(folder, "depot"));
  return { plain, crowd: new Crowd(plain), clock: fakeClock(), roots: new Map(), folder };
}

/** Trees that share most of their chunks, so that one's packs serve another. */
function sourceOf(world: World, n: number) {
  const tree = { shared: noise(90_000, 1), own: noise(30_000, 10 + n), text: `release ${n}` };
  return plainSource(writeTree(path.join(world.folder, `tree-${n}`), tree));
}

async function publisher(t: TestContext, world: World, n: number): Promise<void> {
  const { depot } = world.crowd;
  const options = { depot, previous: null, now: 0, cacheDir: null, signal: t.signal };
  const published = await publish({ ...options, source: sourceOf(world, n) });
  // Between its last look and the release stands the signing.
  await world.crowd.wait();
  world.roots.set(`release ${n}`, published);
}

async function collector(t: TestContext, world: World): Promise<Collected> {
  const roots = () => [...world.roots.values()];
  return await collect({
    depot: world.crowd.depot,
    roots,
    graceMs: GRACE_MS,
    clock: world.clock,
    signal: t.signal,
  });
}

/** Every release that was written can be read, whatever collections are under way. */
async function assertReadable(t: TestContext, world: World, depot = seesRetired(world.plain)): Promise<void> {
  for (const [name, root] of world.roots) {
    const { rows } = await loadTree(new Fetcher([depot], t.signal), root);
    assert.equal(rows.length, 3, name);
    // Packs are named by their content: those that are there are whole.
    const packs = (await indexOf(depot, root.tree, t.signal))?.packs ?? [];
    for (const pack of packs)
      await Array.fromAsync(depot.get(packName(pack), t.signal, { start: 0, end: 1 }));
  }
}

async function collectAlone(t: TestContext, world: World): Promise<Collected> {
  const roots = () => [...world.roots.values()];
  world.clock.advance(GRACE_MS + 1);
  return await collect({
    depot: world.plain,
    roots,
    graceMs: GRACE_MS,
    clock: world.clock,
    signal: t.signal,
  });
}

test("publishers, removers and collectors in any order lose no release, and leave nothing behind (long)", async (t) => {
  const picks = fc.array(fc.nat({ max: 1_000_000 }), { minLength: 50, maxLength: 200 });
  const kind = fc.constantFrom("publish", "publish", "publish", "collect", "collect", "remove" as const);
  const actor = fc.record({ kind, n: fc.nat({ max: 1 }) });
  const days = fc.array(fc.array(actor, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(picks, days, fc.nat({ max: 2 }), async (picks, days, runsBefore) => {
      const world = makeWorld(t);
      let at = 0;
      const next = (): number => picks[at++ % picks.length] ?? 0;
      // Something that was noted or retired before, and that a publisher may be about to use again.
      for (const tree of [0, 1]) await publish(alone(t, world, tree));
      for (let n = 0; n < runsBefore; n++) await collectAlone(t, world);
      for (const actors of days) {
        world.clock.advance(GRACE_MS + 1);
        const begun = actors.map(async ({ kind, n }) => {
          if (kind === "publish") await publisher(t, world, n);
          else if (kind === "collect") await collector(t, world);
          else {
            await world.crowd.wait();
            world.roots.delete(`release ${n}`);
          }
        });
        // Now and then time passes, but never so much that a publisher has taken longer than the grace.
        await world.crowd.run(
          begun,
          (n) => next() % n,
          () => world.clock.advance(GRACE_MS / 1000),
        );
        await assertReadable(t, world);
      }
      for (let n = 0; n < 4; n++) {
        await collectAlone(t, world);
        await assertReadable(t, world);
      }
      await assertReadable(t, world, world.plain);
      const last = await collectAlone(t, world);
      for (const kind of ["noted", "retired", "waiting", "restored", "deleted"] as const) {
        assert.equal(last[kind].blobs, 0, kind);
      }
    }),
    { numRuns: 12 },
  );
});

function alone(t: TestContext, world: World, n: number): Parameters<typeof publish>[0] {
  return {
    source: sourceOf(world, n),
    depot: world.plain,
    previous: null,
    now: 0,
    cacheDir: null,
    signal: t.signal,
  };
}
