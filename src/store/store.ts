/**
 * Revisioned key-value state with etcd's semantics (https://etcd.io/docs, "KV API guarantees"):
 * every successful transaction that changes something has one revision, all of its changes carry it,
 * and watchers see each revision whole, once, in order. One conformance suite runs against every backend.
 *
 * Keys are UTF-8 paths such as `/orders/shop/default/head`; values are UTF-8 text (JSON by convention).
 * Bounds, the same for every backend (they are etcd's own): 1,024 bytes for a key, 128 operations and
 * 128 comparisons in a transaction, 1.5 MiB for all of its keys and values together.
 * Every method rejects with STORE_CLOSED after disposal.
 */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Revision at which the key came to be (again). */
  readonly createRevision: number;
  /** Revision of its last change. */
  readonly modRevision: number;
  /** 1 when created, one more for each put. */
  readonly version: number;
  /** Lease that ends this key, or 0. */
  readonly lease: number;
}

/**
 * A condition on one key as it stands when the transaction runs. A key that is not there has revisions and
 * version 0 (`modRevision = 0` means "there is no such key") and no value: both value conditions fail on it.
 */
export type Compare =
  | {
      readonly key: string;
      readonly target: "modRevision" | "createRevision" | "version";
      readonly op: "=" | "!=" | "<" | ">";
      readonly value: number;
    }
  | { readonly key: string; readonly target: "value"; readonly op: "=" | "!="; readonly value: string };

/** A put without a lease takes the key off the lease it had. Deleting what is not there changes nothing. */
export type Op =
  | { readonly op: "put"; readonly key: string; readonly value: string; readonly lease?: number }
  | { readonly op: "delete"; readonly key: string }
  | { readonly op: "deletePrefix"; readonly prefix: string };

/** A key is put at most once in a branch, and not put and deleted in the same one. */
export interface Txn {
  /** All must hold, else `orElse` runs. Empty: always. */
  readonly compare: readonly Compare[];
  readonly then: readonly Op[];
  readonly orElse?: readonly Op[];
}

export interface TxnResult {
  /** Which branch ran: true for `then`. */
  readonly succeeded: boolean;
  /** The store's revision after the transaction. */
  readonly revision: number;
}

export interface RangeOptions {
  /** At most so many entries; default all. */
  readonly limit?: number;
  /** Only keys after this one: the last key of the page before. */
  readonly after?: string;
}

export interface RangeResult {
  /** Sorted by key (raw UTF-8 bytes). */
  readonly entries: readonly Entry[];
  /** The revision at which this was true; watch from the next one misses nothing. */
  readonly revision: number;
}

export type StoreEvent =
  | { readonly type: "put"; readonly key: string; readonly value: string; readonly revision: number }
  | { readonly type: "delete"; readonly key: string; readonly revision: number };

export interface Store extends AsyncDisposable {
  /** Made anew when the store is created or restored from a backup: tells clients that revisions may repeat. */
  readonly incarnation: string;
  get(key: string): Promise<Entry | undefined>;
  /** Every entry whose key starts with `prefix`; the empty prefix is the whole store. */
  range(prefix: string, options?: RangeOptions): Promise<RangeResult>;
  /**
   * Durable when it resolves. When it rejects, nothing changed.
   * @throws SkeinError STORE_REFUSED when it breaks a bound, LEASE_NOT_FOUND, DISK_FULL, STORE_CORRUPT
   */
  txn(txn: Txn): Promise<TxnResult>;
  /**
   * Batches of changes under `prefix`, one array per revision, from `fromRevision` on (0: from the call on; one that
   * lies ahead is waited for). Can be iterated once. A slow reader holds up nobody and costs bounded memory: it is
   * served from history. Ends when `signal` aborts.
   * @throws SkeinError (from the iteration) STORE_COMPACTED when what comes next was compacted away, with
   * `data.compacted`, the first revision that is still known; STORE_CLOSED
   */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]>;
  /**
   * A lease of `ttlMs`; keys put with it are deleted, in one revision, when it ends. While the store is closed
   * no lease ends: each has its full time again when the store is opened.
   */
  grant(ttlMs: number): Promise<number>;
  /** Its full time again, from now. @throws SkeinError LEASE_NOT_FOUND */
  keepAlive(lease: number): Promise<void>;
  /** Ends it now, with its keys. @throws SkeinError LEASE_NOT_FOUND */
  revoke(lease: number): Promise<void>;
  /**
   * Forgets history before `revision`; watches that ask for it fail with STORE_COMPACTED. Entries stay.
   * @throws SkeinError STORE_REFUSED when `revision` lies ahead
   */
  compact(revision: number): Promise<void>;
}

/** A store that can copy itself; others are backed up with their own tools. */
export interface BackupStore extends Store {
  /** Copies the store, as it stands at the end, to `file` while it is used; the file appears whole or not at all. */
  backup(file: string): Promise<void>;
}
