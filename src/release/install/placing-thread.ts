import { Worker } from "node:worker_threads";
import { arrived, type CarriedError } from "../../lib/errors/carried-error.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { programFile } from "../../lib/process/program.ts";
import type { FrameRef } from "../tree/pack.ts";
import type { Claim, Placer } from "./placer.ts";
import { modeOf, type FileLook } from "./put-file.ts";

/** A frame, and the files that are to be made of it. */
export interface ToPlace {
  /** Compressed. */
  readonly bytes: Uint8Array;
  /** Inflated length. */
  readonly raw: number;
  /** What its pack says of its chunks, in a buffer of its own. */
  readonly entries: Uint8Array<ArrayBuffer>;
  readonly files: readonly {
    readonly file: string;
    /** Where its content is in the inflated frame. */
    readonly at: number;
    readonly size: number;
    readonly look: FileLook;
  }[];
  /** The frame is wanted back. */
  readonly back: boolean;
}

/** Folders, parents first. */
export interface ToMake {
  readonly folders: readonly string[];
}

export type Placed = PutDown | { readonly failure: CarriedError };

export interface PutDown {
  /** Of the files, in order. */
  readonly inodes: readonly number[];
  /** The inflated frame, every chunk checked, where it was asked for. */
  readonly raw?: Uint8Array<ArrayBuffer>;
}

/** Frames that wait while it puts another down: it never idles, and what waits is 1 MiB each. */
const AHEAD = 2;
/** It holds a frame's files and nothing else. In MiB. */
const HEAP = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 } as const;

/**
 * A second thread that makes folders and puts files down, frame by frame, beside this one: most of an install of many
 * files is the kernel's work, of which each processor does its own. What it has too much of is left to this thread.
 */
export class PlacingThread implements AsyncDisposable {
  readonly #placer: Placer;
  readonly #worker = new Worker(programFile("placingWorker"), { resourceLimits: HEAP });
  #hasEnded = false;
  /** Who waits for its answers, in order. */
  readonly #waiting: PromiseWithResolvers<PutDown>[] = [];

  constructor(placer: Placer) {
    this.#placer = placer;
    this.#worker.on("message", (placed: Placed) => this.#take(placed));
    this.#worker.on("error", (cause) => this.#fail(cause));
    this.#worker.on("exit", () => this.#fail());
  }

  /** It takes nothing any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Resolves when they are there. @throws what the system says of one; or, with `hasEnded`, IO when some may lack */
  async makeFolders(folders: readonly string[]): Promise<void> {
    await this.#answerTo({ folders }, []);
  }

  /**
   * Takes a compressed frame and resolves when all that is wanted of it lies in its files.
   * @returns undefined when it has enough to do, or could not go on: then the bytes are still the caller's
   */
  takeFrame(frame: FrameRef, bytes: Buffer): Promise<void> | undefined {
    if (this.#hasEnded || this.#waiting.length > AHEAD) return undefined;
    return this.#place(frame, bytes);
  }

  /** Nothing is put down any more when this resolves. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  async #place(frame: FrameRef, bytes: Buffer): Promise<void> {
    const claim = this.#placer.claim(frame);
    const { inodes, raw } = await this.#ask(claim, frame, bytes).catch((err: unknown) => {
      this.#placer.giveBack(claim);
      throw err;
    });
    this.#placer.settle(claim, inodes);
    if (raw === undefined) return;
    const inflated = Buffer.from(raw.buffer, raw.byteOffset, raw.length);
    for (const { chunk, at } of claim.parts) {
      this.#placer.take(chunk, inflated.subarray(at, at + chunk.length));
    }
    freeNow(inflated);
  }

  async #ask({ files, parts }: Claim, { raw, entries }: FrameRef, bytes: Buffer): Promise<PutDown> {
    const order: ToPlace = {
      bytes,
      raw,
      entries: Uint8Array.from(entries),
      files: files.map(({ plan, at }) => ({
        file: plan.file,
        at,
        size: plan.row.size,
        look: { mode: modeOf(plan.row), time: plan.time },
      })),
      back: parts.length > 0,
    };
    return await this.#answerTo(order, [bytes.buffer as ArrayBuffer, order.entries.buffer]);
  }

  async #answerTo(order: ToPlace | ToMake, given: readonly ArrayBuffer[]): Promise<PutDown> {
    if (this.#hasEnded) throw ended();
    const waiting = Promise.withResolvers<PutDown>();
    this.#waiting.push(waiting);
    this.#worker.postMessage(order, given);
    return await waiting.promise;
  }

  #take(placed: Placed): void {
    const waiting = this.#waiting.shift();
    if ("inodes" in placed) waiting?.resolve(placed);
    else waiting?.reject(arrived(placed.failure));
  }

  /** What it had is asked for anew, and put down by the thread that is left. */
  #fail(cause?: unknown): void {
    this.#hasEnded = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(ended(cause));
  }
}

const ended = (cause?: unknown): SkeinError =>
  new SkeinError("IO", "the thread that puts files down ended", { cause });
