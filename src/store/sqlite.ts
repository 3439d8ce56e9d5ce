import type { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import { faultPoint } from "../lib/process/fault.ts";
import { runningClock } from "../lib/time/own-time.ts";
import { Leases } from "./leases.ts";
import { checkTxn, leaseNotFound, refused } from "./rules.ts";
import { asStoreError, backupFile, openFile, restoreFile } from "./sqlite-file.ts";
import { Tables } from "./sqlite-tables.ts";
import type { BackupStore, Entry, RangeOptions, RangeResult, StoreEvent, Txn, TxnResult } from "./store.ts";
import { Watches } from "./watches.ts";

export interface SqliteOptions {
  /** Leases end by it. Default: one that nobody sets, and that stands still while this process is stopped. */
  readonly clock?: Clock;
  /** Revisions of history that are always kept; up to twice as many are. Default 10 000. */
  readonly keepRevisions?: number;
}

/** How many callers one fsync serves at most: a larger group would hold the event loop for too long. */
const GROUP = 1000;
/** How many changes compaction forgets before it lets others go first. */
const FORGET = 2000;
const DEFAULTS = { clock: runningClock, keepRevisions: 10_000 } as const satisfies Required<SqliteOptions>;

/**
 * The store in one SQLite file, made when it is not there. What callers ask for in one turn of the event loop is
 * committed together, with one fsync (WAL, synchronous=FULL): under load an fsync serves all who wait.
 * @throws SkeinError STORE_CORRUPT, STORE_BUSY when another process has it open, IO
 */
export async function openSqliteStore(file: string, options: SqliteOptions = {}): Promise<BackupStore> {
  const db = await openFile(file);
  try {
    return new OpenStore(file, db, { ...DEFAULTS, ...options });
  } catch (err) {
    db.close();
    throw asStoreError(err, file);
  }
}

/**
 * Puts the backup `backup` in the place of the store at `target`, under a new incarnation.
 * @throws SkeinError NOT_FOUND, STORE_CORRUPT when the backup is damaged, STORE_BUSY while a hub has the store open
 */
export async function restoreSqliteStore(
  backup: string,
  target: string,
): Promise<{ readonly incarnation: string; readonly revision: number }> {
  await restoreFile(backup, target);
  await using store = await openSqliteStore(target);
  const { revision } = await store.range("", { limit: 1 });
  return { incarnation: store.incarnation, revision };
}

/** Work inside the next transaction. A SkeinError that it throws must leave the tables untouched. */
interface Job {
  /** Returns what to do once the work is durable: it settles the caller's promise. */
  run(): () => void;
  reject(err: unknown): void;
}

class OpenStore implements BackupStore {
  readonly incarnation: string;
  readonly #file: string;
  readonly #db: DatabaseSync;
  readonly #keepRevisions: number;
  readonly #tables: Tables;
  readonly #watches: Watches;
  readonly #leases: Leases;
  readonly #closing = new AbortController();
  readonly #sweeping: Promise<void>;
  #jobs: Job[] = [];
  #flushing: Promise<void> | undefined;
  #published: (readonly StoreEvent[])[] = [];
  #forgetting: Promise<void> | undefined;
  /** Backups under way: the file stays open for them. */
  readonly #backups = new Set<Promise<void>>();
  /** Resolves when the newest backup has begun; nothing is committed before. */
  #begun: Promise<void> | undefined;
  /** The revision at which history was last cut by itself, or that was tried. */
  #tidiedAt = 0;

  constructor(file: string, db: DatabaseSync, options: Required<SqliteOptions>) {
    this.#file = file;
    this.#db = db;
    this.#keepRevisions = options.keepRevisions;
    this.#tables = new Tables(db);
    this.incarnation = this.#tables.incarnation;
    this.#watches = new Watches(this.#tables);
    this.#leases = new Leases(options.clock);
    for (const { id, ttlMs } of this.#tables.leases()) this.#leases.add(id, ttlMs);
    this.#sweeping = this.#leases.sweep((id) => this.#endLease(id), this.#closing.signal);
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#reading(() => this.#tables.get(key));
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    return this.#reading(() => ({
      entries: this.#tables.range(prefix, options),
      revision: this.#tables.revision,
    }));
  }

  async txn(txn: Txn): Promise<TxnResult> {
    checkTxn(txn);
    return await this.#write(() => {
      const { succeeded, events } = this.#tables.apply(txn, (lease) => this.#leases.lives(lease));
      if (events.length > 0) this.#published.push(events);
      return { succeeded, revision: this.#tables.revision };
    });
  }

  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]> {
    const watch = this.#watches.open(prefix, fromRevision, signal);
    if (this.#closing.signal.aborted) watch.end(closed());
    return watch;
  }

  async grant(ttlMs: number): Promise<number> {
    if (!Number.isSafeInteger(ttlMs) || ttlMs <= 0) throw refused(`a lease of ${ttlMs} ms`);
    const id = await this.#write(() => this.#tables.addLease(ttlMs));
    this.#leases.add(id, ttlMs);
    return id;
  }

  async keepAlive(lease: number): Promise<void> {
    this.#refuseClosed();
    this.#leases.renew(lease);
  }

  async revoke(lease: number): Promise<void> {
    await this.#write(() => {
      if (!this.#leases.lives(lease)) throw leaseNotFound(lease);
      this.#end(lease);
    });
    this.#leases.drop(lease);
  }

  async compact(revision: number): Promise<void> {
    await this.#write(() => {
      if (revision > this.#tables.revision) throw refused(`to forget revision ${revision}, which lies ahead`);
      if (revision > this.#tables.compacted) this.#tables.saveCompacted(revision);
    });
    await (this.#forgetting ??= this.#forget());
  }

  async backup(file: string): Promise<void> {
    this.#refuseClosed();
    const backup = backupFile(this.#db, file, (begun) => {
      this.#begun = Promise.all([this.#begun, begun]).then(() => undefined);
    });
    this.#backups.add(backup);
    try {
      await backup;
    } finally {
      this.#backups.delete(backup);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#flushing;
    await this.#forgetting?.catch(() => undefined);
    await this.#sweeping;
    await Promise.allSettled(this.#backups);
    this.#watches.fail(closed());
    this.#db.close();
  }

  // Private

  #reading<T>(read: () => T): T {
    this.#refuseClosed();
    try {
      return read();
    } catch (err) {
      throw asStoreError(err, this.#file);
    }
  }

  /** Runs `work` in the next transaction and resolves when that is durable. */
  async #write<T>(work: () => T): Promise<T> {
    this.#refuseClosed();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#jobs.push({
      run: () => {
        const result = work();
        return () => resolve(result);
      },
      reject,
    });
    this.#flushing ??= this.#flush();
    return await promise;
  }

  /** Waits for the end of this turn, so that all who write in it share one commit. */
  async #flush(): Promise<void> {
    while (this.#jobs.length > 0) {
      await setImmediate();
      await this.#backupBegun();
      const group = this.#jobs.splice(0, GROUP);
      try {
        this.#commit(group);
      } catch (err) {
        const known = asStoreError(err, this.#file);
        for (const job of group) job.reject(known);
      }
    }
    this.#flushing = undefined;
    this.#forgetOld();
  }

  async #backupBegun(): Promise<void> {
    while (this.#begun !== undefined) {
      const begun = this.#begun;
      await begun;
      if (this.#begun === begun) this.#begun = undefined;
    }
  }

  #commit(group: readonly Job[]): void {
    const before = this.#tables.revision;
    const done: (() => void)[] = [];
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      for (const job of group) this.#attempt(job, done);
      if (this.#tables.revision !== before) this.#tables.saveRevision();
      faultPoint("store.commit");
      this.#db.exec("COMMIT");
    } catch (err) {
      this.#published = [];
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      this.#tables.reload();
      throw err;
    }
    faultPoint("store.committed");
    const published = this.#published;
    this.#published = [];
    for (const events of published) this.#watches.publish(events);
    for (const settle of done) settle();
  }

  /** A job that is refused takes nobody with it; any other failure ends the whole group. */
  #attempt(job: Job, done: (() => void)[]): void {
    try {
      done.push(job.run());
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      job.reject(err);
    }
  }

  #end(lease: number): void {
    const events = this.#tables.endLease(lease);
    if (events.length > 0) this.#published.push(events);
  }

  /** A sweep that fails (a full disk) is tried again by the next one. */
  async #endLease(lease: number): Promise<void> {
    try {
      await this.#write(() => {
        if (!this.#leases.lives(lease)) this.#end(lease);
      });
      this.#leases.drop(lease);
    } catch (err) {
      if (!isSkeinError(err)) throw err;
    }
  }

  #forgetOld(): void {
    const { revision, compacted } = this.#tables;
    const since = Math.max(compacted + this.#keepRevisions, this.#tidiedAt);
    if (revision - since < this.#keepRevisions || this.#closing.signal.aborted) return;
    this.#tidiedAt = revision;
    // Only tidying: when it fails (a full disk) history is longer than wanted until the next time.
    this.compact(revision - this.#keepRevisions).catch(() => undefined);
  }

  /** Forgets piecewise, so that a long history holds up no writer. */
  async #forget(): Promise<void> {
    try {
      while (!this.#closing.signal.aborted) {
        if ((await this.#write(() => this.#tables.forget(FORGET))) < FORGET) return;
      }
    } finally {
      this.#forgetting = undefined;
    }
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw closed();
  }
}

function closed(): SkeinError {
  return new SkeinError("STORE_CLOSED", "The store is closed.");
}
