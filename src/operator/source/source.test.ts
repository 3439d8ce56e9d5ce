import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { tempDir, writeTree } from "../../release/release.fixture.ts";
import { openSource } from "./source.ts";

test("a folder is built in a copy, by whatever name, without what its programs listen on", async (t) => {
  const dir = tempDir(t);
  const app = writeTree(path.join(dir, "app"), {
    "skein.yaml": "build: { run: cat in > out, files: [out] }\n",
    in: "content",
    link: "l:in",
  });
  execFileSync("mkfifo", [path.join(app, "tmp.pipe")]);
  fs.symlinkSync("app", path.join(dir, "current"));
  const lines: string[] = [];
  const options = {
    env: "default",
    paths: pathsFrom({ SKEIN_HOME: path.join(dir, "home") }),
    onLine: (line: string) => lines.push(line),
    signal: t.signal,
  };
  for (const name of ["app", "current"]) {
    await using opened = await openSource({ kind: "path", path: path.join(dir, name) }, options);
    const entries = await opened.source.entries(t.signal);
    assert.deepEqual(entries.map((entry) => entry.path).toSorted(), ["out", "skein.yaml"], name);
  }
  assert.deepEqual(lines, Array(2).fill("tmp.pipe is not in the build's copy: it is no file"));
  assert.deepEqual(fs.readdirSync(app).toSorted(), ["in", "link", "skein.yaml", "tmp.pipe"]);
});

test("a pattern of build.files that takes nothing is told", async (t) => {
  const dir = tempDir(t);
  const app = writeTree(path.join(dir, "app"), {
    "skein.yaml": "build: { files: [dist, lib/*.py, '!*.map'] }\n",
    "dist/a.js": "content",
    "lib/a.js": "content",
  });
  const lines: string[] = [];
  await using opened = await openSource(
    { kind: "path", path: app },
    {
      env: "default",
      paths: pathsFrom({ SKEIN_HOME: path.join(dir, "home") }),
      onLine: (line: string) => lines.push(line),
      signal: t.signal,
    },
  );
  const entries = await opened.source.entries(t.signal);
  assert.deepEqual(entries.map((entry) => entry.path).toSorted(), ["dist", "dist/a.js", "skein.yaml"]);
  assert.deepEqual(lines, ["build.files: nothing is taken by lib/*.py"]);
});

test("what is listed of a source has no file where a folder is to be writable", async (t) => {
  const dir = tempDir(t);
  const options = {
    env: "default",
    paths: pathsFrom({ SKEIN_HOME: path.join(dir, "home") }),
    onLine: () => undefined,
    signal: t.signal,
  };
  const listed = async (name: string, writable: string): Promise<number> => {
    const tree = { "skein.yaml": `app: shop\nwritable: [${writable}]\n`, "a.json": "{}", "tmp/.keep": "" };
    const origin = { kind: "path", path: writeTree(path.join(dir, name), tree) } as const;
    await using opened = await openSource(origin, options);
    return (await opened.source.entries(t.signal)).length;
  };
  assert.equal(await listed("good", "tmp, log/deep"), 4);
  await assert.rejects(listed("file", "tmp, a.json"), {
    code: "MANIFEST_INVALID",
    message: "writable: a.json is a file in this release of shop, not a folder",
  });
  await assert.rejects(listed("below", "a.json/b"), { message: /^writable: a\.json\/b: a\.json is a file/ });
});
