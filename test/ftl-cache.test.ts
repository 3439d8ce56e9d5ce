/** What a machine without a hub fetched it does not fetch again: real commands, a real S3 server, and what it was asked. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import type http from "node:http";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { badMiddle } from "../src/depot/s3/bad-middle.fixture.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { atEnd } from "../src/lib/testing/at-end.fixture.ts";
import { tested } from "./support/program.ts";

const SKEIN = path.join(tested.helperDir, "skein");
const BIG = 3_000_000;
const server = sharedS3Server({ conditional: false });

/** An operator, a bucket, and machines; what is read of the bucket's packs is counted. */
async function place(t: TestContext) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-ftl-cache-"));
  fs.chmodSync(dir, 0o755);
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const s3 = await server();
  const middle = await badMiddle(t, s3);
  let fetched = 0;
  middle.distort = (request: http.IncomingMessage, body) => {
    if (request.method === "GET" && /\/(?:packs|deltas)\//.test(request.url ?? "")) fetched += body.length;
    return body;
  };
  let requests = 0;
  middle.misbehave = () => {
    requests += 1;
    return undefined;
  };
  const FTL_BUCKET = await s3.makeBucket();
  const run = async (words: readonly string[], env: Readonly<Record<string, string>>) => {
    const shared = { PATH: process.env["PATH"], FTL_BUCKET, ...middle.env };
    const command = ["-c", 'umask "${UMASK:-022}"; exec "$0" "$@"', SKEIN, ...words];
    const { stdout } = await promisify(execFile)("/bin/sh", command, {
      cwd: dir,
      env: { ...shared, ...env },
    });
    return stdout;
  };
  const office = { SKEIN_HOME: path.join(dir, "office"), SKEIN_BUCKET: `s3://${FTL_BUCKET}` };
  const pin = /fingerprint +([0-9a-f]{64})/.exec(await run(["init"], office))?.[1] ?? "";
  return {
    dir,
    bucket: `s3://${FTL_BUCKET}`,
    /** Of any kind, since it was asked last. */
    requests(): number {
      const sum = requests;
      requests = 0;
      return sum;
    },
    /** Bytes of packs and deltas that came since it was asked last. */
    fetched(): number {
      const sum = fetched;
      fetched = 0;
      return sum;
    },
    async spool(file: string, files: Readonly<Record<string, Buffer>>): Promise<string> {
      const tree = fs.mkdtempSync(path.join(dir, "tree-"));
      for (const [name, bytes] of Object.entries(files)) fs.writeFileSync(path.join(tree, name), bytes);
      await promisify(execFile)("tar", ["-czf", path.join(dir, file), "-C", tree, "."]);
      return (await run(["ftl", "spool", file], office)).trim();
    },
    office: async (...words: string[]) => await run(words, office),
    machine(name: string, env: Readonly<Record<string, string>> = {}) {
      const own = { SKEIN_HOME: path.join(dir, `${name}-home`), SKEIN_CHARTER: pin, ...env };
      return {
        root(folder: string, ...packages: string[]) {
          const root = path.join(dir, folder);
          for (const one of packages) fs.mkdirSync(path.join(root, one), { recursive: true });
          return async (...words: string[]) => await run(["ftl", ...words], { ...own, FTL_ROOT: root });
        },
        skein: async (...words: string[]) => await run(words, own),
      };
    },
  };
}

test("what a machine places is open to its packages' users, whatever the umask of who runs it (long)", async (t) => {
  const here = await place(t);
  const script = Buffer.from("#!/bin/sh\ncat asset.txt\n");
  const files = { "asset.txt": Buffer.from("here\n"), "pre-jump.sh": script };
  const revision = await here.spool("site.tgz", files);
  const tight = here.machine("tight", { UMASK: "077" }).root("root", "site");
  await tight("sync");
  await tight("jump", revision);
  for (const at of ["site/revs", "site/current/.", "site/.skein"])
    assert.equal(fs.statSync(path.join(here.dir, "root", at)).mode & 0o055, 0o055, at);
  assert.equal(fs.statSync(path.join(here.dir, "root/site/.skein/state")).mode & 0o077, 0);
});

const heldBytes = async (machine: { skein(...words: string[]): Promise<string> }): Promise<number> =>
  (
    JSON.parse((await machine.skein("cache", "ls", "--json")).trim().split("\n").at(-1) ?? "") as {
      bytes: number;
    }
  ).bytes;

test("what one package fetched another one, another root and a later version take from the machine's cache (long)", async (t) => {
  const at = await place(t);
  const big = randomBytes(BIG);
  const one = await at.spool("one.tgz", { big });
  const machine = at.machine("m");
  const first = machine.root("deploy", "one");
  await first("sync");
  const whole = at.fetched();
  assert.ok(whole >= BIG, `${whole} bytes came`);

  // The same content in another package, in the same root and in one that was never synced.
  await at.spool("two.tgz", { big });
  await machine.root("deploy", "two")("sync");
  await machine.root("elsewhere", "one", "two")("sync");
  assert.equal(at.fetched(), 0);

  // What shares only a part with it.
  await at.spool("three.tgz", { big, small: randomBytes(1000) });
  at.fetched();
  await machine.root("deploy", "three")("sync");
  const part = at.fetched();
  assert.ok(part < 100_000, `${part} bytes came`);

  at.requests();
  await machine.root("deploy")("sync");
  assert.equal(at.requests(), 1, "three packages cost one look while nothing is new");

  // A package that was removed from this machine, and is wanted again.
  fs.rmSync(path.join(at.dir, "deploy/one"), { recursive: true });
  await machine.root("deploy", "one")("sync");
  assert.equal(at.fetched(), 0);

  const held = await heldBytes(machine);
  assert.ok(held >= BIG, `${held} bytes are held`);
  await machine.skein("cache", "flush");
  assert.equal(await heldBytes(machine), 0);
  fs.rmSync(path.join(at.dir, "deploy/one/revs"), { recursive: true });
  assert.equal(await machine.root("deploy", "one")("jump", one), `${one}\n`);
  assert.ok(at.fetched() >= BIG, "what was flushed comes from the bucket again");
  fs.rmSync(path.join(at.dir, "deploy/one"), { recursive: true });
  await machine.root("deploy", "one")("sync");
  assert.equal(at.fetched(), 0, "a jump keeps what it fetched, too");
});

test("the cache of a machine keeps to its size, or is not there at all (long)", async (t) => {
  const at = await place(t);
  for (const name of ["one", "two", "three"]) await at.spool(`${name}.tgz`, { big: randomBytes(BIG) });
  const most = 4000;
  const small = at.machine("small", { SKEIN_CACHE_SIZE: `${most}KB` });
  await small.root("deploy-small", "one", "two", "three")("sync");
  const held = await heldBytes(small);
  assert.ok(held > 1_000_000 && held <= most * 1000, `${held} bytes are held`);
  const none = at.machine("none");
  await none.root("deploy-none", "one")("sync", "--cache-size", "0");
  assert.equal(await heldBytes(none), 0);
  const printed = await small.root("deploy-small", "one")("sync", "--print", "--limit-down", "5MB");
  for (const text of [`SKEIN_CACHE_SIZE=${most}KB`, "SKEIN_LIMIT_DOWN=5MB"])
    assert.ok(printed.includes(text), printed);
});

test("a revision is put into the cache by hand, and a sync then moves none of its bytes, with keys or addresses (long)", async (t) => {
  const at = await place(t);
  const one = await at.spool("one.tgz", { big: randomBytes(BIG) });
  const machine = at.machine("m");
  assert.match(await machine.skein("cache", "put", one), /^one@[0-9a-f]{8} {2}[0-9a-f]{12}\n$/);
  assert.ok(at.fetched() >= BIG);
  await machine.root("deploy", "one")("sync");
  assert.equal(at.fetched(), 0);
  assert.match(await machine.skein("cache", "ls"), /^one@[0-9a-f]{8} /);
  const list = path.join(at.dir, "presigned.json");
  await at.office("release", "presign", "--bucket", at.bucket, "--for", "1h", "--output", list);
  const without = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "", FTL_BUCKET: "" };
  const keyless = at.machine("keyless", { ...without, SKEIN_BUCKET: `presigned:${list}` });
  await keyless.root("keyless", "one")("sync");
  assert.ok(at.fetched() >= BIG);
  assert.equal(await keyless.root("keyless")("list", "one"), `${one}\n`);
});

test("a machine whose cache cannot be written syncs all the same (long)", async (t) => {
  const at = await place(t);
  await at.spool("one.tgz", { big: randomBytes(1000) });
  fs.mkdirSync(path.join(at.dir, "m-home/lib"), { recursive: true });
  fs.writeFileSync(path.join(at.dir, "m-home/lib/cache"), "");
  const root = at.machine("m").root("deploy", "one");
  await root("sync");
  assert.match(await root("list", "one"), /^one\./);
});

test("bytes that were damaged in the cache are fetched anew, and what is placed is whole (long)", async (t) => {
  const at = await place(t);
  const big = randomBytes(BIG);
  await at.spool("one.tgz", { big });
  const machine = at.machine("m");
  await machine.root("deploy", "one")("sync");
  const cache = path.join(at.dir, "m-home/lib/cache/packs");
  for (const entry of fs.readdirSync(cache, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const bytes = fs.readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    fs.writeFileSync(file, bytes);
  }
  at.fetched();
  const root = machine.root("deploy-2", "one");
  await root("sync");
  assert.ok(at.fetched() >= BIG);
  const [revision = ""] = fs
    .readdirSync(path.join(at.dir, "deploy-2/one/revs"))
    .filter((name) => /^[0-9a-f]{32}$/.test(name));
  assert.ok(fs.readFileSync(path.join(at.dir, "deploy-2/one/revs", revision, "big")).equals(big));
});
