import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { directoryDepot } from "../depot/directory/directory.ts";
import { publish, type Published } from "./publish/publish.ts";
import { noise, plainSource, tempDir, type Tree, writeTree } from "./release.fixture.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

const FILES = 4000;
const LARGE_BYTES = 64 * 1024 * 1024;
/**
 * What an install may hold beside what the program takes for a tiny one, in MiB: it took 6 to 15 when this was written.
 * A node idles at about 81 MiB and may peak at 128.
 */
const MOST_MIB = 24;
/** Many files that are all new are put down by two threads, of which the second takes 10 to 13. */
const THREAD_MIB = 16;
/** The same of a publish: 32 with the many files, 41 with the large one, and 48 with one three times as large. */
const MOST_OF_PUBLISH_MIB = 60;

const run = promisify(execFile);
const PROGRAM = childProgram(import.meta.dirname, "release-run.child.ts");

interface Received {
  readonly linked: number;
  readonly bytesFetched: number;
  readonly peakMib: number;
}

/** A depot, and processes that receive from it as an agent would. */
class Place {
  readonly #dir: string;
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(t: TestContext) {
    this.#dir = tempDir(t);
    this.#signal = t.signal;
  }

  /** `name`: of a folder that is written to; what is in it already stays. */
  async publish(name: string, tree: Tree, previous: Published | null = null): Promise<Published> {
    const source = plainSource(writeTree(path.join(this.#dir, name), tree));
    const depot = directoryDepot(this.#depot);
    const now = 1_700_000_000_000;
    return await publish({ source, depot, previous, now, cacheDir: null, signal: this.#signal });
  }

  /** With the launcher's settings for who publishes. @returns its peak, in MiB */
  async publishApart(name: string, tree: Tree): Promise<number> {
    const [folder = "", depot = "", cache = ""] = ["tree", "depot", "cache"].map((one) =>
      path.join(this.#dir, "apart", name, one),
    );
    writeTree(folder, tree);
    const { stdout } = await run(
      process.execPath,
      [
        "--min-semi-space-size=16",
        "--max-semi-space-size=16",
        PROGRAM,
        "publish-measured",
        depot,
        folder,
        cache,
      ],
      { signal: this.#signal },
    );
    return (JSON.parse(stdout) as { readonly peakMib: number }).peakMib;
  }

  /** With the launcher's settings for an agent. */
  async receive(revs: string, published: Published): Promise<Received> {
    const words = ["install-measured", this.#depot, path.join(this.#dir, revs), String(this.#count++)];
    const { stdout } = await run(
      process.execPath,
      ["--max-semi-space-size=2", PROGRAM, ...words, JSON.stringify(published)],
      { env: { ...process.env, MALLOC_ARENA_MAX: "1" }, signal: this.#signal },
    );
    return JSON.parse(stdout) as Received;
  }

  get #depot(): string {
    return path.join(this.#dir, "depot");
  }
}

test("what an install holds in memory is bounded: many files, an update of them, one large file (long)", async (t) => {
  const place = new Place(t);
  const tiny = await place.receive("tiny", await place.publish("tiny-tree", { "one.txt": "one" }));
  const held = ({ peakMib }: Received): number => peakMib - tiny.peakMib;

  const first = await place.publish("many-tree", files(1));
  const installed = await place.receive("many", first);
  assert.ok(held(installed) < MOST_MIB + THREAD_MIB, `${FILES} files took ${held(installed)} MiB`);

  const next = await place.publish("many-tree", files(100), first);
  const update = await place.receive("many", next);
  assert.equal(update.linked, FILES - FILES / 100);
  assert.ok(held(update) < MOST_MIB, `an update of ${FILES} files took ${held(update)} MiB`);

  const noisy = await place.publish("large-tree", { "large.bin": noise(LARGE_BYTES, 7) });
  const large = await place.receive("large", noisy);
  assert.ok(large.bytesFetched > LARGE_BYTES);
  assert.ok(held(large) < MOST_MIB, `a file of ${LARGE_BYTES} bytes took ${held(large)} MiB`);
});

test("what a publish holds in memory is bounded: many files, one large file (long)", async (t) => {
  const place = new Place(t);
  const tiny = await place.publishApart("tiny", { "one.txt": "one" });
  for (const [what, tree] of [
    [`${FILES} files`, files(1)],
    [`a file of ${LARGE_BYTES} bytes`, { "large.bin": noise(LARGE_BYTES, 7) }],
  ] as const) {
    const held = (await place.publishApart(what, tree)) - tiny;
    assert.ok(held < MOST_OF_PUBLISH_MIB, `${what} took ${held} MiB`);
  }
});

/** One file in `each`; what is in it tells which ones they are. */
function files(each: number): Tree {
  const tree: Record<string, string> = {};
  for (let n = 0; n < FILES; n += each) {
    tree[`packages/package-${Math.floor(n / 100)}/module-${n}.js`] = `export const value${n} = ${each};\n`;
  }
  return tree;
}
