import { createHash } from "node:crypto";
import fs from "node:fs";
import { digestOf, type ChunkId } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Pauses } from "../../lib/async/pauses.ts";
import { MIN_CHUNK } from "../tree/gear.ts";
import {
  CAUGHT_UP_BYTES,
  catchUp,
  grow,
  growingFrom,
  planOf,
  readAgain,
  type Growing,
  type Use,
} from "./growing.ts";
import type { PlannedFile } from "./planned-file.ts";
import type { WantedChunks } from "../fetch/pack-map.ts";
import { chunksOf, type ChunkRef, type FrameRef } from "../tree/pack.ts";
import { CREATE, finishFile, modeOf, putFile, writeAt, writeFresh, type FileLook } from "./put-file.ts";
import type { FileRow } from "../tree/rows.ts";

/** A chunk that lies in one place already, and the others where it is wanted. */
interface Repeated {
  readonly chunk: ChunkRef;
  readonly first: Use;
  readonly others: readonly Use[];
}

/** Of what is wanted of a frame, what somebody else puts down. Each `at` is where the bytes are in the frame. */
export interface Claim {
  readonly files: readonly { readonly plan: PlannedFile; readonly at: number }[];
  /** Chunks that are a part of larger files: for {@link Placer.take}, when they were checked. */
  readonly parts: readonly { readonly chunk: ChunkRef; readonly at: number }[];
}

const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants;
/** Files of many chunks that are kept open at once. */
const MAX_OPEN = 32;
const COPY_BYTES = 1024 * 1024;
/** A chunk that is wanted in more places comes to the others later: of a file's zeros there may be many thousand. */
const PLACES_AT_ONCE = 16;

/** Asked once: this process never becomes somebody else, and to ask for each of many thousand files is a call each. */
const ourUid = process.geteuid?.();

/** Whoever owns a file or folder may change it, whatever its mode is. */
export const isOurs = ({ uid }: fs.Stats): boolean => (ourUid ?? uid) === uid;

/** A row's file that is there: of its kind, time and mode, and nobody else's. */
export function isAsPut(stat: fs.Stats, row: FileRow, time: number): boolean {
  return (
    stat.isFile() &&
    stat.size === row.size &&
    Math.round(stat.mtimeMs) === time &&
    (stat.mode & 0o7777) === modeOf(row) &&
    isOurs(stat)
  );
}

/**
 * Puts files down from chunks in any order. Every file is proved by its own digest before it counts: a chunk list
 * only says where chunks go.
 */
export class Placer {
  /** Where each chunk that is wanted goes; most have one place. */
  readonly #uses = new Map<ChunkId, Use | Use[]>();
  readonly #open = new Map<Growing, number>();
  readonly #repeated: Repeated[] = [];
  /** All of their chunks are there, and not digested. */
  readonly #undigested = new Set<Growing>();
  readonly #buffer = Buffer.allocUnsafeSlow(COPY_BYTES);
  /** Inode of each file that is finished, by the file's index. */
  readonly inodes: Float64Array;
  /** Chunks that are still wanted; what is placed is wanted no more. */
  readonly wanted: WantedChunks = {
    has: (id) => this.#uses.has(id),
    [Symbol.iterator]: () => this.#uses.keys(),
  };
  /** Told the bytes of content as they are written. */
  onWritten: (bytes: number) => void = () => undefined;

  constructor(inodes: Float64Array) {
    this.inodes = inodes;
  }

  /** A file without content is there at once. */
  placeEmpty(plan: PlannedFile): void {
    this.#writeWhole(plan, Buffer.alloc(0));
  }

  /** The file is one chunk. */
  expectWhole(plan: PlannedFile): void {
    this.#expect(plan.row.sha256 as string as ChunkId, plan);
  }

  /** The file is these chunks; what an earlier try left of it is looked through and kept. */
  async expectChunks(plan: PlannedFile, chunks: readonly ChunkRef[], pauses: Pauses): Promise<void> {
    const fd = fs.openSync(plan.file, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    const { size } = fs.fstatSync(fd);
    const growing = growingFrom(plan, size, chunks.length);
    this.#keepOpen(growing, fd);
    let offset = 0;
    for (const chunk of chunks) {
      const bytes = this.#buffer.subarray(0, chunk.length);
      const there =
        offset + chunk.length <= size &&
        fs.readSync(fd, bytes, 0, chunk.length, offset) === chunk.length &&
        digestOf(bytes) === String(chunk.id);
      if (there) {
        this.onWritten(chunk.length);
        this.#advance(growing, bytes, offset);
        await pauses.took(chunk.length);
      } else this.#expect(chunk.id, { file: growing, offset });
      offset += chunk.length;
    }
    if (offset !== plan.row.size) throw wrong(plan.row);
  }

  /** Takes a chunk whose bytes were checked; writes it where it is wanted, in many places by `end`. */
  take(chunk: ChunkRef, bytes: Buffer): void {
    faultPoint("install.placed");
    const uses = this.#uses.get(chunk.id) ?? [];
    this.#uses.delete(chunk.id);
    if (!Array.isArray(uses)) return this.#place(uses, bytes);
    const [first] = uses;
    for (const use of uses.slice(0, PLACES_AT_ONCE)) this.#place(use, bytes);
    const others = uses.slice(PLACES_AT_ONCE);
    if (first !== undefined && others.length > 0) this.#repeated.push({ chunk, first, others });
  }

  /** Everything was taken: puts down what waited for that. @throws SkeinError CHUNK_CORRUPT */
  async end(pauses: Pauses): Promise<void> {
    for (const { chunk, first, others } of this.#repeated.splice(0)) {
      const bytes = readAgain(chunk, first);
      if (bytes === undefined) throw wrong(planOf(first).row);
      for (const use of others) {
        this.#place(use, bytes);
        await pauses.took(bytes.length);
      }
    }
    for (const growing of this.#undigested) {
      while (!catchUp(growing, this.#descriptor(growing), this.#buffer)) await pauses.took(CAUGHT_UP_BYTES);
      this.#complete(growing);
    }
  }

  /** The whole files of a frame, for somebody else to put down: they are wanted no more until they are given back. */
  claim(frame: FrameRef): Claim {
    const files: { plan: PlannedFile; at: number }[] = [];
    const parts: { chunk: ChunkRef; at: number }[] = [];
    let at = 0;
    for (const chunk of chunksOf(frame)) {
      const uses = this.#uses.get(chunk.id) ?? [];
      const rest: Use[] = [];
      for (const use of Array.isArray(uses) ? uses : [uses]) {
        if ("row" in use && use.row.size === chunk.length) files.push({ plan: use, at });
        else rest.push(use);
      }
      if (rest.length === 0) this.#uses.delete(chunk.id);
      else {
        this.#uses.set(chunk.id, rest);
        parts.push({ chunk, at });
      }
      at += chunk.length;
    }
    return { files, parts };
  }

  /** They are there. @param inodes of the claim's files, in order */
  settle({ files }: Claim, inodes: readonly number[]): void {
    for (const [n, { plan }] of files.entries()) {
      this.inodes[plan.index] = inodes[n] as number;
      this.onWritten(plan.row.size);
    }
  }

  /** They are not there, and wanted again. */
  giveBack({ files }: Claim): void {
    for (const { plan } of files) this.expectWhole(plan);
  }

  /**
   * Takes the whole file from one that is here, checked by its digest on the way.
   * @returns false, with nothing left behind, when that file has other content or cannot be read
   */
  async copyFrom(source: string, plan: PlannedFile, pauses: Pauses): Promise<boolean> {
    const from = fs.openSync(source, fs.constants.O_RDONLY | O_NOFOLLOW);
    try {
      const fd = fs.openSync(plan.file, CREATE, 0o600);
      try {
        if ((await this.#pump(from, fd, pauses)) === String(plan.row.sha256)) {
          this.#finish(plan, fd);
          this.onWritten(plan.row.size);
          return true;
        }
      } catch (err) {
        if (!isUnread(err)) throw err;
      } finally {
        fs.closeSync(fd);
      }
      fs.unlinkSync(plan.file);
      return false;
    } finally {
      fs.closeSync(from);
    }
  }

  /** Takes a file whose content was proved under its own name, with the time and mode that it is to have. */
  moveFrom(source: string, plan: PlannedFile): void {
    const stat = fs.lstatSync(plan.file, { throwIfNoEntry: false });
    if (stat !== undefined) throw exists(plan.file);
    const fd = fs.openSync(source, fs.constants.O_RDONLY | O_NOFOLLOW);
    try {
      this.#finish(plan, fd);
    } finally {
      fs.closeSync(fd);
    }
    faultPoint("install.placed");
    fs.renameSync(source, plan.file);
  }

  /**
   * Whether an earlier try finished the file. What it left unfinished may be gone on with; anything that shares its
   * inode with another release's file, and would have to be changed, is taken away.
   */
  async isThere(plan: PlannedFile, pauses: Pauses): Promise<boolean> {
    const stat = fs.lstatSync(plan.file, { throwIfNoEntry: false });
    if (stat === undefined) return false;
    const mayBe = stat.nlink === 1 ? stat.size === plan.row.size : isAsPut(stat, plan.row, plan.time);
    if (stat.isFile() && mayBe && (await this.#isRight(plan, pauses))) return true;
    if (!stat.isFile() || stat.nlink > 1 || plan.row.size <= MIN_CHUNK)
      fs.rmSync(plan.file, { recursive: true });
    else fs.chmodSync(plan.file, 0o600);
    return false;
  }

  async #isRight(plan: PlannedFile, pauses: Pauses): Promise<boolean> {
    const fd = fs.openSync(plan.file, fs.constants.O_RDONLY | O_NOFOLLOW);
    try {
      if ((await this.#pump(fd, undefined, pauses)) !== String(plan.row.sha256)) return false;
      this.#finish(plan, fd);
      return true;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Closes what is open; what is unfinished stays for the next try. */
  close(): void {
    for (const fd of this.#open.values()) fs.closeSync(fd);
    this.#open.clear();
  }

  async #pump(from: number, to: number | undefined, pauses: Pauses): Promise<string> {
    const sum = createHash("sha256");
    for (let at = 0; ;) {
      const length = fs.readSync(from, this.#buffer, 0, COPY_BYTES, at);
      if (length === 0) return sum.digest("hex");
      const bytes = this.#buffer.subarray(0, length);
      sum.update(bytes);
      if (to !== undefined) writeFresh(to, bytes, at);
      at += length;
      await pauses.took(length);
    }
  }

  #writeWhole(plan: PlannedFile, bytes: Buffer): void {
    if (bytes.length !== plan.row.size) throw wrong(plan.row);
    this.inodes[plan.index] = putFile(plan.file, bytes, lookOf(plan));
    this.onWritten(bytes.length);
  }

  #expect(id: ChunkId, use: Use): void {
    const others = this.#uses.get(id);
    if (others === undefined) this.#uses.set(id, use);
    else if (Array.isArray(others)) others.push(use);
    else this.#uses.set(id, [others, use]);
  }

  #place(use: Use, bytes: Buffer): void {
    if ("row" in use) return this.#writeWhole(use, bytes);
    const write = use.offset < use.file.had ? writeAt : writeFresh;
    write(this.#descriptor(use.file), bytes, use.offset);
    this.onWritten(bytes.length);
    this.#advance(use.file, bytes, use.offset);
  }

  #advance(growing: Growing, bytes: Buffer, offset: number): void {
    grow(growing, bytes, offset);
    const isDigested = catchUp(growing, this.#descriptor(growing), this.#buffer);
    if (growing.left > 0) return;
    if (isDigested) this.#complete(growing);
    else this.#undigested.add(growing);
  }

  /** All of it is there. */
  #complete(growing: Growing): void {
    const { plan } = growing;
    const fd = this.#descriptor(growing);
    fs.ftruncateSync(fd, plan.row.size);
    const sha256 = growing.sum.digest("hex");
    const right = sha256 === String(plan.row.sha256);
    if (right) this.#finish(plan, fd);
    this.#undigested.delete(growing);
    this.#open.delete(growing);
    fs.closeSync(fd);
    if (right) return;
    fs.unlinkSync(plan.file);
    throw wrong(plan.row);
  }

  #finish(plan: PlannedFile, fd: number): void {
    this.inodes[plan.index] = finishFile(fd, lookOf(plan));
  }

  #descriptor(growing: Growing): number {
    const open = this.#open.get(growing);
    if (open !== undefined) return open;
    const fd = fs.openSync(growing.plan.file, O_RDWR | O_NOFOLLOW);
    this.#keepOpen(growing, fd);
    return fd;
  }

  #keepOpen(growing: Growing, fd: number): void {
    for (const [oldest, old] of this.#open) {
      if (this.#open.size < MAX_OPEN) break;
      this.#open.delete(oldest);
      fs.closeSync(old);
    }
    this.#open.set(growing, fd);
  }
}

/** A sector of the disk that nobody can read any more: what lay there is elsewhere too. */
export const isUnread = (err: unknown): boolean =>
  err instanceof Error && "syscall" in err && err.syscall === "read";

const lookOf = ({ row, time }: PlannedFile): FileLook => ({ mode: modeOf(row), time });

/** As the system says it where a file is created: a rename would take the other's place without a word. */
function exists(file: string): Error {
  return Object.assign(new Error(`EEXIST: ${file}`), { code: "EEXIST", path: file });
}

function wrong(row: FileRow): SkeinError {
  return new SkeinError(
    "CHUNK_CORRUPT",
    `the chunks of ${JSON.stringify(row.path)} do not make up its content`,
    {
      data: { path: row.path },
    },
  );
}
