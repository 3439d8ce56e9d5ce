/** FTL's README, word for word where it makes sense: its own words, through a link of its name, against a real S3 server. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { serverFiles } from "../src/bucket/server-files.ts";
import { openBucket } from "../src/depot/s3/bucket.ts";
import { atEnd } from "../src/lib/testing/at-end.fixture.ts";
import { eventually } from "../src/lib/testing/eventually.fixture.ts";
import { bytesBlob } from "../src/release/fetch/blobs.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { tested } from "./support/program.ts";

const SKEIN = path.join(tested.helperDir, "skein");
const REVISION = /^my_site\.\d{17}-[0-9a-f]{8}\n$/;
const server = sharedS3Server({ conditional: false });

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function place(t: TestContext) {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-ftl-"));
  chmodSync(dir, 0o755);
  atEnd(t, () => rmSync(dir, { recursive: true, force: true }));
  const s3 = await server();
  const ftl = path.join(dir, "ftl");
  symlinkSync(SKEIN, ftl);
  const shared = { PATH: process.env["PATH"], ...s3.env, FTL_BUCKET: await s3.makeBucket() };
  const run = async (file: string, env: Record<string, string>, words: readonly string[]): Promise<Ended> =>
    await new Promise((resolve) => {
      execFile(file, words, { cwd: dir, env: { ...shared, ...env } }, (err, out, text) => {
        resolve({ code: err === null ? 0 : Number(err.code), out, err: text });
      });
    });
  const office = { SKEIN_HOME: path.join(dir, "office") };
  const made = await run(SKEIN, { ...office, SKEIN_BUCKET: `s3://${shared.FTL_BUCKET}` }, ["init"]);
  const pin = /fingerprint +([0-9a-f]{64})/.exec(made.out)?.[1] ?? assert.fail(made.err);
  return {
    dir,
    s3,
    bucket: `s3://${shared.FTL_BUCKET}`,
    pack(version: string, scripts: Readonly<Record<string, string>> = {}) {
      const src = path.join(dir, "my", "src");
      mkdirSync(src, { recursive: true });
      writeFileSync(path.join(src, "index.html"), version);
      for (const [name, text] of Object.entries(scripts)) writeFileSync(path.join(dir, "my", name), text);
      const names = ["src", ...Object.keys(scripts)];
      return new Promise<void>((resolve, reject) => {
        execFile("tar", ["-czf", "my_site.tgz", "-C", "my", ...names], { cwd: dir }, (err) => {
          if (err === null) resolve();
          else reject(err);
        });
      });
    },
    office: async (...words: string[]) => await run(ftl, office, words),
    frontOffice: async (...words: string[]) => await run(SKEIN, office, words),
    /** A machine that is told of a root and nothing else. */
    bare: async (root: string, ...words: string[]) =>
      await run(ftl, { SKEIN_HOME: path.join(dir, "bare-home"), FTL_ROOT: root }, words),
    node(name: string) {
      const root = path.join(dir, name);
      mkdirSync(path.join(root, "my_site"), { recursive: true });
      const env = { SKEIN_HOME: path.join(dir, `${name}-home`), SKEIN_CHARTER: pin };
      return {
        root,
        ftl: async (...words: string[]) => await run(ftl, { ...env, FTL_ROOT: root }, words),
        /** A command that stays. */
        stay(...words: string[]) {
          const child = spawn(ftl, words, {
            cwd: dir,
            env: { ...shared, ...env, FTL_ROOT: root },
            stdio: "ignore",
          });
          atEnd(t, () => child.kill("SIGKILL"));
          return child;
        },
        /** At the front door, with Skein's own names for what FTL's variables say. */
        skein: async (...words: string[]) =>
          await run(SKEIN, { ...env, SKEIN_ROOT: root, SKEIN_BUCKET: `s3://${shared.FTL_BUCKET}` }, words),
        page: () => readFileSync(path.join(root, "my_site/current/src/index.html"), "utf8"),
      };
    },
  };
}

test("spool, sync on three machines, jump; a fourth boots later; jump back; purge is refused while active", async (t) => {
  const at = await place(t);
  await at.pack("v1", { "post-jump.sh": "echo jumped to $FTL_REVISION of $FTL_PACKAGE" });
  const spooled = await at.office("spool", "my_site.tgz");
  assert.match(spooled.out, REVISION, spooled.err);
  const v1 = spooled.out.trim();
  const nodes = ["one", "two", "three"].map((name) => at.node(name));
  const all = async (...words: string[]): Promise<Ended[]> =>
    await Promise.all(nodes.map(async (node) => await node.ftl(...words)));
  for (const { code, err } of await all("sync")) assert.equal(code, 0, err);
  assert.equal((await nodes[0]?.ftl("list", "my_site"))?.out, `${v1}\n`, "it is here, and not active");
  for (const { code, out, err } of await all("jump", v1)) {
    assert.deepEqual([code, out], [0, `${v1}\n`], err);
    assert.match(err, /post-jump \| jumped to [0-9a-f]{32} of my_site/);
  }
  for (const node of nodes) assert.equal(node.page(), "v1");
  // Only an operator orders for all; anybody else is told what to type, and where.
  const [node] = nodes;
  const refused = await node?.ftl("jump", "--master", v1);
  assert.equal(refused?.code, 4);
  assert.match(refused?.err ?? "", new RegExp(`operator's machine: skein ftl jump --master ${v1}`));
  assert.equal((await at.office("jump", "--master", v1)).code, 0);

  await at.pack("v2");
  const v2 = (await at.office("spool", "my_site.tgz")).out.trim();
  assert.equal((await at.office("jump", "--master", v2)).out, `${v2}\n`);
  for (const { code, out } of await all("sync")) assert.deepEqual([code, out], [0, `${v2}\n`]);
  const late = at.node("four");
  const booted = await late.ftl("sync");
  assert.deepEqual([booted.code, booted.out], [0, `${v2}\n`], booted.err);
  assert.equal(late.page(), "v2");
  assert.equal((await late.ftl("list", "my_site")).out, `${v1}\n${v2}  active\n`);
  assert.equal((await late.ftl("list")).out, "my_site\n");
  assert.equal((await late.ftl("list", "--master", "my_site")).out, `${v1}  previous\n${v2}  active\n`);
  assert.equal((await late.ftl("list", "--master")).out, "my_site\n");
  const unknown = await late.ftl("list", "--master", "my_sit");
  assert.deepEqual([unknown.code, unknown.out], [7, ""]);
  assert.match(unknown.err, /has no package my_sit\n/);
  const front = await late.skein("list", "--master", "my_site");
  assert.equal(front.out, `${v1}  previous\n${v2}  active\n`, "the front door has the plain verbs too");
  assert.equal((await late.skein("jump-back", "my_site")).out, `${v1}\n`);
  const held = await late.skein("sync");
  assert.match(held.err, new RegExp(`held at ${v1} by a jump on this machine`));
  assert.equal((await late.skein("jump", v2)).out, `${v2}\n`);

  assert.equal((await at.office("jump-back", "--master", "my_site")).out, `${v1}\n`);
  for (const { code, out } of await all("sync")) assert.deepEqual([code, out], [0, `${v1}\n`]);
  assert.equal(late.page(), "v2", "it has not looked yet");
  const purge = await at.office("purge", "--master", v2);
  assert.equal(purge.code, 1);
  assert.match(purge.err, /REVISION_ACTIVE/);
  await at.pack("v3");
  const v3 = (await at.frontOffice("spool", "my_site.tgz")).out.trim();
  assert.equal((await at.frontOffice("jump", "--master", v3)).out, `${v3}\n`);
  assert.equal((await at.frontOffice("purge", "--master", v2)).code, 0);
  for (const { code } of await all("sync")) assert.equal(code, 0);
  assert.equal((await nodes[2]?.ftl("list", "my_site"))?.out, `${v1}\n${v3}  active\n`);
});

test("a sync that stays acts on each order when it comes, and ends when it is told to (long)", async (t) => {
  const at = await place(t);
  const node = at.node("one");
  const staying = node.stay("sync", "--every", "200ms");
  const ended = once(staying, "exit");
  const pages = async (version: string): Promise<void> => {
    await at.pack(version);
    const { out } = await at.office("spool", "my_site.tgz");
    assert.equal((await at.office("jump", "--master", out.trim())).code, 0);
    await eventually(version, () => node.page() === version, { signal: t.signal });
  };
  for (const version of ["v1", "v2"]) await pages(version);
  staying.kill("SIGTERM");
  assert.deepEqual(await ended, [0, null]);
});

test("an old FTL bucket on a server is taken over, and its clients find what is spooled for them, too (long)", async (t) => {
  const at = await place(t);
  const filesOf = async (address: string) => {
    const bucket = await openBucket(address, at.s3.env);
    atEnd(t, () => bucket[Symbol.dispose]());
    return serverFiles(bucket);
  };
  const oldBucket = `s3://${await at.s3.makeBucket()}`;
  const old = await filesOf(oldBucket);
  for (const [version, revision] of [
    ["v1", "2014061200001zz"],
    ["v2", "2014061252143ab"],
  ] as const) {
    await at.pack(version);
    const archive = readFileSync(path.join(at.dir, "my_site.tgz"));
    await old.put(`my_site.${revision}.tar.gz`, bytesBlob(archive), t.signal);
  }
  await old.put("my_site.rev", bytesBlob(Buffer.from("my_site.2014061200001zz")), t.signal);
  const imported = await at.office("import", oldBucket);
  assert.match(
    imported.out,
    /^my_site\.2014061200001zz {2}my_site\.20140612000001000-[0-9a-f]{8} {2}active\nmy_site\.2014061252143ab {2}my_site\.20140612142903000-[0-9a-f]{8}\n$/,
    imported.err,
  );
  const node = at.node("one");
  assert.equal((await node.ftl("sync")).code, 0);
  assert.equal(node.page(), "v1");

  await at.pack("v3");
  const spooled = await at.office("spool", "my_site.tgz", "--layout", "ftl");
  const revision = spooled.out.trim();
  const written = await filesOf(at.bucket);
  const textOf = async (name: string): Promise<string> =>
    Buffer.concat(await Array.fromAsync(written.get(name, t.signal))).toString();
  assert.ok((await written.list("my_site.", t.signal)).includes(`${revision}.tar.gz`), spooled.err);
  assert.notEqual(await textOf("my_site.rev"), revision, "spooling activates nothing");
  assert.equal((await at.office("jump", "--master", revision)).code, 0);
  assert.equal(await textOf("my_site.rev"), revision);
});

function newRoot(dir: string): string {
  const root = path.join(dir, "new-root");
  mkdirSync(path.join(root, "my_site"), { recursive: true });
  return root;
}

test("a machine remembers its cluster for every folder that is added later (long)", async (t) => {
  const at = await place(t);
  await at.pack("v1");
  assert.equal((await at.office("spool", "my_site.tgz")).code, 0);
  const node = at.node("one");
  assert.equal((await node.ftl("sync")).code, 0);
  rmSync(path.join(at.dir, "one-home"), { recursive: true, force: true });
  mkdirSync(path.join(node.root, "my_other"));
  const { code, err } = await at.bare(node.root, "sync");
  assert.equal(code, 0, err);
  assert.match((await at.bare(node.root, "sync", "--print")).out, /SKEIN_CHARTER=[0-9a-f]{64}/);
});

test("what is wrong with the words or the surroundings is said in one sentence (long)", async (t) => {
  const at = await place(t);
  const node = at.node("one");
  writeFileSync(path.join(at.dir, ".profile"), "x");
  const rows = [
    [await node.ftl("jump", "my_site"), 2, /is no revision/],
    [
      await node.ftl("jump", "my_site.20261128031502917-3f9c2ab1"),
      7,
      /nothing of my_site was synced here yet/,
    ],
    [await node.ftl("purge", "my_site.20261128031502917-3f9c2ab1"), 2, /--master/],
    [await at.office("spool", ".profile"), 2, /no name of a package/],
    [await at.office("spool", "missing.tgz"), 2, /SOURCE_NOT_FOUND/],
    [await at.office("list"), 2, /FTL_ROOT/],
    [await node.ftl("jump-back", "other"), 7, /does not subscribe to other/],
  ] as const;
  const front = await node.skein("list");
  assert.equal(front.code, 7);
  assert.match(front.err, /next {3}What is here: skein ftl list/);
  const unsigned = await node.skein("deploy");
  assert.equal(unsigned.code, 4);
  assert.match(unsigned.err, /next {3}On an operator's machine: skein deploy$/m);
  for (const [{ code, err, out }, exit, text] of rows) {
    assert.equal(code, exit, err);
    assert.match(err, text);
    assert.equal(out, "");
  }
  assert.equal((await node.ftl("sync")).code, 0);
  for (const flag of [["--spread", "10m"], ["--again"]]) {
    const { code, err } = await node.ftl("jump", ...flag, "my_site.20261128031502917-3f9c2ab1");
    assert.deepEqual([code, /is for all machines/.test(err)], [2, true], err);
  }
  const away = await node.skein("sync", "--bucket", "s3://not-there", "--root", newRoot(at.dir));
  assert.equal(away.code, 7);
  assert.match(
    away.err,
    /^error bucket: [^\n]*no such bucket/,
    "and nothing about packages that could not come",
  );
  assert.match((await node.ftl("--version")).out, /^\d+\.\d+\.\d+/);
  const printed = (await node.ftl("sync", "--print")).out;
  const settings = ["SKEIN_CHARTER=", "SKEIN_HOME=", "AWS_ENDPOINT_URL=http://", "AWS_REGION=us-east-1"];
  for (const text of ["ExecStart=", "ftl sync --every 30s", "*/5 * * * *", ...settings]) {
    assert.ok(printed.includes(text), printed);
  }
  assert.doesNotMatch(printed, /SECRET_ACCESS_KEY=/);
});
