/** A deployment begins with what an earlier one left in memory, and no snapshot can make a command fail. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { before, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { bootId, identityOf } from "../src/cli/snapshot/place.ts";
import { atEnd } from "../src/lib/at-end.fixture.ts";
import { startCluster } from "./support/cluster.ts";
import { until } from "./support/processes.ts";
import { buildPackage, type Program } from "./support/program.ts";
import { sourceRepo } from "./support/repo.ts";

const run = promisify(execFile);
/** What the launcher gives Node for a deployment. */
const FLAGS = ["--use-openssl-ca", "--min-semi-space-size=16", "--max-semi-space-size=16"];
const SECRET = "a word that is this machine's alone";

interface Installed {
  readonly program: Program;
  readonly root: string;
  readonly caches: string;
  /** Without its ending. */
  readonly snapshot: string;
}

/** One that tests only look at. */
let shared: Installed;
const dirs: string[] = [];

before(async () => {
  shared = await install();
  await make(shared);
});
process.once("exit", () => {
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
});

async function install(): Promise<Installed> {
  // A blank in its name: the launcher is a shell script.
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "skein snapshot-")));
  dirs.push(dir);
  const program = await buildPackage(path.join(dir, "out"));
  return installed(path.join(dir, "out/package"), dir, program);
}

function installed(root: string, dir: string, program: Program): Installed {
  const caches = path.join(dir, "caches");
  return { program, root, caches, snapshot: path.join(caches, "skein/snapshots", root, "deploy") };
}

async function make({ root, caches }: Installed): Promise<void> {
  const env = { PATH: process.env["PATH"], HOME: os.tmpdir(), XDG_CACHE_HOME: caches, WORD: SECRET };
  await run(process.execPath, [...FLAGS, path.join(root, "dist/make-snapshot.mjs")], { env });
}

/** Says of what is there that it was seen to start. */
function stamp({ root, snapshot }: Installed): void {
  const files = [process.execPath, path.join(root, "dist/deploy-snapshot.cjs"), `${snapshot}.snapshot`];
  const lines = [bootId(), ...files.map((file) => identityOf(file)), ""];
  fs.writeFileSync(`${snapshot}.stamp`, lines.join("\n"), { mode: 0o600 });
}

/** A copy with a snapshot of its own, whose ordinary program only says so. */
async function other(t: TestContext): Promise<Installed> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-snapshot-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const root = path.join(fs.realpathSync(dir), "package");
  fs.cpSync(shared.root, root, { recursive: true, verbatimSymlinks: true });
  const helperDir = path.join(root, "bin");
  const made = installed(root, fs.realpathSync(dir), {
    command: path.join(helperDir, "skein"),
    args: [],
    helperDir,
  });
  await make(made);
  for (const name of ["main", "deploy"])
    fs.writeFileSync(path.join(root, `dist/${name}.mjs`), 'console.log("without a snapshot");');
  return made;
}

async function help({ program, caches }: Installed, more: NodeJS.ProcessEnv = {}): Promise<string> {
  const env = { PATH: process.env["PATH"], HOME: os.tmpdir(), XDG_CACHE_HOME: caches, ...more };
  const { stdout } = await run(program.command, ["deploy", "--help"], { env });
  return stdout;
}

const FROM_SNAPSHOT = /^Usage: skein deploy/;
const WITHOUT = /^without a snapshot/;

test("a deployment that went well leaves a snapshot, and the next one begins with it", async (t) => {
  const { program, caches } = shared;
  const cluster = await startCluster({ signal: t.signal, program });
  atEnd(t, async () => await cluster[Symbol.asyncDispose]());
  await cluster.addNode("a");
  const repo = await sourceRepo(path.join(cluster.dir, "source"));
  const own = path.join(cluster.dir, "caches");
  const deploy = async (text: string, xdg: string): Promise<string> => {
    await repo.commit({
      "skein.yaml": "app: web\nstrategy: { type: all_at_once, bake: 0s }\n",
      "a.txt": text,
    });
    const env = { SKEIN_SNAPSHOT: "", XDG_CACHE_HOME: xdg };
    const done = await cluster.skein(["deploy", "web"], { cwd: repo.dir, env });
    assert.equal(done.code, 0, done.stderr);
    return done.stdout;
  };
  assert.match(await deploy("1", own), /^web@\w+ runs on 1 node$/m);
  const made = path.join(own, "skein/snapshots", shared.root, "deploy.stamp");
  await until("a snapshot is made", () => (fs.existsSync(made) ? true : undefined), {
    withinMs: 120_000,
    signal: t.signal,
  });
  assert.equal(fs.readFileSync(made, "utf8").split("\n").length, 5);
  const plain = path.join(shared.root, "dist/deploy.mjs");
  fs.renameSync(plain, `${plain}.away`);
  atEnd(t, () => fs.renameSync(`${plain}.away`, plain));
  assert.match(await deploy("2", own), /^web@\w+ runs on 1 node$/m);
  assert.match(await deploy("3", caches), /^web@\w+ runs on 1 node$/m);
});

test("a command begins anew: where it is, what it was told, what it draws by lot", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-snapshot-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const probe = path.join(import.meta.dirname, "support/snapshot-probe.cjs");
  const file = path.join(dir, "probe.snapshot");
  const frozenIn = { cwd: os.tmpdir(), env: { WORD: "frozen", TZ: "Asia/Tokyo" } };
  await run(process.execPath, ["--snapshot-blob", file, "--build-snapshot", probe], frozenIn);
  const look = async (word: string): Promise<Record<string, unknown>> => {
    const env = { WORD: word, TZ: "UTC" };
    const shell = ["-c", 'umask 027; exec "$@"', "sh", process.execPath, "--snapshot-blob", file, "x", word];
    const { stdout } = await run("sh", shell, { cwd: dir, env });
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const [one, two] = [await look("one"), await look("two")];
  const told = { word: "one", argv: ["one"], cwd: fs.realpathSync(dir), umask: 0o027, offset: 0 };
  assert.deepEqual(pick(one, Object.keys(told)), told);
  assert.equal(two["word"], "two");
  for (const lot of ["random", "bytes", "key", "began"]) assert.notDeepEqual(one[lot], two[lot], lot);
  assert.ok((one["sinceBegin"] as number) < 60_000);
});

const pick = (from: Record<string, unknown>, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(names.map((name) => [name, from[name]]));

test("nothing of this machine is in a snapshot, and nobody else may read it", () => {
  const file = `${shared.snapshot}.snapshot`;
  assert.equal(fs.readFileSync(file).includes(SECRET), false);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
});

const CHANGES: Readonly<Record<string, (one: Installed) => void>> = {
  "the snapshot is cut": ({ snapshot }) => fs.truncateSync(`${snapshot}.snapshot`, 100_000),
  "one byte of the snapshot differs": ({ snapshot }) => {
    const handle = fs.openSync(`${snapshot}.snapshot`, "r+");
    fs.writeSync(handle, Buffer.from([0x55]), 0, 1, 5_000_000);
    fs.closeSync(handle);
  },
  "the snapshot is gone": ({ snapshot }) => fs.rmSync(`${snapshot}.snapshot`),
  "others may write the snapshot": ({ snapshot }) => fs.chmodSync(`${snapshot}.snapshot`, 0o666),
  "the program is another": ({ root }) =>
    fs.appendFileSync(path.join(root, "dist/deploy-snapshot.cjs"), "\n"),
  "the machine has started anew": ({ snapshot }) => {
    const [, ...rest] = fs.readFileSync(`${snapshot}.stamp`, "utf8").split("\n");
    fs.writeFileSync(`${snapshot}.stamp`, ["another-boot", ...rest].join("\n"));
  },
  "the stamp is empty": ({ snapshot }) => fs.writeFileSync(`${snapshot}.stamp`, ""),
  "the stamp is another user's": ({ snapshot }) => {
    if (process.getuid?.() === 0) fs.chownSync(`${snapshot}.stamp`, 65_534, 65_534);
    else fs.rmSync(`${snapshot}.stamp`);
  },
  // The last: the next snapshot would be made by another one than the launcher starts.
  "Node is another": ({ root }) => {
    const link = path.join(root, "node_modules/.bin/node");
    const real = fs.realpathSync(link);
    fs.rmSync(link);
    fs.copyFileSync(real, link);
  },
};

test("a snapshot is used while nothing has changed, and whatever has changed, the command runs", async (t) => {
  const one = await other(t);
  const whole = path.join(one.root, "whole");
  fs.copyFileSync(`${one.snapshot}.snapshot`, whole);
  for (const [what, change] of Object.entries(CHANGES)) {
    assert.match(await help(one), FROM_SNAPSHOT, `before ${what}`);
    change(one);
    assert.match(await help(one), WITHOUT, what);
    for (const file of ["snapshot", "stamp"]) fs.rmSync(`${one.snapshot}.${file}`, { force: true });
    fs.copyFileSync(whole, `${one.snapshot}.snapshot`);
    stamp(one);
  }
});

test("who asks more of Node than a snapshot can give gets the ordinary program", async (t) => {
  const one = await other(t);
  for (const [name, value] of [
    ["NODE_OPTIONS", "--no-deprecation"],
    ["SKEIN_SNAPSHOT", "no"],
    ["SKEIN_FAULT", "operator.signed"],
    ["SKEIN_BUCKET", "s3://bucket"],
  ] as const) {
    assert.match(await help(one, { [name]: value }), WITHOUT, name);
  }
});

test("where none can be made, that is found out once", async (t) => {
  const one = await other(t);
  fs.rmSync(path.dirname(one.snapshot), { recursive: true });
  fs.writeFileSync(path.join(one.root, "dist/deploy-snapshot.cjs"), "process.exit(1);");
  await make(one);
  const { mtimeMs } = fs.statSync(`${one.snapshot}.stamp`);
  assert.match(fs.readFileSync(`${one.snapshot}.stamp`, "utf8"), /^none\n/);
  assert.match(await help(one), WITHOUT);
  await make(one);
  assert.equal(fs.statSync(`${one.snapshot}.stamp`).mtimeMs, mtimeMs);
});

test("a folder that others may write holds no snapshot", async (t) => {
  const one = await other(t);
  fs.rmSync(one.caches, { recursive: true });
  fs.mkdirSync(path.join(one.caches, "skein/snapshots"), { recursive: true });
  fs.chmodSync(path.join(one.caches, "skein/snapshots"), 0o777);
  await make(one);
  assert.equal(fs.existsSync(`${one.snapshot}.stamp`), false);
});

test("snapshots of packages that are gone, and what was left unfinished, are removed", async (t) => {
  const one = await other(t);
  const gone = path.join(one.caches, "skein/snapshots/no/such/package");
  fs.mkdirSync(gone, { recursive: true });
  fs.writeFileSync(path.join(gone, "deploy.snapshot"), "");
  const [old, fresh] = [`${one.snapshot}.snapshot.00.tmp`, `${one.snapshot}.snapshot.11.tmp`];
  for (const file of [old, fresh]) fs.writeFileSync(file, "");
  fs.utimesSync(old, 1, 1);
  await make(one);
  assert.equal(fs.existsSync(path.join(gone, "deploy.snapshot")), false);
  assert.deepEqual([fs.existsSync(old), fs.existsSync(fresh)], [false, true]);
  assert.match(await help(one), FROM_SNAPSHOT);
});
