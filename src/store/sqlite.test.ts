import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import test, { type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { fakeClock } from "../lib/time/fake-clock.fixture.ts";
import { openSqliteStore, restoreSqliteStore } from "./sqlite.ts";
import { storeConformance } from "./store.conformance.ts";
import { collect } from "./watch.fixture.ts";
import type { Store, Txn } from "./store.ts";
import { childProgram } from "../lib/testing/child.fixture.ts";

storeConformance("sqlite", async () => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-store-"));
  const clock = fakeClock();
  const store = await openSqliteStore(path.join(dir, "store.db"), { clock });
  return {
    store,
    elapse: async (ms) => clock.advance(ms),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await fs.rm(dir, { recursive: true });
    },
  };
});

/** Does `work` while somebody writes one number to all of `keys`, again and again. */
async function writing(store: Store, keys: readonly string[], work: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const writer = (async () => {
    for (let n = 1; !stop.signal.aborted; n++) {
      const then = keys.map((key) => ({ op: "put", key, value: String(n) }) as const);
      await store.txn({ compare: [], then });
    }
  })();
  try {
    await work();
  } finally {
    stop.abort();
    await writer;
  }
}

async function tempFile(t: TestContext): Promise<string> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-store-"));
  atEnd(t, () => fs.rm(dir, { recursive: true, force: true }));
  return path.join(dir, "store.db");
}

const put = (key: string, value: string): Txn => ({ compare: [], then: [{ op: "put", key, value }] });

async function valuesOf(store: Store, prefix: string): Promise<Record<string, string>> {
  const { entries } = await store.range(prefix);
  return Object.fromEntries(entries.map((entry) => [entry.key, entry.value]));
}

test("a store that is opened again has its entries, revision, history, leases and incarnation", async (t) => {
  const file = await tempFile(t);
  const clock = fakeClock();
  const first = await openSqliteStore(file, { clock });
  const lease = await first.grant(1000);
  await first.txn({ compare: [], then: [{ op: "put", key: "/l", value: "1", lease }] });
  const { revision } = await first.txn(put("/a", "1"));
  await first[Symbol.asyncDispose]();

  clock.advance(5000);
  await using second = await openSqliteStore(file, { clock });
  assert.equal(second.incarnation, first.incarnation);
  assert.equal((await second.range("")).revision, revision);
  assert.equal((await collect(second, "/a", revision, t).take(1)).length, 1);
  clock.advance(900);
  await second.keepAlive(lease);
  const watch = collect(second, "/l", 0, t);
  clock.advance(1000);
  assert.equal((await watch.take(1))[0]?.[0]?.type, "delete");
  assert.notEqual(await second.grant(1000), lease);
});

test("a closed store says so to callers and to watches, after what was asked before is durable", async (t) => {
  const file = await tempFile(t);
  const store = await openSqliteStore(file);
  const watch = Array.fromAsync(store.watch("/never", 0, t.signal));
  const asked = store.txn(put("/a", "1"));
  const closed = store[Symbol.asyncDispose]();
  await assert.rejects(store.txn(put("/b", "1")), { code: "STORE_CLOSED" });
  assert.equal((await asked).succeeded, true);
  await assert.rejects(watch, { code: "STORE_CLOSED" });
  await closed;
  await assert.rejects(store.get("/a"), { code: "STORE_CLOSED" });
  await assert.rejects(Array.fromAsync(store.watch("/", 0, t.signal)), { code: "STORE_CLOSED" });
  await using again = await openSqliteStore(file);
  assert.deepEqual(await valuesOf(again, "/"), { "/a": "1" });
});

test("a store is open in one place at a time", async (t) => {
  const file = await tempFile(t);
  await using _store = await openSqliteStore(file);
  await assert.rejects(openSqliteStore(file), { code: "STORE_BUSY" });
});

test("of those that open a store at once where there is none, one makes it, and all others are told of it", async (t) => {
  for (let round = 0; round < 5; round++) {
    const file = path.join(path.dirname(await tempFile(t)), `new-${round}`, "store.db");
    const opened = await Promise.allSettled(Array.from({ length: 6 }, () => openSqliteStore(file)));
    const stores = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const [store] = stores;
    if (stores.length > 1) for (const one of stores) await one[Symbol.asyncDispose]();
    assert.ok(store !== undefined && stores.length === 1, `${stores.length} have it open`);
    for (const one of opened)
      if (one.status === "rejected") assert.equal((one.reason as { code: string }).code, "STORE_BUSY");
    await store.txn({ compare: [], then: [{ op: "put", key: "/a", value: "1" }] });
    const { incarnation } = store;
    await store[Symbol.asyncDispose]();
    await using again = await openSqliteStore(file);
    assert.deepEqual([again.incarnation, await valuesOf(again, "/")], [incarnation, { "/a": "1" }]);
    assert.deepEqual(
      (await fs.readdir(path.dirname(file))).filter((name) => name.endsWith(".tmp")),
      [],
    );
  }
});

test("a store that is left open keeps no process alive", async (t) => {
  const timers = (): number =>
    process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  const before = timers();
  await using store = await openSqliteStore(await tempFile(t));
  await store.grant(1000);
  assert.ok(timers() <= before); // another one's may be over meanwhile
});

test("a clock that is set ends no lease", async (t) => {
  await using store = await openSqliteStore(await tempFile(t));
  const lease = await store.grant(60_000);
  await store.txn({ compare: [], then: [{ op: "put", key: "/a", value: "1", lease }] });
  const now = Date.now();
  t.mock.method(Date, "now", () => now + 3_600_000);
  await store.keepAlive(lease);
  assert.deepEqual(await valuesOf(store, "/"), { "/a": "1" });
});

test("a lease has its time only while this process is let run: who renews it is not heard else (long)", async (t) => {
  await using store = await openSqliteStore(await tempFile(t));
  const lease = await store.grant(2500);
  await store.txn({ compare: [], then: [{ op: "put", key: "/a", value: "1", lease }] });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000);
  await new Promise((resolve) => setTimeout(resolve, 1)); // its timers come first
  await store.keepAlive(lease);
  assert.deepEqual(await valuesOf(store, "/"), { "/a": "1" });
});

test("a slow watch holds up nobody, costs bounded memory, and misses nothing", async (t) => {
  const file = await tempFile(t);
  await using store = await openSqliteStore(file);
  const slow = collect(store, "/s/", 0, t);
  const fast = collect(store, "/s/", 0, t);
  const wanted: number[] = [];
  const seenFast: number[] = [];
  for (let round = 0; round < 25; round++) {
    const txns = Array.from({ length: 100 }, (_, n) => store.txn(put(`/s/${n}`, String(round))));
    for (const { revision } of await Promise.all(txns)) wanted.push(revision);
    for (const batch of await fast.take(100)) seenFast.push(batch[0]?.revision ?? 0);
  }
  const seenSlow = (await slow.take(wanted.length)).map((batch) => batch[0]?.revision);
  assert.deepEqual(seenSlow, wanted);
  assert.deepEqual(seenFast, wanted);
  // Live again after it caught up.
  const { revision } = await store.txn(put("/s/last", "1"));
  assert.equal((await slow.take(1))[0]?.[0]?.revision, revision);
});

test("a watch hears on when others come and go, whose prefixes are as long, longer or shorter", async (t) => {
  await using store = await openSqliteStore(await tempFile(t));
  const others = new AbortController();
  const prefixes = ["/n/1/", "/n/2/", "/n/", "/n/7/a", "/n/7/"];
  for (const prefix of prefixes) store.watch(prefix, 0, others.signal);
  const [one, longer] = [collect(store, "/n/7/", 0, t), collect(store, "/n/7/bcd", 0, t)];
  await store.txn(put("/n/7/a", ""));
  others.abort();
  await store.txn(put("/n/7/bcd", ""));
  for (const prefix of prefixes) store.watch(prefix, 0, AbortSignal.abort());
  await store.txn(put("/n/7/bcde", ""));
  const heard = async (watch: typeof one, count: number) =>
    (await watch.take(count)).flatMap((batch) => batch.map(({ key }) => key));
  assert.deepEqual(await heard(one, 3), ["/n/7/a", "/n/7/bcd", "/n/7/bcde"]);
  assert.deepEqual(await heard(longer, 2), ["/n/7/bcd", "/n/7/bcde"]);
});

test("a watch that fell behind what was compacted is told so, not served with a gap", async (t) => {
  const file = await tempFile(t);
  await using store = await openSqliteStore(file);
  const slow = collect(store, "/", 0, t);
  for (let n = 0; n < 30; n++) {
    await Promise.all(Array.from({ length: 100 }, (_, k) => store.txn(put(`/${k}`, String(n)))));
  }
  await store.compact((await store.range("", { limit: 1 })).revision);
  await assert.rejects(slow.take(3000), { code: "STORE_COMPACTED" });
});

test("history is cut by itself, and entries stay", async (t) => {
  const file = await tempFile(t);
  const store = await openSqliteStore(file, { keepRevisions: 100 });
  for (let n = 0; n < 50; n++) {
    await Promise.all(Array.from({ length: 10 }, (_, k) => store.txn(put(`/${k}`, String(n)))));
  }
  await assert.rejects(collect(store, "/", 2, t).take(1), { code: "STORE_COMPACTED" });
  assert.equal(Object.keys(await valuesOf(store, "/")).length, 10);
  const { revision } = await store.range("", { limit: 1 });
  assert.equal((await collect(store, "/", revision - 99, t).take(100)).length, 100);
  await store[Symbol.asyncDispose]();
  const db = new DatabaseSync(file);
  const rows = db.prepare("SELECT count(*) AS rows FROM log").get()?.["rows"];
  db.close();
  assert.ok(Number(rows) < 400, `${String(rows)} rows of history`);
});

test("a backup taken while writers write is one moment, and restores under a new incarnation", async (t) => {
  const file = await tempFile(t);
  const backup = `${file}.backup`;
  await using store = await openSqliteStore(file);
  const filler = "x".repeat(2000);
  for (let n = 0; n < 500; n++) await store.txn(put(`/fill/${n}`, filler));
  await writing(store, ["/one", "/two"], async () => store.backup(backup));

  const target = `${file}.restored`;
  const { incarnation, revision } = await restoreSqliteStore(backup, target);
  assert.notEqual(incarnation, store.incarnation);
  await using restored = await openSqliteStore(target);
  assert.equal(restored.incarnation, incarnation);
  assert.equal((await restored.range("")).revision, revision);
  const values = await valuesOf(restored, "/");
  assert.equal(values["/one"], values["/two"]);
  assert.equal(Object.keys(await valuesOf(restored, "/fill/")).length, 500);
  const left = await fs.readdir(path.dirname(file));
  assert.deepEqual(
    left.filter((name) => name.endsWith(".tmp")),
    [],
  );
});

test("a backup goes to where it was told, and makes no folder for it", async (t) => {
  const file = await tempFile(t);
  await using store = await openSqliteStore(file);
  const away = path.join(path.dirname(file), "away");
  await assert.rejects(store.backup(path.join(away, "copy")), {
    code: "NOT_FOUND",
    message: `there is no folder ${away} for copy`,
  });
  await assert.rejects(fs.stat(away), { code: "ENOENT" });
  await assert.rejects(store.backup(path.join(file, "copy")), { code: "NOT_FOUND" });
  await assert.rejects(store.backup("/proc/copy"), { code: "IO" });
});

test("a backup that begins among commits fails none of the time, and closing waits for it", async (t) => {
  const file = await tempFile(t);
  await using store = await openSqliteStore(file);
  const filler = "x".repeat(2000);
  for (let n = 0; n < 200; n++) await store.txn(put(`/fill/${n}`, filler));
  // A copy that met an open transaction failed about one time in six.
  await writing(store, ["/n"], async () => {
    for (let n = 0; n < 40; n++) await Promise.all([store.backup(`${file}.a`), store.backup(`${file}.b`)]);
  });
  const last = store.backup(`${file}.last`);
  await store[Symbol.asyncDispose]();
  await last;
  await restoreSqliteStore(`${file}.last`, `${file}.restored`);
  await using restored = await openSqliteStore(`${file}.restored`);
  assert.equal(Object.keys(await valuesOf(restored, "/fill/")).length, 200);
});

test("restoring replaces the store with all of its journal, and is refused while it is open", async (t) => {
  const file = await tempFile(t);
  const backup = `${file}.backup`;
  const store = await openSqliteStore(file);
  await store.txn(put("/a", "old"));
  await store.backup(backup);
  await store.txn(put("/a", "new"));
  await assert.rejects(restoreSqliteStore(backup, file), { code: "STORE_BUSY" });
  await store.txn(put("/b", "new"));
  await store[Symbol.asyncDispose]();
  await restoreSqliteStore(backup, file);
  await using restored = await openSqliteStore(file);
  assert.deepEqual(await valuesOf(restored, "/"), { "/a": "old" });
  assert.notEqual(restored.incarnation, store.incarnation);
});

test("damage has its code: empty, cut, foreign, scribbled over, without its main file, of another format", async (t) => {
  const file = await tempFile(t);
  const whole = `${file}.whole`;
  const store = await openSqliteStore(file);
  for (let n = 0; n < 300; n++) await store.txn(put(`/${n}`, "x".repeat(500)));
  await store.backup(whole);
  await store[Symbol.asyncDispose]();
  const bytes = await fs.readFile(whole);
  const scribbled = Buffer.from(bytes);
  scribbled.fill(0xaa, 8192, bytes.length - 4096);
  const damages: Record<string, Uint8Array> = {
    empty: new Uint8Array(),
    cut: bytes.subarray(0, bytes.length >> 1),
    foreign: Buffer.from("this is not a database ".repeat(100)),
    scribbled,
  };
  for (const [name, damage] of Object.entries(damages)) {
    await fs.writeFile(file, damage);
    await assert.rejects(openSqliteStore(file), { code: "STORE_CORRUPT" }, name);
    const told = (err: { code: string; message: string }): boolean =>
      err.code === "STORE_CORRUPT" && err.message.includes(`The store ${file} is damaged`);
    await assert.rejects(restoreSqliteStore(file, `${file}.other`), told, name);
    await assert.rejects(fs.stat(`${file}.other`), { code: "ENOENT" });
  }
  await restoreSqliteStore(whole, file);
  await (await openSqliteStore(file))[Symbol.asyncDispose]();

  const db = new DatabaseSync(file);
  db.exec("PRAGMA user_version = 99");
  db.close();
  await assert.rejects(openSqliteStore(file), { code: "STORE_CORRUPT" });
  await fs.rm(file);
  await fs.writeFile(`${file}-wal`, "left");
  await assert.rejects(openSqliteStore(file), { code: "STORE_CORRUPT" });
});

/** Runs the writer program until it ends by itself or by its fault; its acknowledged values. */
async function runWriter(
  file: string,
  fault: string,
  mode = "write",
): Promise<{ acked: number[]; killed: boolean }> {
  const child = spawn(
    process.execPath,
    [childProgram(import.meta.dirname, "store-writer.child.ts"), file, mode],
    {
      env: { ...process.env, SKEIN_FAULT: fault },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const acked: number[] = [];
  const ended = new Promise<NodeJS.Signals | null>((resolve) =>
    child.on("close", (_, signal) => resolve(signal)),
  );
  for await (const line of createInterface({ input: child.stdout })) acked.push(Number(line));
  return { acked, killed: (await ended) === "SIGKILL" };
}

test("killed anywhere, a restarted store has every acknowledged transaction, whole ones only", async (t) => {
  const points = ["store.install:1", "store.commit:1", "store.committed:1"];
  for (const passage of [2, 3, 5]) points.push(`store.commit:${passage}`, `store.committed:${passage}`);
  const file = await tempFile(t);
  const all: number[] = [];
  for (const point of points) {
    const { acked, killed } = await runWriter(file, point);
    assert.equal(killed, true, point);
    all.push(...acked);
    await using store = await openSqliteStore(file);
    const values = await valuesOf(store, "/");
    for (const n of all) assert.equal(values[`/${n}/a`], String(n), `${point}: ${n} was acknowledged`);
    for (const key of Object.keys(values)) {
      const twin = key.endsWith("/a") ? key.replace(/a$/, "b") : key.replace(/b$/, "a");
      assert.equal(values[twin], values[key], `${point}: ${key} is half of a transaction`);
    }
  }
  assert.ok(all.length > 0);
});

const small =
  'mount -t tmpfs -o size=4m skein "$1" && "$2" "$3" "$1/store.db" fill && cp "$1"/store.db* "$4"';

test(
  "a full disk refuses writes with its code, loses none, and takes them again when there is room",
  { skip: process.getuid?.() === 0 ? false : "needs root for a small disk of its own" },
  async (t) => {
    const file = await tempFile(t);
    const dir = path.join(path.dirname(file), "small");
    await fs.mkdir(dir);
    const program = childProgram(import.meta.dirname, "store-writer.child.ts");
    // The mount is private to the child and ends with it.
    const args = ["-m", "sh", "-c", small, "sh", dir, process.execPath, program, path.dirname(file)];
    const child = spawn("unshare", args, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) acknowledged = Number(line);
    assert.equal(await ended, 0);
    assert.ok(acknowledged > 10);
    await using store = await openSqliteStore(file);
    assert.equal((await store.range("/")).entries.length, acknowledged);
  },
);

test("what a killed hub left, journal and all, can be restored elsewhere", async (t) => {
  const file = await tempFile(t);
  const { acked } = await runWriter(file, "store.committed:5");
  assert.ok((await fs.stat(`${file}-wal`)).size > 0);
  await restoreSqliteStore(file, `${file}.other`);
  await using store = await openSqliteStore(`${file}.other`);
  const values = await valuesOf(store, "/");
  for (const n of acked) assert.equal(values[`/${n}/a`], String(n));
  assert.ok(acked.length > 0);
});

test("killed while restoring, the old store or the restored one is there, whole", async (t) => {
  for (const point of ["store.journal-folded", "store.install:1"]) {
    const file = await tempFile(t);
    const store = await openSqliteStore(file);
    await store.txn(put("/a", "old"));
    await store.backup(`${file}.backup`);
    await store.txn(put("/a", "new"));
    await store[Symbol.asyncDispose]();
    assert.equal((await runWriter(file, point, "restore")).killed, true);
    await using after = await openSqliteStore(file);
    assert.deepEqual(await valuesOf(after, "/"), { "/a": "new" });
    assert.equal(after.incarnation, store.incarnation);
  }
});
