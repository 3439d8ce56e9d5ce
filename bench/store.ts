import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openSqliteStore } from "../src/store/sqlite.ts";
import { alternately, type Bench, rounded } from "./bench.ts";

const WRITERS = 64;
const VALUE = "x".repeat(200);
const GOAL_PER_SEC = 20_000;

/**
 * 64 writers, each with its own key, each waiting for its last durable compare-and-set before it asks for the next.
 * The peer does the same work on plain SQLite with the same durability (WAL, synchronous=FULL): one commit each.
 */
export const bench: Bench = async function* ({ quick, signal }) {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-bench-store-"));
  try {
    const ms = quick ? 1000 : 3000;
    const { ours, peer } = await alternately(
      quick ? 3 : 5,
      signal,
      () => storeCasPerSec(dir, ms),
      () => sqliteCasPerSec(dir, ms),
    );
    yield {
      bench: "store",
      case: `durable compare-and-sets per second, ${WRITERS} writers`,
      ours: rounded(ours),
      peer: rounded(peer),
      peer_name: "node:sqlite, one commit each",
      ratio: rounded(ours / peer),
      goal: `ours >= ${GOAL_PER_SEC}/s`,
      met: ours >= GOAL_PER_SEC,
    };
  } finally {
    await fs.rm(dir, { recursive: true, force: true });
  }
};

async function storeCasPerSec(dir: string, ms: number): Promise<number> {
  await using store = await openSqliteStore(path.join(dir, "ours", "store.db"));
  const begin = performance.now();
  let done = 0;
  const writer = async (n: number): Promise<void> => {
    const key = `/bench/${n}`;
    let revision = (await store.get(key))?.modRevision ?? 0;
    while (performance.now() - begin < ms) {
      const result = await store.txn({
        compare: [{ key, target: "modRevision", op: "=", value: revision }],
        then: [{ op: "put", key, value: VALUE }],
      });
      assert.ok(result.succeeded);
      revision = result.revision;
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, n) => writer(n)));
  return (done * 1000) / (performance.now() - begin);
}

async function sqliteCasPerSec(dir: string, ms: number): Promise<number> {
  const db = new DatabaseSync(path.join(dir, "plain.db"));
  try {
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    db.exec(
      "CREATE TABLE IF NOT EXISTS kv(key TEXT PRIMARY KEY, value TEXT, revision INTEGER) WITHOUT ROWID",
    );
    const insert = db.prepare("INSERT OR REPLACE INTO kv VALUES(?, ?, 0)");
    for (let n = 0; n < WRITERS; n++) insert.run(`/bench/${n}`, VALUE);
    const cas = db.prepare("UPDATE kv SET value = ?, revision = revision + 1 WHERE key = ? AND revision = ?");
    const begin = performance.now();
    let done = 0;
    for (; performance.now() - begin < ms; done++) {
      const { changes } = cas.run(VALUE, `/bench/${done % WRITERS}`, Math.floor(done / WRITERS));
      assert.equal(Number(changes), 1);
    }
    return (done * 1000) / (performance.now() - begin);
  } finally {
    db.close();
  }
}
