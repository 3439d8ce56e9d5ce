// Runs tests once and ends with the runner's own summary: `npm test -- [--all] [FILES...] [--test-name-pattern=TEXT]`.
import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import path from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { S3_OF_RUN, startS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { builtChild } from "../src/lib/testing/child.fixture.ts";
import { buildPackage } from "../test/support/program.ts";
import { inBatches } from "./batches.ts";
import { lazyBuiltins, noLocales } from "./bundling.ts";
import { RunFolder } from "./run-folder.ts";

const root = path.resolve(import.meta.dirname, "..");
const cache = path.join(root, "node_modules", ".cache");
const packages = path.join(cache, "skein-test");
const compiled = path.join(cache, "compile");
mkdirSync(packages, { recursive: true }); // apps load a file of it, as users of their own
mkdirSync(compiled, { recursive: true, mode: 0o700 });

/** Most tests wait for sockets and processes rather than for a core: so many at once keep two cores busy. */
const AT_ONCE = 4;
const LIMIT_MS = 180_000;
/** The limit is for a test; a file whose tests are over may still be held by what one of them left open. */
const SILENT_MS = LIMIT_MS + 60_000;
/** For tests that are broken off. Those that hang even then end with the run's folder. */
const BROKEN_OFF_MS = 15_000;
/** Packages of other states of the source. */
const KEPT_MS = 24 * 3_600_000;
/** Tests that take long, beyond the first of each kind: left out unless all, some file or some name is asked for. */
const LONG = /\(long\)$/;
/** They begin first, so that none of them is what all the others' cores wait for in the end. */
const LONGEST = [
  "src/agent/faults.test.ts",
  "test/{disk-faults,bad-input,recovery}.test.ts",
  "src/agent/installs/spares.test.ts",
  "test/{up,steering,peers,systemd}.test.ts",
  "src/operator/bucket/sync.test.ts",
  "src/depot/**/*swarm.test.ts",
  "src/release/faults.test.ts",
  "src/hub/git/damaged.test.ts",
  "src/agent/agent.test.ts",
  "test/*.test.ts",
];

const { values, positionals } = parseArgs({
  options: {
    all: { type: "boolean", default: false },
    "test-name-pattern": { type: "string", multiple: true, default: [] },
  },
  allowPositionals: true,
});
const globs =
  positionals.length > 0 ? positionals : [...LONGEST, "src/agent/**/*.test.ts", "src/**/*.test.ts"];
const filesOf = (some) => new Set(some.flatMap((glob) => globSync(glob, { cwd: root }).sort()));
const isSome = positionals.length > 0 || values["test-name-pattern"].length > 0;
const isWhole = values.all || isSome;
const files = new Set([...filesOf(globs)].filter((file) => isWhole || hasShort(file)));
const missing = positionals.filter((name) => globSync(name, { cwd: root }).length === 0);
if (missing.length > 0) {
  console.error(`test: no such file: ${missing.join(", ")}`);
  process.exit(2);
}

const stop = new AbortController();
stop.signal.addEventListener("abort", () => {
  setTimeout(() => process.exit(1), BROKEN_OFF_MS).unref();
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop.abort());
const folder = new RunFolder();
const s3 = startS3Servers();
process.on("exit", () => {
  s3.end();
  if (stop.signal.aborted) folder.breakOff();
  else if (!folder.end()) process.exitCode = 1;
});
const built = await builtPackage();
const absolute = (some) => [...some].map((file) => path.resolve(root, file));
const tests = run({
  files: inBatches(absolute(files), new Set(absolute(filesOf(LONGEST))), folder.path),
  cwd: root,
  concurrency: AT_ONCE,
  timeout: LIMIT_MS,
  testNamePatterns: values["test-name-pattern"],
  testSkipPatterns: isWhole ? [] : [LONG],
  env: {
    ...process.env,
    TMPDIR: folder.path,
    NODE_COMPILE_CACHE: compiled,
    ...(await s3.env),
    XDG_CACHE_HOME: path.join(built, "cache"),
    SKEIN_TEST_PACKAGE: path.join(built, "package"),
  },
  signal: stop.signal,
});
process.exitCode = 1;
tests.on("test:summary", ({ file, success, counts }) => {
  if (file !== undefined) return;
  const isPassedOver = counts.skipped > 0 && Boolean(process.env.CI);
  if (isPassedOver) console.error(`test: ${counts.skipped} were skipped, and in CI none may be`);
  else if (success) process.exitCode = 0;
});
endWhenSilent();
tests.compose(spec).pipe(process.stdout);

/** One of each kind for all files that use one: each takes seconds to start. Where none starts, the files say so. */
function startS3Servers() {
  const isUsed = [...files].some((file) =>
    readFileSync(path.resolve(root, file), "utf8").includes("sharedS3Server"),
  );
  const starting = isUsed
    ? [false, true].map((conditional) => startS3Server({ conditional, within: folder.path }))
    : [];
  const servers = [];
  for (const one of starting) one.then((server) => servers.push(server)).catch(() => undefined);
  return {
    env: Promise.all(starting).then(
      (all) => (isUsed ? { [S3_OF_RUN]: JSON.stringify(all.map(({ endpoint }) => endpoint)) } : {}),
      () => ({}),
    ),
    end() {
      for (const server of servers) void server[Symbol.asyncDispose]();
    },
  };
}

/** A file whose tests are all left out would still make what they share. */
function hasShort(file) {
  const text = readFileSync(path.resolve(root, file), "utf8");
  const names = [...text.matchAll(/^ *test\((?:\s*(["`])(.*?)\1,)?/gm)].map(([, , name = ""]) => name);
  return text.includes(".conformance.ts") || names.length === 0 || !names.every((name) => LONG.test(name));
}

/** Says which files never ended, and fails, instead of waiting with them. */
function endWhenSilent() {
  const running = new Set();
  const silent = setTimeout(() => {
    console.error(`test: nothing ended for ${SILENT_MS / 1000} s; still running: ${[...running].join(", ")}`);
    stop.abort();
  }, SILENT_MS);
  tests.on("test:dequeue", ({ name, file }) => name === file && running.add(file));
  tests.on("test:complete", ({ name, file }) => {
    if (name === file) running.delete(file);
    silent.refresh();
  });
  tests.on("test:summary", ({ file }) => file === undefined && clearTimeout(silent));
}

/** The programs that tests start and kill, beside those that they start. */
async function buildChildren(dist) {
  const require = 'const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);';
  const children = globSync("{src,test}/**/*.child.ts", { cwd: root });
  await build({
    entryPoints: children.map((file) => ({
      in: path.join(root, file),
      out: path.parse(builtChild(file)).name,
    })),
    outdir: dist,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    plugins: [lazyBuiltins, noLocales],
    banner: { js: require },
    logLevel: "error",
  });
}

/** What ships, built once. Its name is its content's: two runs at once may share it, and what Node compiled of it stays good. */
async function builtPackage() {
  const fresh = path.join(packages, `new-${process.pid}`);
  await buildPackage(fresh, stop.signal);
  const dist = path.join(fresh, "package", "dist");
  await buildChildren(dist);
  const hash = createHash("sha256");
  for (const name of readdirSync(dist, { recursive: true }).sort()) {
    const file = path.join(dist, name);
    if (statSync(file).isFile()) hash.update(`${name}\0`).update(readFileSync(file));
  }
  const kept = path.join(packages, hash.digest("hex").slice(0, 16));
  if (existsSync(kept)) rmSync(fresh, { recursive: true });
  else renameSync(fresh, kept);
  const now = Date.now();
  utimesSync(kept, now / 1000, now / 1000);
  for (const name of readdirSync(packages)) {
    const old = path.join(packages, name);
    // Another run's may have got its own name meanwhile.
    const { mtimeMs = now } = statSync(old, { throwIfNoEntry: false }) ?? {};
    if (now - mtimeMs > KEPT_MS) rmSync(old, { recursive: true, force: true });
  }
  return kept;
}
