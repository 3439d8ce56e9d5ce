import { SkeinError } from "../lib/errors/errors.ts";
import { sizeOf } from "./rules.ts";
import type { StoreEvent } from "./store.ts";

/** What a watch may hold in memory for a reader that is slower than the writers; beyond, history serves it. */
const QUEUE_BATCHES = 1000;
const QUEUE_CHARS = 2 * 1024 * 1024;

type Batch = readonly StoreEvent[];

/** Where a watch that is behind finds what it missed. */
export interface History {
  readonly revision: number;
  readonly compacted: number;
  /** The next whole revisions under `prefix` from `from` on; empty when there are no more. */
  read(prefix: string, from: number): readonly Batch[];
}

/**
 * The watches of one store. A watch is *live* when it has been given, or holds queued, everything up to the newest
 * revision: then changes are pushed to it. When its queue is full it stops being live; it then drains the queue,
 * reads history from where the queue ended until nothing is left, and is live again. Reading and becoming live
 * happen in one turn of the event loop, as does publishing, so nothing falls between.
 */
export class Watches {
  readonly #history: History;
  readonly #byPrefix = new Map<string, Set<Watch>>();
  /** The lengths of the prefixes watched, and how many have each. */
  readonly #prefixes = new Map<number, number>();
  /** The same lengths, the shortest first: an event looks up only so many of its own. */
  #lengths: readonly number[] = [];

  constructor(history: History) {
    this.#history = history;
  }

  open(prefix: string, fromRevision: number, signal: AbortSignal): Watch {
    const from = fromRevision === 0 ? this.#history.revision + 1 : fromRevision;
    const watch = new Watch(this.#history, prefix, from, signal, () => this.#remove(watch));
    const others = this.#byPrefix.get(prefix);
    if (others === undefined) {
      this.#byPrefix.set(prefix, new Set([watch]));
      this.#count(prefix.length, 1);
    } else others.add(watch);
    if (signal.aborted) watch.end();
    return watch;
  }

  /** Hands the changes of one revision, already durable, to whoever watches them. */
  publish(batch: Batch): void {
    const perWatch = new Map<Watch, StoreEvent[]>();
    for (const event of batch) {
      for (const length of this.#lengths) {
        if (length > event.key.length) break;
        for (const watch of this.#byPrefix.get(event.key.slice(0, length)) ?? []) {
          const events = perWatch.get(watch);
          if (events === undefined) perWatch.set(watch, [event]);
          else events.push(event);
        }
      }
    }
    for (const [watch, events] of perWatch) watch.push(events);
  }

  /** Ends every watch with `err`. */
  fail(err: SkeinError): void {
    for (const watch of [...this.#byPrefix.values()].flatMap((watches) => [...watches])) watch.end(err);
  }

  #remove(watch: Watch): void {
    const others = this.#byPrefix.get(watch.prefix);
    others?.delete(watch);
    if (others?.size !== 0) return;
    this.#byPrefix.delete(watch.prefix);
    this.#count(watch.prefix.length, -1);
  }

  #count(length: number, more: number): void {
    const before = this.#prefixes.get(length) ?? 0;
    if (before + more > 0) this.#prefixes.set(length, before + more);
    else this.#prefixes.delete(length);
    if (before > 0 && before + more > 0) return;
    this.#lengths = [...this.#prefixes.keys()].sort((a, b) => a - b);
  }
}

/** One watch; see Store.watch. */
export class Watch implements AsyncIterableIterator<Batch> {
  readonly prefix: string;
  readonly #history: History;
  readonly #signal: AbortSignal;
  readonly #removed: () => void;
  readonly #onAbort = (): void => this.end();
  #queue: Batch[] = [];
  #queuedChars = 0;
  /** The first revision neither handed out nor queued. */
  #next: number;
  #live: boolean;
  #ended = false;
  #error: SkeinError | undefined;
  #wake: (() => void) | undefined;

  constructor(history: History, prefix: string, from: number, signal: AbortSignal, removed: () => void) {
    this.prefix = prefix;
    this.#history = history;
    this.#signal = signal;
    this.#removed = removed;
    this.#next = from;
    this.#live = from > history.revision;
    signal.addEventListener("abort", this.#onAbort);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(batch: Batch): void {
    const revision = batch[0]?.revision ?? 0;
    if (!this.#live || revision < this.#next) return;
    if (this.#queue.length >= QUEUE_BATCHES || this.#queuedChars >= QUEUE_CHARS) {
      this.#live = false;
      return;
    }
    this.#enqueue(batch);
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<Batch, undefined>> {
    while (!this.#ended) {
      if (this.#queue.length === 0 && !this.#live) this.#catchUp();
      const batch = this.#queue.shift();
      if (batch !== undefined) {
        this.#queuedChars -= charsOf(batch);
        return { done: false, value: batch };
      }
      if (this.#live) await this.#news();
    }
    // An error is told once; whoever asks again finds an iteration that is over.
    const err = this.#error;
    this.#error = undefined;
    if (err !== undefined) throw err;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Batch, undefined>> {
    this.end();
    return { done: true, value: undefined };
  }

  end(err?: SkeinError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = err;
    this.#queue = [];
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#removed();
    this.#wake?.();
  }

  #catchUp(): void {
    const { compacted, revision } = this.#history;
    if (this.#next < compacted) {
      this.end(
        new SkeinError("STORE_COMPACTED", `Changes before revision ${compacted} are forgotten.`, {
          data: { compacted, from: this.#next },
        }),
      );
      return;
    }
    for (const batch of this.#history.read(this.prefix, this.#next)) this.#enqueue(batch);
    if (this.#queue.length > 0) return;
    this.#live = true;
    this.#next = revision + 1;
  }

  #enqueue(batch: Batch): void {
    this.#queue.push(batch);
    this.#queuedChars += charsOf(batch);
    this.#next = (batch[0]?.revision ?? 0) + 1;
  }

  async #news(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    await promise;
    this.#wake = undefined;
  }
}

function charsOf(batch: Batch): number {
  let chars = 0;
  for (const event of batch) chars += sizeOf(event);
  return chars;
}
