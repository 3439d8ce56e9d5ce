/** What is installed starts with what V8 compiled before; without it, it only takes longer. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../src/lib/testing/at-end.fixture.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { startCluster } from "./support/cluster.ts";
import { tested } from "./support/program.ts";

const DIST = path.join(tested.helperDir, "../dist");
const isPackage = fs.existsSync(path.join(DIST, "commands.cjs"));
const skip = isPackage ? false : "shown of what ships: npm test -- test/entry.test.ts";

class Kept {
  readonly cache: string;

  constructor(t: TestContext) {
    this.cache = fs.mkdtempSync(path.join(os.tmpdir(), "skein-kept-"));
    atEnd(t, () => fs.rmSync(this.cache, { recursive: true, force: true }));
  }

  get folder(): string {
    return path.join(this.cache, "skein/compiled", DIST);
  }

  get names(): string[] {
    return fs.existsSync(this.folder) ? fs.readdirSync(this.folder).sort() : [];
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  inode(name: string): number {
    return fs.statSync(this.file(name)).ino;
  }

  skein(...words: string[]): { readonly status: number | null; readonly stdout: string } {
    return this.skeinWith({ XDG_CACHE_HOME: this.cache }, ...words);
  }

  skeinWith(
    places: NodeJS.ProcessEnv,
    ...words: string[]
  ): { readonly status: number | null; readonly stdout: string } {
    const env = { PATH: process.env["PATH"], ...places };
    const { status, stdout, stderr } = spawnSync(tested.command, [...tested.args, ...words], {
      env,
      cwd: this.cache,
      encoding: "utf8",
    });
    assert.equal(status === 0 ? stderr : "", "");
    return { status, stdout };
  }
}

test("each verb keeps what it compiled once; what fails keeps nothing (long)", { skip }, (t) => {
  const kept = new Kept(t);
  const first = kept.skein("version");
  assert.deepEqual([first.status, kept.names], [0, ["version"]]);
  assert.equal(fs.statSync(kept.file("version")).mode & 0o777, 0o600);
  const inode = kept.inode("version");
  assert.deepEqual(kept.skein("version"), first);
  assert.equal(kept.inode("version"), inode, "it was taken, so it was not made again");
  assert.equal(kept.skein("nonsense").status, 2);
  kept.skein("--help");
  kept.skein("deploy", "--help");
  assert.deepEqual(kept.names, ["help", "help-of-one", "version"]);
});

test("compiled code of another version, damaged or not whole, is made anew (long)", { skip }, (t) => {
  const kept = new Kept(t);
  const said = kept.skein("version");
  const whole = fs.readFileSync(kept.file("version"));
  const ofAnother = Buffer.from(whole);
  ofAnother.write("00000000", 0, "latin1");
  const damaged = Buffer.from(whole);
  damaged.fill(0xff, 8192, 8192 + 512); // a sector
  for (const other of [ofAnother, damaged, whole.subarray(0, whole.length / 2), Buffer.alloc(0)]) {
    fs.writeFileSync(kept.file("version"), other);
    assert.deepEqual(kept.skein("version"), said);
    const inode = kept.inode("version");
    assert.equal(fs.readFileSync(kept.file("version")).compare(whole, 0, 64, 0, 64), 0);
    assert.deepEqual(kept.skein("version"), said);
    assert.equal(kept.inode("version"), inode, "what was made anew was taken");
    assert.deepEqual(kept.names, ["version"]);
  }
});

test("the first of an installation removes what others left that are gone", { skip }, (t) => {
  const kept = new Kept(t);
  const whole = path.join(kept.cache, "skein/compiled");
  const stays = path.join(kept.cache, "other/dist");
  fs.mkdirSync(stays, { recursive: true });
  fs.writeFileSync(path.join(stays, "skein.mjs"), "");
  const left = ["/opt/skein-1/dist", path.dirname(DIST), path.join(DIST, "..", "old/dist"), stays];
  const lay = (): void => {
    for (const dir of left) {
      fs.mkdirSync(path.join(whole, dir), { recursive: true, mode: 0o700 });
      fs.writeFileSync(path.join(whole, dir, "version"), "compiled");
    }
  };
  const there = (): string[] => left.filter((dir) => fs.existsSync(path.join(whole, dir, "version")));
  lay();
  kept.skein("version");
  assert.deepEqual([there(), kept.names], [[stays], ["version"]]);
  assert.ok(!fs.existsSync(path.join(whole, "opt")), "nor folders that hold nothing");
  lay();
  kept.skein("--help");
  assert.deepEqual([there().length, kept.names], [left.length, ["help", "version"]], "once is enough");
});

test("nothing is kept where others may write, or where nothing can be written", { skip }, (t) => {
  const kept = new Kept(t);
  const said = kept.skein("version");
  fs.rmSync(kept.file("version"));
  fs.chmodSync(path.join(kept.cache, "skein/compiled"), 0o770);
  assert.deepEqual(kept.skein("version"), said);
  assert.deepEqual(kept.names, []);
  fs.rmSync(path.join(kept.cache, "skein"), { recursive: true });
  fs.writeFileSync(path.join(kept.cache, "skein"), "");
  assert.deepEqual(kept.skein("version"), said);
});

test("nothing is kept in the folder one is in, whatever HOME says", { skip }, (t) => {
  const kept = new Kept(t);
  for (const places of [{ HOME: "" }, { HOME: "here" }, { HOME: "", XDG_CACHE_HOME: "here" }]) {
    assert.equal(kept.skeinWith(places, "version").status, 0);
    assert.deepEqual(fs.readdirSync(kept.cache), []);
  }
  kept.skeinWith({ HOME: kept.cache, XDG_CACHE_HOME: "here" }, "version");
  assert.deepEqual(fs.readdirSync(kept.cache), [".cache"]);
});

test("a server keeps what its start compiled while it runs: it may be killed (long)", { skip }, async (t) => {
  const kept = new Kept(t);
  await using cluster = await startCluster({ signal: t.signal, hubEnv: { XDG_CACHE_HOME: kept.cache } });
  await eventually("the hub keeps what was compiled", () => kept.names.includes("hubs"), {
    signal: t.signal,
  });
  await cluster.hub.restart();
});
