import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { revisionWord } from "../../bucket/layout.ts";
import { bucketWorld, type BucketWorld } from "./bucket-world.fixture.ts";
import type { OperatorEvent } from "../tell/events.ts";
import { releasePlaces } from "./bucket-releases.ts";
import { jumpMaster } from "./master.ts";
import { spool } from "./spool.ts";

/** What FTL 0.2.6 does with a bucket, step by step, with the programs that it calls. */
function ftlClient({ bucketDir, dir }: BucketWorld) {
  const has = (name: string): boolean => existsSync(path.join(bucketDir, name));
  const read = (name: string): string => (has(name) ? readFileSync(path.join(bucketDir, name), "utf8") : "");
  return {
    /** The name of the active revision. Where there is none, it moves FTL's older mark. */
    current(name: string): string {
      const active = read(`${name}.current`) || read(`${name}.rev`);
      if (active !== "") return active;
      writeFileSync(path.join(bucketDir, `${name}.current`), "");
      rmSync(path.join(bucketDir, `${name}.rev`), { force: true });
      return "";
    },
    previous: (name: string): string => read(`${name}.previous`),
    revisions: (name: string): string[] =>
      readdirSync(bucketDir)
        .filter((file) => file.startsWith(`${name}.`) && file.split(".").length > 2)
        .map((file) => file.split(".").slice(0, 2).join("."))
        .sort(),
    /** The files of a revision, unpacked. */
    add(revision: string): string[] {
      const file = readdirSync(bucketDir).find((one) => one.startsWith(revision)) ?? assert.fail(revision);
      const to = mkdtempSync(path.join(dir, "ftl-"));
      const at = path.join(to, file);
      copyFileSync(path.join(bucketDir, file), at);
      const sum = createHash("md5").update(readFileSync(at)).digest("base64").slice(0, 2);
      const [base64, own] = [
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz0",
      ];
      const checksum = Array.from(sum, (char) => own[base64.indexOf(char)]).join("");
      assert.equal(checksum, revision.slice(-2), "Checksum does not match");
      if (file.endsWith(".gz")) execFileSync("gzip", ["-d", at]);
      const tar = path.join(to, `${revision}.tar`);
      if (existsSync(tar)) {
        execFileSync("tar", ["-C", to, "-xf", tar]);
        rmSync(tar);
      }
      return readdirSync(to).sort();
    },
  };
}

test("FTL's own clients find each revision's archive, unpack it, and learn which one is active and which was", async (t) => {
  const world = await bucketWorld(t);
  const client = ftlClient(world);
  const rev = (): string => readFileSync(path.join(world.bucketDir, "my_site.rev"), "utf8");
  const v1 = await world.spool("my_site", { version: "v1" }, "ftl");
  assert.deepEqual([rev(), client.current("my_site")], ["", ""], "spooling activates nothing");
  assert.deepEqual(client.add(v1), ["version"]);
  await world.jump(v1);
  assert.deepEqual([rev(), client.current("my_site"), client.previous("my_site")], [v1, v1, ""]);
  const v2 = await world.spool("my_site", { version: "v2", more: "x" }, "ftl");
  assert.deepEqual(client.add(v2), ["more", "version"]);
  await world.jump(v2);
  assert.deepEqual([rev(), client.current("my_site"), client.previous("my_site")], [v2, v2, v1]);
  await world.jumpBack("my_site");
  assert.deepEqual([rev(), client.current("my_site"), client.previous("my_site")], [v1, v1, v2]);
  assert.deepEqual(client.revisions("my_site"), [v1, v2]);
});

test("what is no gzip is written so that FTL's own clients can do with it what they can", async (t) => {
  const world = await bucketWorld(t);
  const client = ftlClient(world);
  const from = path.join(world.dir, "plain");
  mkdirSync(from);
  writeFileSync(path.join(from, "page"), "hello");
  const tar = path.join(world.dir, "other.tar");
  execFileSync("tar", ["-cf", tar, "-C", from, "page"]);
  const file = path.join(world.dir, "tool.bin");
  writeFileSync(file, "just a file");
  const named = async (one: string): Promise<string> => {
    const options = { env: "default", layout: "ftl", tell: () => undefined, signal: t.signal } as const;
    const made = await spool(await world.operator(), one, options);
    return `${made.package}.${made.revision}`;
  };
  assert.deepEqual(client.add(await named(tar)), ["page"]);
  const tool = await named(file);
  assert.equal(readFileSync(path.join(world.bucketDir, `${tool}.bin`), "utf8"), "just a file");
});

test("a revision that is purged goes from FTL's own clients, too, and a jump that was cut tells them the next time", async (t) => {
  const world = await bucketWorld(t);
  const client = ftlClient(world);
  const revisions: string[] = [];
  for (const version of ["v1", "v2", "v3"]) {
    revisions.push(await world.spool("my_site", { version }, "ftl"));
    await world.jump(revisions.at(-1) ?? "");
  }
  const [v1 = "", v2 = "", v3 = ""] = revisions;
  await world.purge(v1);
  assert.deepEqual(client.revisions("my_site"), [v2, v3]);
  for (const mark of ["rev", "current"]) writeFileSync(path.join(world.bucketDir, `my_site.${mark}`), v2);
  assert.equal(await world.jump(v3), null, "nothing to order");
  assert.deepEqual([client.current("my_site"), client.previous("my_site")], [v3, v2]);
});

test("of two who jump at once, FTL's own clients are told of the later order, whoever comes to tell them last", async (t) => {
  const world = await bucketWorld(t);
  const [v1, v2] = [
    await world.spool("my_site", { version: "v1" }, "ftl"),
    await world.spool("my_site", { version: "v2" }, "ftl"),
  ];
  const slow = await world.operator();
  const own = slow.bucket.files;
  let isHeldUp = false;
  const files = {
    ...own,
    put: async (...args: Parameters<typeof own.put>) => {
      if (!isHeldUp) {
        isHeldUp = true;
        await world.jump(v2);
      }
      await own.put(...args);
    },
  };
  const options = { env: "default", selector: null, spreadMs: 0, signal: t.signal };
  await jumpMaster({ ...slow, bucket: { ...slow.bucket, files } }, revisionWord(v1), options);
  assert.ok(isHeldUp);
  assert.equal(ftlClient(world).current("my_site"), v2);
});

test("what was active before anything was written for FTL's own clients is told as soon as they can have it", async (t) => {
  const world = await bucketWorld(t);
  const client = ftlClient(world);
  const v1 = await world.spool("my_site", { version: "v1" });
  await world.jump(v1);
  const file = path.join(world.dir, "my_site.bin");
  writeFileSync(file, "v2");
  const notes: string[] = [];
  const tell = (event: OperatorEvent): void => void (event.type === "note" && notes.push(event.text));
  await spool(await world.operator(), file, { env: "default", layout: "ftl", tell, signal: t.signal });
  assert.equal(client.current("my_site"), "", "an archive that is not there helps nobody");
  assert.ok(notes.length === 1 && notes[0]?.startsWith(`${v1} is active`), notes.join());
  assert.equal(await world.spool("my_site", { version: "v1" }, "ftl"), v1);
  assert.deepEqual([client.current("my_site"), client.previous("my_site")], [v1, ""]);
  assert.deepEqual(client.add(v1), ["version"]);
});

test("where nobody asked for FTL's layout, nothing of it is written", async (t) => {
  const world = await bucketWorld(t);
  const v1 = await world.spool("my_site", { version: "v1" });
  await world.jump(v1);
  assert.deepEqual(ftlClient(world).revisions("my_site"), []);
  for (const mark of ["rev", "current", "previous"])
    assert.ok(!existsSync(path.join(world.bucketDir, `my_site.${mark}`)));
});

test("a folder is no revision for FTL's own clients, and none is published", async (t) => {
  const world = await bucketWorld(t);
  const folder = path.join(world.dir, "my_site");
  mkdirSync(folder);
  const options = { env: "default", layout: "ftl", tell: () => undefined, signal: t.signal } as const;
  await assert.rejects(spool(await world.operator(), folder, options), { code: "USAGE" });
  assert.deepEqual(await releasePlaces(world.bucket, "my-site", t.signal), []);
});
