import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { depotConformance, prunableConformance } from "../seam/depot.conformance.ts";
import { directoryDepot } from "./directory.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-depot-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

depotConformance("directory", async (t) => directoryDepot(tempDir(t)));
prunableConformance("directory", async (t) => directoryDepot(tempDir(t)));

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

test("an upload is taken in pieces, and says how far it is", async (t) => {
  const depot = directoryDepot(tempDir(t));
  const bytes = Buffer.from("hello, depot");
  const blob = { size: bytes.length, sha256: sha256(bytes) };
  assert.equal(await depot.uploaded("packs/a", blob.sha256), 0);
  assert.deepEqual(await depot.append("packs/a", blob, 0, once(bytes.subarray(0, 5))), {
    offset: 5,
    done: false,
  });
  assert.equal(await depot.uploaded("packs/a", blob.sha256), 5);
  await assert.rejects(depot.append("packs/a", blob, 9, once(bytes.subarray(9))), {
    code: "CONFLICT",
    data: { offset: 5 },
  });
  const rest = await depot.append("packs/a", blob, 5, once(bytes.subarray(5)));
  assert.deepEqual(rest, { offset: bytes.length, done: true });
  assert.equal((await depot.has(["packs/a"], t.signal)).size, 1);
});

test("more bytes than announced are refused, and read no further", async (t) => {
  const depot = directoryDepot(tempDir(t));
  const blob = { size: 3, sha256: "0".repeat(64) };
  const endless = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from("1234");
    assert.fail("asked for more");
  };
  await assert.rejects(depot.append("a", blob, 0, endless()), { code: "CHUNK_CORRUPT" });
});

test("a blob that is shorter than announced is refused, and is not there", async (t) => {
  const depot = directoryDepot(tempDir(t));
  const bytes = Buffer.from("hello");
  const blob = { size: bytes.length + 1, sha256: sha256(bytes), open: () => once(bytes) };
  await assert.rejects(depot.put("packs/a", blob, t.signal), { code: "CHUNK_CORRUPT" });
  assert.equal((await depot.has(["packs/a"], t.signal)).size, 0);
});

test("neither what an upload is said to hash to nor a prefix leads out of the depot's folder", async (t) => {
  const dir = tempDir(t);
  const depot = directoryDepot(path.join(dir, "depot"));
  fs.writeFileSync(path.join(dir, "outside"), "");
  for (const hash of ["", "x".repeat(64), "../../../outside", `${"0".repeat(64)}/../outside`]) {
    const blob = { size: 1, sha256: hash };
    await assert.rejects(depot.append("a", blob, 0, once(Buffer.from("a"))), { code: "BAD_REQUEST" }, hash);
    await assert.rejects(depot.uploaded("a", hash), { code: "BAD_REQUEST" }, hash);
  }
  for (const prefix of ["../", "../../", "packs/../../"])
    await assert.rejects(Array.fromAsync(depot.list(prefix, t.signal)), { code: "BAD_REQUEST" }, prefix);
});

test(
  "an upload that does not fit is refused, and leaves the disk's last room to others",
  { skip: process.getuid?.() === 0 ? false : "needs root for a small disk of its own" },
  (t) => {
    const program = childProgram(import.meta.dirname, "full-disk.child.ts");
    const small = 'mount -t tmpfs -o size=24m skein "$1" && "$2" "$3" "$1"';
    // The mount is private to the child and ends with it.
    const args = ["-m", "sh", "-c", small, "sh", tempDir(t), process.execPath, program];
    const { stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
    const found = stdout === "" ? stderr : (JSON.parse(stdout) as unknown);
    assert.deepEqual(found, {
      large: "DISK_FULL",
      left: 0,
      both: ["DISK_FULL", true],
      small: [true, "DISK_FULL", "DISK_FULL"],
      uploads: [],
      free: 8,
    });
  },
);

test("uploads that nobody goes on with are swept away", async (t) => {
  const dir = tempDir(t);
  const depot = directoryDepot(dir);
  const blob = { size: 9, sha256: "1".repeat(64) };
  await depot.append("a", blob, 0, once(Buffer.from("x")));
  assert.equal(await depot.sweepUploads(60_000, Date.now()), 0);
  assert.equal(await depot.sweepUploads(60_000, Date.now() + 120_000), 1);
  assert.deepEqual(fs.readdirSync(path.join(dir, "uploads")), []);
});

test("an upload that is being received is nobody's to sweep away, however old its file looks", async (t) => {
  const depot = directoryDepot(tempDir(t));
  const bytes = Buffer.from("received");
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  async function* slowly(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 4);
    assert.equal(await depot.sweepUploads(60_000, Date.now() + 120_000), 0);
    yield bytes.subarray(4);
  }
  const state = await depot.append("a", { size: bytes.length, sha256 }, 0, slowly());
  assert.equal(state.done, true);
});

test("a link laid in the depot's folder is not followed", async (t) => {
  const dir = tempDir(t);
  fs.mkdirSync(path.join(dir, "blobs"), { recursive: true });
  fs.symlinkSync("/etc/passwd", path.join(dir, "blobs/a"));
  const depot = directoryDepot(dir);
  assert.equal((await depot.has(["a"], t.signal)).size, 0);
  await assert.rejects(async () => {
    for await (const _ of depot.get("a", t.signal)) assert.fail("read through a link");
  });
});

for (const point of ["depot.received:2", "depot.checked", "depot.renamed"]) {
  test(`killed at ${point}, a put leaves the blob whole or absent, and the next one succeeds`, async (t) => {
    const dir = tempDir(t);
    const script = childProgram(import.meta.dirname, "put.child.ts");
    const run = (fault: string) =>
      spawnSync(process.execPath, [script, dir], {
        env: { ...process.env, SKEIN_FAULT: fault },
        encoding: "utf8",
      });
    assert.equal(run(point).signal, "SIGKILL");
    const depot = directoryDepot(dir);
    const there = (await depot.has(["packs/a"], t.signal)).size > 0;
    assert.equal(there, point === "depot.renamed");
    const again = run("");
    assert.equal(again.status, 0, again.stderr);
    assert.equal(Number(again.stdout) > 0, point === "depot.received:2" || point === "depot.checked");
    const pieces: Uint8Array[] = [];
    for await (const piece of depot.get("packs/a", t.signal)) pieces.push(piece);
    assert.ok(Buffer.concat(pieces).equals(Buffer.alloc(300_000, 7)));
  });
}

test("a folder in which none can be made is told at once", () => {
  // Of what is not in /proc, mkdir says that /proc is not there.
  for (const dir of ["/proc", "/proc/nope/depot"]) {
    const { status, stderr } = spawnSync(
      process.execPath,
      [childProgram(import.meta.dirname, "put.child.ts"), dir],
      { encoding: "utf8", timeout: PATIENCE_MS, killSignal: "SIGKILL" },
    );
    assert.deepEqual([status, /ENOENT/.test(stderr)], [1, true], stderr);
  }
});
