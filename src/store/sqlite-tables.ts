import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { SkeinError } from "../lib/errors/errors.ts";
import { holds, leaseNotFound, prefixEnd, sizeOf } from "./rules.ts";
import type { Entry, Op, RangeOptions, StoreEvent, Txn } from "./store.ts";

/** In PRAGMA application_id ("SKNs"): another program's database is never taken for a store. */
export const APPLICATION_ID = 0x53_4b_4e_73;
/** In PRAGMA user_version; raised when the tables change. */
export const FORMAT = 1;

/**
 * `cur` is what stands, `log` what happened since the last compaction (a null value is a deletion).
 * A lease's time is not kept: it starts anew when the store opens, so that renewing one costs no write.
 */
export const SCHEMA = `
  CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE cur(key TEXT PRIMARY KEY, value TEXT NOT NULL, createRev INTEGER NOT NULL,
    modRev INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX curLease ON cur(lease) WHERE lease != 0;
  CREATE TABLE log(rev INTEGER NOT NULL, sub INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
    PRIMARY KEY(rev, sub)) STRICT, WITHOUT ROWID;
  CREATE TABLE lease(id INTEGER PRIMARY KEY AUTOINCREMENT, ttlMs INTEGER NOT NULL) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
`;

/** How much history one read takes at most before it stops at a revision's end. */
const READ_ROWS = 1000;
const READ_CHARS = 1024 * 1024;
/** Sorts after every key: no UTF-8 byte is above it. */
const NO_END = "\u{10ffff}".repeat(4);

type Row = Readonly<Record<string, SQLInputValue>>;

interface LogRow {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
}

interface Applied {
  readonly succeeded: boolean;
  /** Empty when nothing changed; then the revision stays. */
  readonly events: readonly StoreEvent[];
}

/** The tables of one store and what one transaction does to them; the caller begins and commits. */
export class Tables {
  /** The newest revision; 1 in an empty store. */
  revision = 1;
  /** The oldest revision that history still has. */
  compacted = 1;
  readonly incarnation: string;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: DatabaseSync) {
    this.#sql = prepare(db);
    this.incarnation = this.#meta("incarnation");
    this.reload();
  }

  /** Reads the counters again, as after a rollback. */
  reload(): void {
    this.revision = Number(this.#meta("revision"));
    this.compacted = Number(this.#meta("compacted"));
  }

  saveRevision(): void {
    this.#sql.setMeta.run(String(this.revision), "revision");
  }

  saveCompacted(revision: number): void {
    this.#sql.setMeta.run(String(revision), "compacted");
    this.compacted = revision;
  }

  get(key: string): Entry | undefined {
    const row = this.#sql.get.get(key);
    return row === undefined ? undefined : entryOf(row);
  }

  range(prefix: string, options: RangeOptions): Entry[] {
    const limit = options.limit ?? -1;
    return this.#sql.range.all(prefix, endOf(prefix), options.after ?? "", limit).map(entryOf);
  }

  /** @throws SkeinError LEASE_NOT_FOUND, before anything is changed */
  apply(txn: Txn, leaseLives: (lease: number) => boolean): Applied {
    const succeeded = txn.compare.every((compare) => holds(compare, this.get(compare.key)));
    const ops = (succeeded ? txn.then : txn.orElse) ?? [];
    for (const op of ops) refuseLease(op, leaseLives);
    const revision = this.revision + 1;
    const events: StoreEvent[] = [];
    for (const op of ops) this.#run(op, revision, events);
    if (events.length > 0) this.revision = revision;
    return { succeeded, events };
  }

  /** Ends a lease and, in one revision, its keys. */
  endLease(lease: number): readonly StoreEvent[] {
    const revision = this.revision + 1;
    const events: StoreEvent[] = [];
    for (const row of this.#sql.byLease.all(lease)) this.#delete(String(row["key"]), revision, events);
    this.#sql.endLease.run(lease);
    if (events.length > 0) this.revision = revision;
    return events;
  }

  addLease(ttlMs: number): number {
    return Number(this.#sql.addLease.run(ttlMs).lastInsertRowid);
  }

  leases(): { readonly id: number; readonly ttlMs: number }[] {
    return this.#sql.leases.all().map((row) => ({ id: Number(row["id"]), ttlMs: Number(row["ttlMs"]) }));
  }

  /** The next changes under `prefix` from `from` on, whole revisions, about a mebibyte of them at most. */
  read(prefix: string, from: number): StoreEvent[][] {
    const batches: StoreEvent[][] = [];
    let rows = 0;
    let chars = 0;
    for (const row of this.#sql.since.iterate(from, prefix, endOf(prefix))) {
      const event = eventOf(row);
      const batch = batches.at(-1);
      if (batch?.[0]?.revision === event.revision) batch.push(event);
      else if (rows >= READ_ROWS || chars >= READ_CHARS) break;
      else batches.push([event]);
      rows += 1;
      chars += sizeOf(event);
    }
    return batches;
  }

  /** Forgets up to `limit` changes before what was compacted; how many it forgot. */
  forget(limit: number): number {
    return Number(this.#sql.forget.run(this.compacted, limit).changes);
  }

  #run(op: Op, revision: number, events: StoreEvent[]): void {
    switch (op.op) {
      case "put":
        this.#put(op.key, op.value, op.lease ?? 0, revision, events);
        break;
      case "delete":
        this.#delete(op.key, revision, events);
        break;
      case "deletePrefix":
        for (const row of this.#sql.keys.all(op.prefix, endOf(op.prefix))) {
          this.#delete(String(row["key"]), revision, events);
        }
        break;
    }
  }

  #put(key: string, value: string, lease: number, revision: number, events: StoreEvent[]): void {
    this.#sql.put.run(key, value, revision, revision, lease);
    this.#sql.log.run(revision, events.length, key, value);
    events.push({ type: "put", key, value, revision });
  }

  #delete(key: string, revision: number, events: StoreEvent[]): void {
    if (Number(this.#sql.delete.run(key).changes) === 0) return;
    this.#sql.log.run(revision, events.length, key, null);
    events.push({ type: "delete", key, revision });
  }

  #meta(name: string): string {
    const row = this.#sql.meta.get(name);
    if (row === undefined) throw new SkeinError("STORE_CORRUPT", `The store has no ${name}.`);
    return String(row["value"]);
  }
}

function prepare(db: DatabaseSync): Record<(typeof NAMES)[number], StatementSync> {
  const statements = NAMES.map((name) => [name, db.prepare(SQL[name])] as const);
  return Object.fromEntries(statements) as Record<(typeof NAMES)[number], StatementSync>;
}

const ENTRY = "key, value, createRev AS createRevision, modRev AS modRevision, version, lease";
const SQL = {
  meta: "SELECT value FROM meta WHERE name = ?",
  setMeta: "UPDATE meta SET value = ? WHERE name = ?",
  get: `SELECT ${ENTRY} FROM cur WHERE key = ?`,
  range: `SELECT ${ENTRY} FROM cur WHERE key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?`,
  keys: "SELECT key FROM cur WHERE key >= ? AND key < ? ORDER BY key",
  byLease: "SELECT key FROM cur WHERE lease != 0 AND lease = ? ORDER BY key",
  put: `INSERT INTO cur VALUES(?, ?, ?, ?, 1, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value,
    modRev = excluded.modRev, version = version + 1, lease = excluded.lease`,
  delete: "DELETE FROM cur WHERE key = ?",
  log: "INSERT INTO log VALUES(?, ?, ?, ?)",
  since:
    "SELECT rev AS revision, key, value FROM log WHERE rev >= ? AND key >= ? AND key < ? ORDER BY rev, sub",
  forget: "DELETE FROM log WHERE (rev, sub) IN (SELECT rev, sub FROM log WHERE rev < ? LIMIT ?)",
  leases: "SELECT id, ttlMs FROM lease",
  addLease: "INSERT INTO lease(ttlMs) VALUES(?)",
  endLease: "DELETE FROM lease WHERE id = ?",
} as const;
const NAMES = Object.keys(SQL) as (keyof typeof SQL)[];

const endOf = (prefix: string): string => prefixEnd(prefix) ?? NO_END;

/** The tables are STRICT, so a row has the types that its columns say. */
const entryOf = (row: Row): Entry => ({ ...row }) as unknown as Entry;

function eventOf(row: Row): StoreEvent {
  const { key, value, revision } = row as unknown as LogRow;
  return value === null ? { type: "delete", key, revision } : { type: "put", key, value, revision };
}

function refuseLease(op: Op, leaseLives: (lease: number) => boolean): void {
  if (op.op !== "put" || op.lease === undefined || op.lease === 0 || leaseLives(op.lease)) return;
  throw leaseNotFound(op.lease);
}
