/**
 * The hub's picture of what it reads often, kept by following the store: reading it costs nothing and needs no await.
 * Never the truth: every write is a compare-and-set on the store, and `reached` waits until the picture has it.
 */
import { deepFrozen } from "../../lib/memory/deep-frozen.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { knownEnvelope } from "./envelopes.ts";
import type { Key } from "./keys.ts";
import type { Store, StoreEvent } from "../../store/store.ts";

interface Cell {
  readonly value: string;
  readonly modRevision: number;
  parsed?: unknown;
}

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (err: SkeinError) => void;
}

export interface Cached<T> {
  readonly key: string;
  readonly value: T;
  readonly modRevision: number;
}

type Listener = (keys: readonly string[], revision: number) => void;

/** Read on demand instead: many, and seldom asked for. */
const NOT_KEPT = ["/receipts/", "/rosters/"] as const;

export class Mirror {
  readonly #store: Store;
  readonly #cells = new Map<string, Cell>();
  /** The first two names of a key, `/nodes/KID/` → its keys: a node's own are found among ten thousand's. */
  readonly #folders = new Map<string, Set<string>>();
  /** `/nodes/` → its folders. */
  readonly #within = new Map<string, Set<string>>();
  readonly #listeners = new Set<Listener>();
  #waiting: Waiter[] = [];
  #ended = false;
  #revision = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Reads the store, then follows it until `signal` aborts. `failed` hears of the end of that, if it is not asked for. */
  static async follow(store: Store, signal: AbortSignal, failed: (err: unknown) => void): Promise<Mirror> {
    const mirror = new Mirror(store);
    signal.addEventListener("abort", () => mirror.#listeners.clear(), { once: true });
    await mirror.#load();
    const run = mirror.#run(signal).catch(failed);
    void run.finally(() => mirror.#end());
    return mirror;
  }

  get revision(): number {
    return this.#revision;
  }

  get<T>(key: Key<T>): T | undefined {
    const cell = this.#cells.get(key);
    return cell === undefined ? undefined : (parsedOf(cell) as T);
  }

  /** With the revision to compare with; 0 when there is none. */
  entry<T>(key: Key<T>): { readonly value: T | undefined; readonly modRevision: number } {
    const cell = this.#cells.get(key);
    if (cell === undefined) return { value: undefined, modRevision: 0 };
    return { value: parsedOf(cell) as T, modRevision: cell.modRevision };
  }

  /** What is under a prefix that goes at least as deep as one folder, by key. */
  list<T>(prefix: Key<T>): Cached<T>[] {
    const found: Cached<T>[] = [];
    const folder = folderOf(prefix);
    for (const name of this.#within.get(folder) ?? [folder]) {
      for (const key of this.#folders.get(name) ?? []) {
        const cell = key.startsWith(prefix) ? this.#cells.get(key) : undefined;
        if (cell === undefined) continue;
        found.push({ key, value: parsedOf(cell) as T, modRevision: cell.modRevision });
      }
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Resolves when the picture shows `revision`. @throws SkeinError STORE_CLOSED when it no longer will */
  async reached(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    if (this.#ended) throw ended();
    await new Promise<void>((resolve, reject) => this.#waiting.push({ revision, resolve, reject }));
  }

  /** Told the keys of every revision after the picture has them, until the mirror ends; returns how to stop before. */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #end(): void {
    this.#ended = true;
    for (const { reject } of this.#waiting) reject(ended());
    this.#waiting = [];
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const batch of this.#store.watch("", this.#revision + 1, signal)) this.#take(batch);
      } catch (err) {
        if (!isSkeinError(err, "STORE_COMPACTED")) throw err;
        await this.#load();
      }
    }
  }

  async #load(): Promise<void> {
    const { entries, revision } = await this.#store.range("");
    // What went while the history of it was compacted away is told as gone, too.
    const keys = new Set(this.#cells.keys());
    this.#cells.clear();
    this.#folders.clear();
    this.#within.clear();
    for (const { key, value, modRevision } of entries) {
      this.#put(key, { value, modRevision });
      keys.add(key);
    }
    this.#arrive([...keys], revision);
  }

  #take(batch: readonly StoreEvent[]): void {
    for (const event of batch) {
      if (event.type === "put") this.#put(event.key, { value: event.value, modRevision: event.revision });
      else this.#delete(event.key);
    }
    const revision = batch.at(-1)?.revision ?? this.#revision;
    this.#arrive(
      batch.map(({ key }) => key),
      revision,
    );
  }

  #put(key: string, cell: Cell): void {
    if (NOT_KEPT.some((prefix) => key.startsWith(prefix))) return;
    const isNew = !this.#cells.has(key);
    this.#cells.set(key, cell);
    if (isNew) this.#place(key);
  }

  #place(key: string): void {
    const name = folderOf(key);
    const known = this.#folders.get(name);
    if (known !== undefined) return void known.add(key);
    this.#folders.set(name, new Set([key]));
    const top = topOf(key);
    const others = this.#within.get(top);
    if (others === undefined) this.#within.set(top, new Set([name]));
    else others.add(name);
  }

  #delete(key: string): void {
    if (!this.#cells.delete(key)) return;
    const name = folderOf(key);
    const folder = this.#folders.get(name);
    folder?.delete(key);
    if (folder?.size !== 0) return;
    this.#folders.delete(name);
    this.#within.get(topOf(key))?.delete(name);
  }

  #arrive(keys: readonly string[], revision: number): void {
    this.#revision = revision;
    const due = this.#waiting.filter((waiter) => waiter.revision <= revision);
    this.#waiting = this.#waiting.filter((waiter) => waiter.revision > revision);
    for (const listener of this.#listeners) listener(keys, revision);
    for (const { resolve } of due) resolve();
  }
}

function parsedOf(cell: Cell): unknown {
  cell.parsed ??= knownEnvelope(cell.value) ?? deepFrozen(JSON.parse(cell.value));
  return cell.parsed;
}

/** `/nodes/KID/` of `/nodes/KID/view`; `/names/` of `/names/web-1`. */
function folderOf(key: string): string {
  const second = key.indexOf("/", key.indexOf("/", 1) + 1);
  return second === -1 ? topOf(key) : key.slice(0, second + 1);
}

function topOf(key: string): string {
  return key.slice(0, key.indexOf("/", 1) + 1);
}

function ended(): SkeinError {
  return new SkeinError("STORE_CLOSED", "the hub stops");
}
