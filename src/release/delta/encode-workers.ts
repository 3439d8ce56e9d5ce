import os from "node:os";
import { Worker } from "node:worker_threads";
import { messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { programFile } from "../../lib/process/program.ts";
import { encodeHere } from "./encode-batch.ts";
import type { Batch, Encoder } from "./encode-delta.ts";
import type { Piece } from "./piece.ts";

export type ToWorker = { readonly kind: "batch"; readonly batch: Batch } | { readonly kind: "taken" };
export type FromWorker =
  | { readonly kind: "piece"; readonly piece: Piece }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly err: unknown };

const MOST_WORKERS = 2;
/** Less is encoded sooner than a thread starts. */
const WORTH_BYTES = 2 * 1024 * 1024;
/** Contents, old and new, that are worked on at a time by all workers together, unless one batch alone is more. */
const MEMORY_BYTES = 160 * 1024 * 1024;

/**
 * Encodes batches in threads, as many as there are processors (at most two): differences are found there, while this
 * thread's pool compresses what was found before.
 */
export const encodeInWorkers: Encoder = async function* (batches) {
  const all = batches[Symbol.iterator]();
  const [first, second] = [all.next(), all.next()];
  if (first.done === true) return;
  if (second.done === true && weightOf(first.value) < WORTH_BYTES) {
    yield* encodeHere([first.value]);
    return;
  }
  await using crew = new Crew(Math.min(MOST_WORKERS, os.availableParallelism()));
  yield* crew.encode([first, second], all);
};

const weightOf = ({ jobs }: Batch): number =>
  jobs.reduce((sum, { size, bases }) => bases.reduce((all, base) => all + base.size, sum + size), 0);

interface Running {
  readonly member: Member;
  readonly pieces: AsyncIterable<Piece>;
  readonly weight: number;
}

class Crew implements AsyncDisposable {
  readonly #members: Member[] = [];
  readonly #idle: Member[] = [];
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  async *encode(first: IteratorResult<Batch>[], rest: Iterator<Batch>): AsyncGenerator<Piece, void> {
    const running: Running[] = [];
    let next = first.shift() ?? rest.next();
    for (;;) {
      while (next.done !== true && this.#hasRoom(running, weightOf(next.value))) {
        running.push(this.#start(next.value));
        next = first.shift() ?? rest.next();
      }
      const [oldest] = running;
      if (oldest === undefined) return;
      yield* oldest.pieces;
      running.shift();
      this.#idle.push(oldest.member);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map(async (member) => await member.end()));
  }

  #hasRoom(running: readonly Running[], weight: number): boolean {
    if (running.length === 0) return true;
    const sum = running.reduce((all, one) => all + one.weight, weight);
    return running.length < this.#size && sum <= MEMORY_BYTES;
  }

  #start(batch: Batch): Running {
    let member = this.#idle.pop();
    if (member === undefined) {
      member = new Member();
      this.#members.push(member);
    }
    return { member, pieces: member.encode(batch), weight: weightOf(batch) };
  }
}

/** One thread, which works on one batch at a time. */
class Member {
  readonly #worker = new Worker(programFile("deltaWorker"));
  readonly #came: FromWorker[] = [];
  #wake: () => void = () => undefined;

  constructor() {
    const come = (message: FromWorker): void => {
      this.#came.push(message);
      this.#wake();
    };
    this.#worker.on("message", come);
    this.#worker.on("error", (err) => come({ kind: "failed", err }));
    this.#worker.on("exit", () => come({ kind: "failed", err: new Error("a worker ended") }));
  }

  /** Begins at once; the pieces wait. */
  encode(batch: Batch): AsyncIterable<Piece> {
    this.#tell({ kind: "batch", batch });
    return this.#pieces();
  }

  /** Also where it ended by itself. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  async *#pieces(): AsyncGenerator<Piece, void> {
    for (;;) {
      const message = this.#came.shift();
      if (message === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (message.kind === "piece") {
        yield message.piece;
        this.#tell({ kind: "taken" });
      } else if (message.kind === "done") return;
      // On its way between threads an error loses its class and its code.
      else throw new SkeinError("IO", messageOf(message.err), { cause: message.err });
    }
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }
}
