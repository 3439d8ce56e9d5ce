import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { jumpHere } from "../../agent/subscriber/jump.ts";
import { localRevisions } from "../../agent/subscriber/listing.ts";
import { nearBucket } from "../../agent/subscriber/near-bucket.ts";
import { packagePlace } from "../../agent/subscriber/package-place.ts";
import { sync, type SyncResult } from "../../agent/subscriber/sync.ts";
import type { SyncTools } from "../../agent/subscriber/sync-package.ts";
import { openBucket, type Bucket } from "../../bucket/bucket.ts";
import { packageNamed, revisionWord } from "../../bucket/layout.ts";
import { publishCharters } from "../../bucket/publish.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { writeTree, type Tree } from "../../release/release.fixture.ts";
import { readCharters } from "../identity/home.ts";
import { initCluster } from "../server/init.ts";
import { openBucketOperator, type BucketOperator } from "./bucket-operator.ts";
import { jumpBackMaster, jumpMaster, purgeMaster } from "./master.ts";
import { spool, type SpoolOptions } from "./spool.ts";

/** An operator and a bucket of a test's own, and machines that know nothing but the bucket and the fingerprint. */
export interface BucketWorld {
  readonly dir: string;
  readonly bucketDir: string;
  readonly bucket: Bucket;
  readonly pin: Digest;
  operator(name?: string): Promise<BucketOperator>;
  /** Packs a tree as `<name>.tgz` and spools it. @returns PACKAGE.REVISION */
  spool(name: string, tree: Tree, layout?: SpoolOptions["layout"]): Promise<string>;
  /** Spools a file as it is. */
  spoolFile(file: string): Promise<string>;
  jump(revision: string, options?: { selector?: string | null; spreadMs?: number }): Promise<number | null>;
  jumpBack(name: string): Promise<number | null>;
  purge(revision: string): Promise<void>;
  machine(name: string, packages: readonly string[], change?: Partial<SyncTools>): Machine;
  /** What has to end before the folders go, the newest first. */
  onEnd(work: () => Promise<void>): void;
}

export interface Machine {
  readonly root: string;
  readonly said: string[];
  readonly tools: SyncTools;
  sync(): Promise<SyncResult>;
  /** null: back. */
  jump(name: string, revision: string | null): ReturnType<typeof jumpHere>;
  revisions(name: string): Promise<readonly string[]>;
  /** What `current` names; undefined: there is none. */
  current(name: string): string | undefined;
  /** What scripts printed of themselves, in order. */
  scripts(): readonly string[];
}

export async function bucketWorld(t: TestContext): Promise<BucketWorld> {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-bw-"));
  chmodSync(dir, 0o755);
  const ends: (() => Promise<void>)[] = [];
  atEnd(t, async () => {
    for (const end of ends.reverse()) await end();
    rmSync(dir, { recursive: true, force: true });
  });
  const { signal } = t;
  const bucketDir = path.join(dir, "bucket");
  const bucket = await openBucket(`dir:${bucketDir}`, { env: {}, writing: true, signal });
  const paths = pathsFrom({ SKEIN_HOME: path.join(dir, "op") });
  const { pin } = await initCluster({ paths, name: "ann", key: "file", hubs: [], clock: systemClock });
  const tools = { documents: bucket.documents, clock: systemClock, signal };
  await publishCharters(await readCharters(paths), tools);
  const operator = async (): Promise<BucketOperator> =>
    await openBucketOperator({ paths, bucket, clock: systemClock, signal });
  const options = { env: "default", selector: "all", spreadMs: 0, signal };
  const spooled = async (file: string, layout: SpoolOptions["layout"]): Promise<string> => {
    const made = await spool(await operator(), file, {
      env: "default",
      layout,
      tell: () => undefined,
      signal,
    });
    return `${made.package}.${made.revision}`;
  };
  let packed = 0;
  return {
    dir,
    bucketDir,
    bucket,
    pin,
    operator,
    onEnd: (work) => void ends.push(work),
    async spool(name, tree, layout = "skein") {
      const from = path.join(dir, "src", String((packed += 1)));
      const file = path.join(from, `${name}.tgz`);
      const names = readdirSync(writeTree(path.join(from, "tree"), tree));
      await promisify(execFile)("tar", ["-czf", file, "-C", path.join(from, "tree"), ...names]);
      return await spooled(file, layout);
    },
    spoolFile: async (file) => await spooled(file, "skein"),
    jump: async (word, change = {}) =>
      (await jumpMaster(await operator(), revisionWord(word), { ...options, ...change })).seq,
    jumpBack: async (name) => (await jumpBackMaster(await operator(), packageNamed(name), options)).seq,
    async purge(word) {
      await purgeMaster(await operator(), revisionWord(word), options);
    },
    machine: (name, packages, change = {}) =>
      machine(path.join(dir, name), packages, { bucket, pin, signal, ...change }),
  };
}

type Given = Partial<SyncTools> & Pick<SyncTools, "bucket" | "pin" | "signal">;

function machine(home: string, packages: readonly string[], given: Given): Machine {
  const root = path.join(home, "deploy");
  for (const name of packages) mkdirSync(path.join(root, name), { recursive: true });
  const said: string[] = [];
  const paths = given.paths ?? pathsFrom({ SKEIN_HOME: path.join(home, "skein") });
  const tools: SyncTools = {
    env: "default",
    paths,
    near: nearBucket({ bucket: given.bucket, paths, clock: given.clock ?? systemClock, log: silentLog }),
    node: path.basename(home),
    clock: systemClock,
    log: silentLog,
    onLine: (line) => said.push(line),
    waitMs: 60_000,
    maxAgeMs: null,
    say: (line) => said.push(line),
    ...given,
  };
  return {
    root,
    said,
    tools,
    sync: async () => await sync(root, tools),
    jump: async (name, revision) => await jumpHere(packagePlace(root, name), revision, tools),
    revisions: async (name) =>
      (await localRevisions(packagePlace(root, name))).map(({ revision }) => `${name}.${revision}`),
    current: (name) => {
      try {
        return readlinkSync(path.join(root, name, "current"));
      } catch {
        return undefined;
      }
    },
    scripts: () => said.flatMap((line) => / \| (ran .*)/.exec(line)?.[1] ?? []),
  };
}

/** Scripts that say that they ran, of which and in what. */
export function scripts(version: string, change: Readonly<Record<string, string>> = {}): Tree {
  const names = ["post-sync", "pre-jump", "un-jump", "post-jump", "pre-remove"];
  const own = names.map((name) => [
    `${name}.sh`,
    `echo "ran ${name} of ${version}"\n${change[name] ?? ""}\n`,
  ]);
  return { version, ...Object.fromEntries(own) };
}
