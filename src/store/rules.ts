import { SkeinError } from "../lib/errors/errors.ts";
import type { Compare, Entry, Op, StoreEvent, Txn } from "./store.ts";

/** etcd's own bounds, so that what one backend takes the other takes as well. */
const MAX_KEY_BYTES = 1024;
const MAX_OPS = 128;
const MAX_TXN_BYTES = 1.5 * 1024 * 1024;

/** Refuses, before anything runs, a transaction that some backend would not take. @throws SkeinError STORE_REFUSED */
export function checkTxn(txn: Txn): void {
  const branches = [txn.then, txn.orElse ?? []];
  if (txn.compare.length > MAX_OPS || branches.some((ops) => ops.length > MAX_OPS)) {
    throw refused(`more than ${MAX_OPS} operations in one transaction`);
  }
  let bytes = 0;
  for (const compare of txn.compare) bytes += keyBytes(compare.key) + textBytes(compare);
  for (const ops of branches) bytes += checkBranch(ops);
  if (bytes > MAX_TXN_BYTES) throw refused(`a transaction of ${bytes} bytes`, { bytes });
}

function checkBranch(ops: readonly Op[]): number {
  const put = new Set<string>();
  let bytes = 0;
  for (const op of ops) {
    bytes += op.op === "deletePrefix" ? Buffer.byteLength(op.prefix) : keyBytes(op.key);
    if (op.op !== "put") continue;
    bytes += textBytes(op);
    if (put.has(op.key)) throw refused(`${op.key} is put twice`, { key: op.key });
    put.add(op.key);
  }
  for (const op of ops) refuseOverlap(op, put);
  return bytes;
}

function refuseOverlap(op: Op, put: ReadonlySet<string>): void {
  if (op.op === "put") return;
  const deletes = (key: string): boolean => (op.op === "delete" ? key === op.key : key.startsWith(op.prefix));
  const both = [...put].find(deletes);
  if (both !== undefined) throw refused(`${both} is put and deleted`, { key: both });
}

/** @throws SkeinError STORE_REFUSED */
function keyBytes(key: string): number {
  const bytes = Buffer.byteLength(key);
  if (bytes === 0 || bytes > MAX_KEY_BYTES) throw refused(`a key of ${bytes} bytes`, { bytes });
  if (!key.isWellFormed() || key.includes("\0")) throw refused("a key that is not text");
  return bytes;
}

function textBytes(item: { readonly value: string | number }): number {
  if (typeof item.value === "number") return 8;
  if (!item.value.isWellFormed()) throw refused("a value that is not text");
  return Buffer.byteLength(item.value);
}

export function refused(message: string, data: Record<string, unknown> = {}): SkeinError {
  return new SkeinError("STORE_REFUSED", `The store refuses ${message}.`, { data });
}

export function leaseNotFound(lease: number): SkeinError {
  return new SkeinError("LEASE_NOT_FOUND", `Lease ${lease} has ended or never was.`, { data: { lease } });
}

/** Characters that an event holds in memory, nearly. */
export function sizeOf(event: StoreEvent): number {
  return event.key.length + (event.type === "put" ? event.value.length : 0);
}

/** Does `compare` hold for the entry at its key? */
export function holds(compare: Compare, entry: Entry | undefined): boolean {
  if (compare.target === "value") {
    return entry !== undefined && (entry.value === compare.value) === (compare.op === "=");
  }
  return RELATIONS[compare.op](entry?.[compare.target] ?? 0, compare.value);
}

const RELATIONS: Readonly<Record<Compare["op"], (actual: number, wanted: number) => boolean>> = {
  "=": (actual, wanted) => actual === wanted,
  "!=": (actual, wanted) => actual !== wanted,
  "<": (actual, wanted) => actual < wanted,
  ">": (actual, wanted) => actual > wanted,
};

const LAST_CODE_POINT = 0x10_ff_ff;

/** The first key after all that start with `prefix`, in the order of UTF-8 bytes; undefined when there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (char) => char.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === LAST_CODE_POINT) continue;
    // The surrogates are no code points of their own, so 0xD7FF is followed by 0xE000.
    const next = last === 0xd7_ff ? 0xe0_00 : last + 1;
    return String.fromCodePoint(...points, next);
  }
  return undefined;
}
