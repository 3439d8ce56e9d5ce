import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { ARCHIVE_LIMITS } from "./limits.ts";
import { packedSource } from "./packed.ts";
import { contents, pax, tar, tarEnd, tarEntry, tempDir, type TarEntry } from "./source.fixture.ts";

function put(t: TestContext, name: string, bytes: Buffer, mode = 0o644): string {
  const file = path.join(tempDir(t), name);
  fs.writeFileSync(file, bytes, { mode });
  return file;
}

async function read(t: TestContext, name: string, bytes: Buffer): Promise<Record<string, string>> {
  await using source = await packedSource(put(t, name, bytes), t.signal);
  return await contents(t, source);
}

async function refused(t: TestContext, bytes: Buffer, reason: RegExp): Promise<void> {
  await assert.rejects(
    async () => {
      await using source = await packedSource(put(t, "a.tar", bytes), t.signal);
      await source.entries(t.signal);
    },
    (err: Error & { code?: string; data?: { reason?: string } }) => {
      assert.equal(err.code, "ARCHIVE_REFUSED");
      assert.match(err.message, reason);
      assert.equal(typeof err.data?.reason, "string");
      return true;
    },
  );
}

test("GNU tar's own archives are read, compressed or not, in every common format", async (t) => {
  const dir = tempDir(t);
  const long = `deep/${"n".repeat(90)}/${"m".repeat(60)}`;
  fs.mkdirSync(path.join(dir, "in", path.dirname(long)), { recursive: true });
  fs.writeFileSync(path.join(dir, "in", long), "long");
  fs.writeFileSync(path.join(dir, "in/run"), "#!/bin/sh\n", { mode: 0o755 });
  fs.symlinkSync("run", path.join(dir, "in/link"));
  fs.linkSync(path.join(dir, "in/run"), path.join(dir, "in/same"));
  for (const [format, flag] of [
    ["gnu", "-c"],
    ["pax", "-c"],
    ["posix", "-cz"],
    ["ustar", "-cz"],
  ] as const) {
    const file = path.join(dir, `${format}.tar`);
    execFileSync("tar", [flag, "-f", file, `--format=${format}`, "-C", path.join(dir, "in"), "."]);
    await using source = await packedSource(file, t.signal);
    assert.equal(source.kind, "archive");
    const found = await contents(t, source);
    assert.equal(found[long], "f:long", format);
    assert.equal(found["run"], "x:#!/bin/sh\n");
    assert.equal(found["same"], "x:#!/bin/sh\n");
    assert.equal(found["link"], "l:run");
  }
});

test("long names in any writing are read, though their headers are cut within a character", async (t) => {
  const dir = tempDir(t);
  const name = `a${"я".repeat(70)}`;
  fs.mkdirSync(path.join(dir, "in"));
  fs.writeFileSync(path.join(dir, "in", name), "long");
  fs.symlinkSync(name, path.join(dir, "in/link"));
  for (const format of ["gnu", "posix"]) {
    const file = path.join(dir, `${format}.tar`);
    execFileSync("tar", ["-cf", file, `--format=${format}`, "-C", path.join(dir, "in"), "."]);
    await using source = await packedSource(file, t.signal);
    assert.deepEqual(await contents(t, source), { [name]: "f:long", link: `l:${name}` }, format);
  }
});

test("a hard link to a link is that link once more", async (t) => {
  const dir = tempDir(t);
  fs.writeFileSync(path.join(dir, "f"), "1");
  fs.symlinkSync("f", path.join(dir, "l"));
  fs.linkSync(path.join(dir, "l"), path.join(dir, "m"));
  const bytes = execFileSync("tar", ["-c", "-C", dir, "f", "l", "m"]);
  assert.deepEqual(await read(t, "a.tar", bytes), { f: "f:1", l: "l:f", m: "l:f" });
});

test("a folder of an archive without types is told by its name", async (t) => {
  const bytes = tar({ name: "d/", type: "\0" }, { name: "d/f", type: "\0", content: "1" }, { name: "e/" });
  assert.deepEqual(await read(t, "a.tar", bytes), { d: "d", "d/f": "f:1", e: "d" });
  await refused(t, tar({ name: "d/", content: "x" }, { name: "d/f" }), /not a directory/);
});

test("an archive of somebody with a large number is read", async (t) => {
  const owner = pax(["uid", "1000000000"], ["gname", "große"], ["LIBARCHIVE.creationtime", "1.5"]);
  assert.deepEqual(await read(t, "a.tar", tar({ name: "x", type: "x", content: owner }, { name: "a" })), {
    a: "f:",
  });
});

test("who gives up gets the reason, and no error of a file's", async (t) => {
  const reason = new Error("given up");
  for (const [name, bytes] of [
    ["a.tar", tar({ name: "a" })],
    ["a.tgz", gzipSync(tar({ name: "a" }))],
  ] as const)
    await assert.rejects(packedSource(put(t, name, bytes), AbortSignal.abort(reason)), reason);
});

test("git archive's commit comment is read past", async (t) => {
  const bytes = tar(
    { name: "pax_global_header", type: "g", content: pax(["comment", "0".repeat(40)]) },
    { name: "a", content: "1" },
  );
  assert.deepEqual(await read(t, "a.tar", bytes), { a: "f:1" });
});

test("extended attributes are dropped with a note, file capabilities are refused", async (t) => {
  const dropped = tar(
    { name: "x", type: "x", content: pax(["SCHILY.xattr.user.note", "hi"]) },
    { name: "a", content: "1" },
    { name: "b" },
  );
  await using source = await packedSource(put(t, "a.tar", dropped), t.signal);
  assert.match(source.notes.join(), /1 entries are left out/);
  const capable = pax(["SCHILY.xattr.security.capability", "\u0001"]);
  await refused(t, tar({ name: "x", type: "x", content: capable }, { name: "a" }), /file capabilities/);
});

const REFUSALS: readonly (readonly [string, readonly TarEntry[], RegExp])[] = [
  ["an absolute path", [{ name: "/etc/passwd" }], /absolute/],
  ["a path with a drive", [{ name: "C:/a" }], /drive/],
  ["a path that climbs", [{ name: "a/../../b" }], /part \.\./],
  ["a dot in the middle", [{ name: "a/./b" }], /part \./],
  ["an empty part", [{ name: "a//b" }], /empty part/],
  ["a backslash", [{ name: "a\\b" }], /backslash/],
  ["a control character", [{ name: "a\tb" }], /control/],
  [
    "a direction override",
    [{ name: "x", type: "x", content: pax(["path", "a\u202eb"]) }, { name: "y" }],
    /direction/,
  ],
  ["bytes that are not UTF-8", [{ name: "a\xff" }], /not valid UTF-8/],
  [
    "a decomposed name",
    [{ name: "x", type: "x", content: pax(["path", "e\u0301"]) }, { name: "y" }],
    /composed/,
  ],
  ["one path twice", [{ name: "a" }, { name: "a" }], /twice/],
  ["a file below a file", [{ name: "a" }, { name: "a/b" }], /not a directory/],
  ["a file below a link", [{ name: "a", type: "2", link: "b" }, { name: "a/b" }], /not a directory/],
  [
    "a path over 1,024 bytes",
    [{ name: "x", type: "x", content: pax(["path", "a/".repeat(600)]) }, { name: "y" }],
    /over 1024/,
  ],
  [
    "a part over 255 bytes",
    [{ name: "x", type: "x", content: pax(["path", "a".repeat(256)]) }, { name: "y" }],
    /over 255/,
  ],
  [
    "a path over 64 deep",
    [{ name: "x", type: "x", content: pax(["path", "a/".repeat(65) + "b"]) }, { name: "y" }],
    /64 folders/,
  ],
  ["a character device", [{ name: "a", type: "3" }], /a device/],
  ["a block device", [{ name: "a", type: "4" }], /a device/],
  ["a FIFO", [{ name: "a", type: "6" }], /a FIFO/],
  ["a sparse file", [{ name: "a", type: "S", content: "x" }], /sparse/],
  [
    "a sparse file as pax has it",
    [{ name: "x", type: "x", content: pax(["GNU.sparse.major", "1"]) }, { name: "a" }],
    /sparse/,
  ],
  ["an unknown type", [{ name: "a", type: "Z" }], /unknown type/],
  ["setuid", [{ name: "a", mode: 0o4755 }], /setuid/],
  ["sticky", [{ name: "a", mode: 0o1755 }], /sticky/],
  ["a setuid folder", [{ name: "a", type: "5", mode: 0o4755 }], /setuid/],
  ["an absolute link", [{ name: "a", type: "2", link: "/etc/shadow" }], /absolute/],
  ["a link out of the tree", [{ name: "a/b", type: "2", link: "../../c" }], /outside/],
  [
    "a chain of links out of the tree",
    [
      { name: "d/e", type: "2", link: ".." },
      { name: "f", type: "2", link: "d/e/../x" },
    ],
    /outside/,
  ],
  ["an empty link", [{ name: "a", type: "2" }], /link is empty/],
  ["a hard link to nothing before it", [{ name: "a", type: "1", link: "b" }], /not before it/],
  ["a hard link outside", [{ name: "a", type: "1", link: "/etc/passwd" }], /not before it/],
  ["the reserved name", [{ name: ".skein/x" }], /reserved/],
  [
    "a pax size",
    [{ name: "x", type: "x", content: pax(["size", "5"]) }, { name: "a" }],
    /pax header has size, as that of a file over 8 GiB/,
  ],
  [
    "a global path",
    [{ name: "x", type: "g", content: pax(["path", "b"]) }, { name: "a" }],
    /pax header has path/,
  ],
  ["a damaged pax header", [{ name: "x", type: "x", content: "99 path=a\n" }, { name: "a" }], /damaged/],
  [
    "a size in binary",
    [{ name: "a", size: "\x80\0\0\0\0\0\0\0\0\0\0\x01" }],
    /size is written in binary, as that of a file over 8 GiB/,
  ],
  ["a file over a GiB", [{ name: "a", size: "17777777777" }], /it is over 1 GiB/],
  ["a folder with content", [{ name: "a", type: "5", content: "x" }], /has content/],
  ["a bad checksum", [{ name: "ok" }, { name: "a", badSum: true }], /damaged/],
  [
    "headers without end",
    [{ name: "x", type: "L", content: "a".repeat(200_000) }],
    /headers are over 131072 bytes/,
  ],
];

for (const [what, entries, reason] of REFUSALS) {
  test(`an archive with ${what} is refused`, async (t) => {
    await refused(t, tar(...entries), reason);
  });
}

test("a cut archive and one that goes on after its end are refused", async (t) => {
  const whole = tar({ name: "a", content: "x".repeat(2000) });
  for (const length of [512, 1000, 2560, whole.length - 512])
    await refused(t, whole.subarray(0, length), /cut off/);
  await refused(t, Buffer.concat([whole, tarEntry({ name: "b" }), tarEnd]), /after its end/);
  await refused(t, Buffer.concat([whole, Buffer.from("more")]), /cut off/);
});

test("bombs are stopped early: too much, too many, too dense", async (t) => {
  const limits = { ...ARCHIVE_LIMITS, totalBytes: 5000, entries: 3 };
  const open = async (name: string, bytes: Buffer) => {
    await using source = await packedSource(put(t, name, bytes), t.signal, { limits });
    return source.kind;
  };
  const big = { content: "x".repeat(3000) };
  await assert.rejects(
    open("a.tar", tar({ name: "a", ...big }, { name: "b", ...big })),
    /the archive's files are over 5000 bytes/,
  );
  await assert.rejects(
    open("b.tar", tar({ name: "a", ...big }, { name: "b", type: "1", link: "a" })),
    /the archive's files are over 5000 bytes/,
  );
  await assert.rejects(
    open("c.tar", tar(...["a", "b", "c", "d"].map((name) => ({ name })))),
    /more than 3 entries/,
  );
  await assert.rejects(read(t, "d.gz", gzipSync(Buffer.alloc(40_000_000))), {
    message: '"d.gz" cannot be released: it inflates to more than 200 times its size',
  });
  await assert.rejects(open("e.gz", gzipSync(Buffer.alloc(9000))), {
    message: '"e.gz" cannot be released: it inflates to more than 8072 bytes',
  });
});

test("a damaged gzip file is refused", async (t) => {
  const bytes = gzipSync(tar({ name: "a", content: "hello" }));
  bytes[bytes.length - 6] = (bytes[bytes.length - 6] ?? 0) ^ 1;
  await assert.rejects(read(t, "a.tgz", bytes), { code: "ARCHIVE_REFUSED" });
  await assert.rejects(read(t, "b.tgz", bytes.subarray(0, 20)), { code: "ARCHIVE_REFUSED" });
});

test("an archive of another kind is told to stay one file", async (t) => {
  for (const [name, notes] of [
    ["site.tar.xz", ["site.tar.xz stays one file: only tar and tar.gz are unpacked"]],
    ["tool.jar", []],
  ] as const) {
    await using source = await packedSource(put(t, name, Buffer.from("PK")), t.signal);
    assert.deepEqual(source.notes, notes);
  }
});

test("a plain .gz is inflated, and anything else is kept as it is", async (t) => {
  assert.deepEqual(await read(t, "notes.txt.gz", gzipSync("hello")), { "notes.txt": "f:hello" });
  assert.deepEqual(await read(t, "photo.zip", Buffer.from("PK..")), { "photo.zip": "f:PK.." });
  assert.deepEqual(await read(t, "empty", Buffer.alloc(0)), { empty: "f:" });
  await using source = await packedSource(put(t, "server", Buffer.from("\x7fELF"), 0o755), t.signal);
  assert.deepEqual(await contents(t, source), { server: "x:\x7fELF" });
  assert.equal(source.kind, "file");
});

test("a file that is not there is said so", async (t) => {
  await assert.rejects(packedSource(path.join(tempDir(t), "none"), t.signal), { code: "IO" });
});
