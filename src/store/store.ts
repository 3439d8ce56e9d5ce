/**
 * Revisioned key-value state with etcd's semantics (https://etcd.io/docs, "KV API guarantees"):
 * every successful transaction that changes something has one revision, all of its changes carry it,
 * and watchers see each revision whole, once, in order. One conformance suite runs against every backend.
 * Keys are UTF-8 paths such as `/orders/shop/default/head`; values are UTF-8 text (JSON by convention), at most 1.5 MiB.
 */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Revision at which the key came to be (again). */
  readonly createRevision: number;
  /** Revision of its last change. */
  readonly modRevision: number;
  /** 1 when created, one more for each change. */
  readonly version: number;
  /** Lease that ends this key, or 0. */
  readonly lease: number;
}

/** A condition on one key as it stands when the transaction runs. `modRevision: 0` means "there is no such key". */
export type Compare =
  | {
      readonly key: string;
      readonly target: "modRevision" | "createRevision" | "version";
      readonly op: "=" | "!=" | "<" | ">";
      readonly value: number;
    }
  | { readonly key: string; readonly target: "value"; readonly op: "=" | "!="; readonly value: string };

export type Op =
  | { readonly op: "put"; readonly key: string; readonly value: string; readonly lease?: number }
  | { readonly op: "delete"; readonly key: string }
  | { readonly op: "deletePrefix"; readonly prefix: string };

export interface Txn {
  /** All must hold, else `orElse` runs. Empty: always. */
  readonly compare: readonly Compare[];
  readonly then: readonly Op[];
  readonly orElse?: readonly Op[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  /** The store's revision after the transaction. */
  readonly revision: number;
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
  range(prefix: string, options?: { readonly limit?: number; readonly after?: string }): Promise<RangeResult>;
  /** Durable when it resolves. */
  txn(txn: Txn): Promise<TxnResult>;
  /**
   * Batches of changes under `prefix`, one array per revision, from `fromRevision` on (0: from now).
   * Ends when `signal` aborts.
   * @throws SkeinError STORE_COMPACTED when `fromRevision` was compacted away, with `data.compacted`
   */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]>;
  /** A lease of `ttlMs`; keys put with it are deleted when it ends. */
  grant(ttlMs: number): Promise<number>;
  /** @throws SkeinError LEASE_NOT_FOUND */
  keepAlive(lease: number): Promise<void>;
  revoke(lease: number): Promise<void>;
  /** Forgets history before `revision`; watches that ask for it fail with STORE_COMPACTED. */
  compact(revision: number): Promise<void>;
}
