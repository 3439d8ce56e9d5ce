import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { alternately, rounded, type BenchOptions, type Figure } from "./bench.ts";
import { writeWebTree } from "./peers/web-tree.ts";

const run = promisify(execFile);
/** The tree of the promise, and one that is done with in 50 s. */
const FILES = { full: 36_000, quick: 9_000 } as const;
const ROUNDS = { full: 3, quick: 3 } as const;
const GOAL_RATIO = 1.3;
const GOAL_UNCHANGED_SECONDS = 1;
/** Peak resident memory of the process. */
const GOAL_PUBLISH_MIB = 384;
const GOAL_INSTALL_MIB = 128;
const GOAL_CHANGE_BYTES = 64 * 1024;

/** CPU seconds (user and system, children included) of a shell command, and what it printed. */
async function cpuSeconds(
  command: string,
  signal: AbortSignal,
): Promise<{ seconds: number; stdout: string }> {
  const script = `TIMEFORMAT="%U %S"; time { ${command}; }`;
  const options = { signal, maxBuffer: 1 << 24, shell: false } as const;
  const { stdout, stderr } = await run("bash", ["-c", `set -o pipefail; ${script}`], options);
  const [user = Number.NaN, system = Number.NaN] = (stderr.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return { seconds: user + system, stdout };
}

interface Step {
  readonly seconds: number;
  readonly result: StepResult;
  readonly json: string;
}

interface StepResult {
  readonly tree: string;
  /** Peak resident memory in MiB. */
  readonly rss: number;
  readonly bytesFetched?: number;
  readonly storedBytes?: number;
}

export async function* bench({ quick, signal }: BenchOptions): AsyncIterable<Figure> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-bench-release-"));
  try {
    yield* measure(dir, quick, signal);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function* measure(dir: string, quick: boolean, signal: AbortSignal): AsyncIterable<Figure> {
  const at = (name: string): string => path.join(dir, name);
  const size = quick ? "quick" : "full";
  const rounds = ROUNDS[size];
  const made = writeWebTree(at("tree"), FILES[size]);
  const label = `${made.files} files, ${Math.round(made.bytes / 1e6)} MB`;
  // As it is installed: in one file, without types to strip.
  const worker = at("worker.mjs");
  await build({
    entryPoints: [path.join(import.meta.dirname, "peers/release-worker.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    outfile: worker,
    logLevel: "error",
  });
  const step = async (...args: string[]): Promise<Step> => {
    const words = [process.execPath, worker, ...args].map((word) => `'${word}'`).join(" ");
    const { seconds, stdout } = await cpuSeconds(words, signal);
    return { seconds, json: stdout.trim(), result: JSON.parse(stdout) as StepResult };
  };
  const clear = (...names: string[]): void => {
    for (const name of names) fs.rmSync(at(name), { recursive: true, force: true });
  };
  const figure = (name: string, ours: number, peer: number, peerName: string): Figure => ({
    bench: "release",
    case: `${name}, CPU s (${label})`,
    ours: rounded(ours),
    peer: rounded(peer),
    peer_name: peerName,
    ratio: rounded(ours / peer),
    goal: `ratio <= ${GOAL_RATIO}`,
    met: ours / peer <= GOAL_RATIO,
  });
  const limit = (name: string, ours: number, most: number, unit: string): Figure => ({
    bench: "release",
    case: `${name}, ${unit} (${label})`,
    ours: rounded(ours),
    peer: null,
    peer_name: "limit",
    ratio: null,
    goal: `ours <= ${most}`,
    met: ours <= most,
  });

  // Ours is on the disk when it returns, so the peer's is too.
  const pack = `tar cf - -C '${at("tree")}' . | zstd -3 -T1 -q -f -o '${at("tar.zst")}' && sync '${at("tar.zst")}'`;
  let published = "";
  let publishedRss = 0;
  let installedRss = 0;
  const publishing = await alternately(
    rounds,
    signal,
    async () => {
      clear("depot", "cache");
      const first = await step("publish", at("tree"), at("depot"), at("cache"), "");
      published = first.json;
      publishedRss = Math.max(publishedRss, first.result.rss);
      return first.seconds;
    },
    async () => (await cpuSeconds(pack, signal)).seconds,
  );
  yield figure("publish", publishing.ours, publishing.peer, "tar | zstd -3, sync");
  yield limit("publish", publishedRss, GOAL_PUBLISH_MIB, "MiB at most");

  const unchanged: number[] = [];
  for (let round = 0; round < rounds; round++) {
    unchanged.push((await step("publish", at("tree"), at("depot"), at("cache"), published)).seconds);
  }
  yield limit(
    "publish unchanged",
    unchanged.sort((a, b) => a - b)[rounds >> 1] ?? Number.NaN,
    GOAL_UNCHANGED_SECONDS,
    "CPU s",
  );

  const release = (n: number): string => String(n).padStart(32, "0");
  // Nothing is removed in between: ext4 makes files slowly for seconds after many were deleted.
  let round = 0;
  const installing = await alternately(
    rounds,
    signal,
    async () => {
      const done = await step("install", published, at("depot"), at(`revs-${++round}`), release(1));
      installedRss = Math.max(installedRss, done.result.rss);
      return done.seconds;
    },
    async () => {
      fs.mkdirSync(at(`untar-${round}`));
      const into = at(`untar-${round}`);
      const command = `zstd -dcq '${at("tar.zst")}' | tar xf - -C '${into}' && sync -f '${into}'`;
      return (await cpuSeconds(command, signal)).seconds;
    },
  );
  yield figure("install", installing.ours, installing.peer, "zstd -d | tar x, sync -f");
  yield limit("install", installedRss, GOAL_INSTALL_MIB, "MiB at most");

  fs.appendFileSync(path.join(at("tree"), "node_modules/package-0/module-1.js"), "// changed\n");
  const changed = await step("publish", at("tree"), at("depot"), at("cache"), published);
  yield limit(
    "one file changed: stored",
    changed.result.storedBytes ?? Number.NaN,
    GOAL_CHANGE_BYTES,
    "bytes",
  );
  const update = await step("install", changed.json, at("depot"), at("revs-1"), release(2));
  yield limit(
    "one file changed: fetched",
    update.result.bytesFetched ?? Number.NaN,
    GOAL_CHANGE_BYTES,
    "bytes",
  );
}
