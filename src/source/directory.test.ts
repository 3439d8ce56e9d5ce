import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { arrange } from "../release/tree/arrange.ts";
import { comparePaths } from "../release/tree/tree-path.ts";
import { directorySource } from "./directory.ts";

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-source-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const paths = async (t: TestContext, dir: string, files?: readonly string[]): Promise<string[]> => {
  const source = directorySource(dir, files === undefined ? {} : { files });
  return (await source.entries(t.signal)).map((entry) => `${entry.kind} ${entry.path}`).sort();
};

test("a folder gives everything in it but .git, at any depth", async (t) => {
  const dir = folder(t);
  for (const at of ["a", ".git", "vendor/.git", "empty"])
    fs.mkdirSync(path.join(dir, at), { recursive: true });
  for (const at of ["a/x", ".git/HEAD", "vendor/.git/HEAD", "vendor/y"])
    fs.writeFileSync(path.join(dir, at), "");
  fs.chmodSync(path.join(dir, "a/x"), 0o755);
  fs.symlinkSync("a/x", path.join(dir, "link"));
  assert.deepEqual(await paths(t, dir), ["d a", "d empty", "d vendor", "f vendor/y", "l link", "x a/x"]);
});

test("folders that are deeper than any path may be are refused by their length, or left out", async (t) => {
  const dir = folder(t);
  const deep = Array.from({ length: 12 }, () => "d".repeat(250)).join("/");
  for (const half of ["a", "b"]) fs.mkdirSync(path.join(dir, half, deep), { recursive: true });
  fs.writeFileSync(path.join(dir, "x"), "");
  const end = path.join(dir, "a", deep, "b");
  fs.renameSync(path.join(dir, "b"), end);
  const data = { path: `a/${deep.slice(0, 5 * 251 - 1)}`, reason: "the path is over 1024 bytes" };
  await assert.rejects(paths(t, dir), { code: "TREE_REFUSED", data });
  assert.deepEqual(await paths(t, dir, ["x"]), ["f x"]);
  fs.renameSync(end, path.join(dir, "b"));
});

test("what a folder gives is in the order of a tree's rows", async (t) => {
  const dir = folder(t);
  for (const at of ["a/b/c", "a/b-/c", "a-/x", "a.d/x", "a b/x", "empty"])
    fs.mkdirSync(path.join(dir, path.dirname(`${at}/x`)), { recursive: true });
  for (const at of ["a/b/c/x", "a/b/c.x", "a/b-/c/x", "a/b-x", "a/b.x", "a-/x/x", "a.d/x/x", "a0", "a!", "Z"])
    fs.writeFileSync(path.join(dir, at), "");
  const entries = await directorySource(dir).entries(t.signal);
  const read = entries.map((entry) => entry.path);
  assert.deepEqual(read, read.toSorted(comparePaths));
  assert.deepEqual(arrange(entries), entries);
  assert.ok(read.indexOf("a/b/c") > read.indexOf("a/b-/c/x"));
});

test("the manifest's globs choose, later ones win, and a folder's name takes what is below", async (t) => {
  const dir = folder(t);
  for (const at of ["dist/a.js", "dist/a.js.map", "dist/sub/b.js", "src/a.ts", "package.json"]) {
    fs.mkdirSync(path.dirname(path.join(dir, at)), { recursive: true });
    fs.writeFileSync(path.join(dir, at), "");
  }
  assert.deepEqual(await paths(t, dir, ["dist", "package.json", "!**/*.map"]), [
    "d dist",
    "d dist/sub",
    "f dist/a.js",
    "f dist/sub/b.js",
    "f package.json",
  ]);
  assert.deepEqual(await paths(t, dir, ["**/*.{ts,map}"]), ["f dist/a.js.map", "f src/a.ts"]);
  assert.deepEqual(await paths(t, dir, ["!src"]), [
    "d dist",
    "d dist/sub",
    "f dist/a.js",
    "f dist/a.js.map",
    "f dist/sub/b.js",
    "f package.json",
  ]);
});

const BIND = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])";

test("what a release may not hold is refused by name and reason", async (t) => {
  const cases: readonly [string, (file: string) => unknown, RegExp][] = [
    ["fifo", (file) => execFileSync("mkfifo", [file]), /a FIFO/],
    ["socket", (file) => execFileSync("python3", ["-c", BIND, file]), /a socket/],
    ["setuid", (file) => (fs.writeFileSync(file, ""), fs.chmodSync(file, 0o4755)), /setuid/],
    ["setgid", (file) => (fs.writeFileSync(file, ""), fs.chmodSync(file, 0o2755)), /setgid/],
    ["latin1", (file) => fs.writeFileSync(Buffer.from(`${file}\xff`, "latin1"), ""), /not valid UTF-8/],
    ["link", (file) => fs.symlinkSync(Buffer.from("\xff", "latin1"), file), /not valid UTF-8/],
  ];
  for (const [name, make, reason] of cases) {
    const dir = folder(t);
    make(path.join(dir, name));
    await assert.rejects(directorySource(dir).entries(t.signal), (err: Error & { code?: string }) => {
      assert.equal(err.code, "TREE_REFUSED");
      assert.match(err.message, reason);
      assert.ok(err.message.includes(name));
      return true;
    });
  }
});

test("a folder whose name is no text is refused, or left out where nothing of it was asked for", async (t) => {
  const dir = folder(t);
  const bad = Buffer.concat([Buffer.from(`${dir}/bad`), Buffer.from([0xff])]);
  fs.mkdirSync(bad);
  fs.writeFileSync(path.join(dir, "good"), "");
  const reason = "its name is not valid UTF-8";
  await assert.rejects(paths(t, dir), { code: "TREE_REFUSED", data: { path: "bad\ufffd", reason } });
  const source = directorySource(dir, { files: ["good"] });
  assert.deepEqual(
    (await source.entries(t.signal)).map((entry) => entry.path),
    ["good"],
  );
  assert.deepEqual(source.notes, [`bad\ufffd is left out: ${reason}`]);
});

test("a socket is refused", async (t) => {
  const dir = folder(t);
  const server = net.createServer().listen(path.join(dir, "sock"));
  atEnd(t, () => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  await assert.rejects(directorySource(dir).entries(t.signal), { code: "TREE_REFUSED" });
});

test(
  "an executable with file capabilities is refused with a way out",
  { skip: !canSetCapabilities() },
  async (t) => {
    const dir = folder(t);
    for (let i = 0; i < 250; i++) fs.writeFileSync(path.join(dir, `tool ${i}`), "", { mode: 0o755 });
    await directorySource(dir).entries(t.signal);
    execFileSync("setcap", ["cap_net_bind_service=+ep", path.join(dir, "tool 230")]);
    await assert.rejects(directorySource(dir).entries(t.signal), {
      code: "TREE_REFUSED",
      message: /"tool 230".*file capabilities/,
      hint: /AmbientCapabilities/,
    });
  },
);

function canSetCapabilities(): boolean {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "skein-source-")), "tool");
  try {
    fs.writeFileSync(file, "", { mode: 0o755 });
    execFileSync("setcap", ["cap_net_bind_service=+ep", file], { stdio: "ignore" });
    return execFileSync("getcap", [file], { encoding: "utf8" }) !== "";
  } catch {
    return false;
  } finally {
    fs.rmSync(path.dirname(file), { recursive: true });
  }
}

test("setgid on a folder is dropped, and the reserved name is left out with a note", async (t) => {
  const dir = folder(t);
  fs.mkdirSync(path.join(dir, "shared"));
  fs.chmodSync(path.join(dir, "shared"), 0o2775);
  fs.mkdirSync(path.join(dir, ".skein"));
  const source = directorySource(dir);
  assert.deepEqual(await source.entries(t.signal), [{ kind: "d", path: "shared" }]);
  assert.match(source.notes.join(), /\.skein is left out/);
});

test("what is Skein's own is left out with a note, by whatever name it is called", async (t) => {
  const dir = folder(t);
  const home = path.join(dir, "deep", "state");
  for (const name of ["etc/operator", "lib", "src/etc"])
    fs.mkdirSync(path.join(home, name), { recursive: true });
  fs.writeFileSync(path.join(home, "etc/operator/operator.key"), "secret");
  fs.writeFileSync(path.join(home, "src/etc/hosts"), "");
  const link = path.join(folder(t), "link");
  fs.symlinkSync(home, link);
  const own = ["etc", "lib", "run"].map((name) => path.join(link, name));
  const source = directorySource(dir, { own });
  const paths = (await source.entries(t.signal)).map((entry) => entry.path).sort();
  assert.deepEqual(paths, [
    "deep",
    "deep/state",
    "deep/state/src",
    "deep/state/src/etc",
    "deep/state/src/etc/hosts",
  ]);
  assert.match(source.notes.join("; "), /deep\/state\/etc is left out: Skein keeps its keys/);
});

test("a path that is no folder is SOURCE_NOT_FOUND", (t) => {
  const dir = folder(t);
  assert.throws(() => directorySource(path.join(dir, "none")), { code: "SOURCE_NOT_FOUND" });
});

test("a folder that cannot be looked at is told by what the system says of it", (t) => {
  const dir = folder(t);
  fs.symlinkSync("loop", path.join(dir, "loop"));
  assert.throws(() => directorySource(path.join(dir, "loop")), { code: "IO", message: /loop: ELOOP/ });
});
