import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { hasPassed } from "../../lib/time/clock.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { asSkeinError } from "../../lib/disk/files.ts";
import {
  PIECE_BYTES,
  decodePiece,
  encodePiece,
  endsAt,
  heldFrom,
  withPart,
  type PieceContent,
} from "./piece-file.ts";
import {
  blobOf,
  ifGone,
  ifLost,
  inOrderOfUse,
  pieceAt,
  pieceOf,
  piecesIn,
  sizeOf,
  type Entry,
} from "./pieces.ts";

/**
 * Pieces of blobs on a node's disk, shared by all its apps and versions: `<dir>/<blob>/P<number>`, a file for each
 * piece (no part of a blob's name has a capital letter). It takes no more than its share: what was used longest ago
 * goes first. Nothing in it is trusted or missed: a damaged file is as good as none, and files are not flushed one by
 * one, because after a power cut the checksums tell what did not arrive.
 */
export interface BlobCache {
  readonly dir: string;
  /** What files in it may take together, in bytes; 0: it keeps nothing. */
  readonly maxBytes: number;
  /** The bytes of a blob that are held from `start` on, up to `end` or the end of the piece; undefined: none. */
  read(name: string, start: number, end: number): Promise<HeldBytes | undefined>;
  /** The same for whoever only looks after the cache: it is no use of the piece. */
  peek(name: string, start: number, end: number): Promise<HeldBytes | undefined>;
  /** Keeps bytes of one piece. `ends`: the blob ends with them. A full or failing disk is thrown, and changes nothing. */
  write(name: string, start: number, bytes: Uint8Array, ends: boolean): Promise<void>;
  /** Where, from `start` on, the next bytes lie that are held; `end` when there are none before it. */
  gapEnd(name: string, start: number, end: number): Promise<number>;
  /** Forgets the pieces of a blob that touch the range; all without one. */
  drop(name: string, start?: number, end?: number): Promise<void>;
  /** Reads all that is held of a blob. @returns whether all of it was sound; what was not, or is lost, is removed */
  check(name: string, signal: AbortSignal): Promise<boolean>;
  /** Blobs of which anything is held, the one used longest ago first. */
  blobs(): Promise<readonly CachedBlob[]>;
  /** Removes what was used longest ago until no more than so many bytes are left. @returns bytes freed */
  shrinkTo(bytes: number): Promise<number>;
  /**
   * Removes what was used longest ago until so many bytes are free, or nothing is held, and grows no more until the
   * result is disposed of: somebody needs the room on this disk more.
   */
  giveWay(bytes: number): Promise<GivenWay>;
}

interface GivenWay extends Disposable {
  /** In bytes. */
  readonly freed: number;
}

interface HeldBytes {
  /** The caller's own. */
  readonly bytes: Uint8Array;
  /** The blob ends after them. */
  readonly ends: boolean;
}

export interface CachedBlob {
  readonly name: string;
  /** On the disk, in bytes. */
  readonly bytes: number;
  /** When it was last read or written, in ms since the epoch. */
  readonly usedAt: number;
}

export interface CacheOptions {
  readonly dir: string;
  readonly maxBytes: number;
  readonly now: () => number;
}

/** The time of its last use is written down when it is that much older on the disk. */
const TOUCH_MS = 10 * 60_000;
/** Agents, syncs and people of one machine share a cache, and each counts what it put there itself: all is counted again. */
const COUNT_AGAIN_MS = 10 * 60_000;
const FOLDER_TRIES = 10;
const NOTHING: PieceContent = { parts: [], ends: false };
/** Reads nothing until it is first asked: an agent at rest has no list of pieces in its memory. */
export function blobCache(options: CacheOptions): BlobCache {
  return new PieceFolder(options);
}

class PieceFolder implements BlobCache {
  readonly dir: string;
  readonly maxBytes: number;
  readonly #now: () => number;
  /** `<blob>/P<number>` → its file; the one used longest ago first. */
  #entries: Promise<Map<string, Entry>> | undefined;
  #bytes = 0;
  #countedAt = 0;
  /** Of what is on its way to the disk, in bytes. */
  #coming = 0;
  /** One writer a piece: two parts of it that come at once must both stay. Readers wait for what is on its way. */
  readonly #writing = new Map<string, Promise<void>>();
  /** How large it may be at present, in bytes: the least of them counts. */
  readonly #caps = new Set<{ readonly bytes: number }>();

  constructor({ dir, maxBytes, now }: CacheOptions) {
    this.dir = dir;
    this.maxBytes = maxBytes;
    this.#now = now;
  }

  async read(name: string, start: number, end: number): Promise<HeldBytes | undefined> {
    return await this.#held(name, start, end, true);
  }

  async peek(name: string, start: number, end: number): Promise<HeldBytes | undefined> {
    return await this.#held(name, start, end, false);
  }

  async #held(name: string, start: number, end: number, isUse: boolean): Promise<HeldBytes | undefined> {
    const { key, base } = pieceAt(name, start);
    await this.#writing.get(key);
    const content = await this.#content(key, isUse);
    if (content === undefined) return undefined;
    const bytes = heldFrom(content, start - base, Math.min(end - base, PIECE_BYTES));
    if (bytes === undefined) return undefined;
    return { bytes, ends: endsAt(content, start - base + bytes.length) };
  }

  async write(name: string, start: number, bytes: Uint8Array, ends: boolean): Promise<void> {
    if (this.maxBytes === 0 || bytes.length === 0) return;
    const { key, base } = pieceAt(name, start);
    const before = this.#writing.get(key) ?? Promise.resolve();
    const written = before.then(async () => await this.#add(key, { start: start - base, bytes }, ends));
    const settled = written.catch(() => undefined);
    this.#writing.set(key, settled);
    try {
      await written;
    } finally {
      if (this.#writing.get(key) === settled) this.#writing.delete(key);
    }
  }

  async gapEnd(name: string, start: number, end: number): Promise<number> {
    const { key, base } = pieceAt(name, start);
    await this.#writing.get(key);
    const parts = (await this.#content(key))?.parts ?? [];
    const next = parts.find((part) => base + part.start > start);
    if (next !== undefined) return Math.min(end, base + next.start);
    if (end === Infinity) return end;
    // By what is held, and not from piece to piece: how long a blob is, is the word of whoever lists it.
    let gap = end;
    for (const key of (await this.#list()).keys()) {
      const at = pieceOf(key) * PIECE_BYTES;
      if (at > base && at < gap && blobOf(key) === name) gap = at;
    }
    return gap;
  }

  async drop(name: string, start = 0, end = Infinity): Promise<void> {
    const entries = await this.#list();
    // What is on its way to the disk would come back.
    await Promise.all(this.#writing.entries().map(async ([key, written]) => blobOf(key) === name && written));
    for (const key of [...entries.keys()].filter((one) => blobOf(one) === name)) {
      const base = pieceOf(key) * PIECE_BYTES;
      if (base < end && base + PIECE_BYTES > start) await this.#remove(key);
    }
  }

  async check(name: string, signal: AbortSignal): Promise<boolean> {
    let isSound = true;
    for (const key of [...(await this.#list()).keys()].filter((one) => blobOf(one) === name)) {
      signal.throwIfAborted();
      if ((await this.#content(key, false).catch(ifLost)) !== undefined) continue;
      await this.#remove(key);
      isSound = false;
    }
    return isSound;
  }

  async blobs(): Promise<readonly CachedBlob[]> {
    const found = new Map<string, { name: string; bytes: number; usedAt: number }>();
    for (const [key, { bytes, usedAt }] of await this.#list()) {
      const name = blobOf(key);
      const blob = found.get(name) ?? { name, bytes: 0, usedAt: 0 };
      blob.bytes += bytes;
      blob.usedAt = Math.max(blob.usedAt, usedAt);
      found.set(name, blob);
    }
    return [...found.values()].sort((a, b) => a.usedAt - b.usedAt);
  }

  async shrinkTo(bytes: number): Promise<number> {
    return await this.#shrink(() => this.#bytes <= bytes);
  }

  /** @param isEnough asked before each piece, since others write and remove meanwhile */
  async #shrink(isEnough: () => boolean): Promise<number> {
    const entries = await this.#list();
    const before = this.#bytes;
    for (const key of entries.keys()) {
      if (isEnough()) break;
      await this.#remove(key);
    }
    return before - this.#bytes;
  }

  async giveWay(bytes: number): Promise<GivenWay> {
    await this.#list();
    const cap = { bytes: Math.max(0, this.#bytes - bytes) };
    this.#caps.add(cap);
    const end = (): boolean => this.#caps.delete(cap);
    try {
      return { freed: await this.shrinkTo(cap.bytes), [Symbol.dispose]: end };
    } catch (err) {
      end();
      throw err;
    }
  }

  /** What is held of a piece; a damaged file is removed. Another process (`skein cache`) may have put it there. */
  async #content(key: string, isUse = true): Promise<PieceContent | undefined> {
    const entries = await this.#list();
    const at = path.join(this.dir, key);
    const file = await fs.readFile(at).catch((err: unknown) => ifGone(asSkeinError(err, at)));
    const content = file === undefined ? undefined : decodePiece(file);
    if (file === undefined || content === undefined) {
      if (file !== undefined || entries.has(key)) await this.#remove(key);
      return undefined;
    }
    const entry = this.#entryOf(key, file.length, entries);
    if (isUse) await this.#used(key, entry, entries);
    return content;
  }

  #entryOf(key: string, bytes: number, entries: Map<string, Entry>): Entry {
    const known = entries.get(key);
    if (known?.bytes === bytes) return known;
    this.#bytes += bytes - (known?.bytes ?? 0);
    const entry = { bytes, usedAt: this.#now(), writtenAt: this.#now() };
    entries.set(key, entry);
    return entry;
  }

  async #used(key: string, entry: Entry, entries: Map<string, Entry>): Promise<void> {
    if (entries.get(key) !== entry) return;
    entry.usedAt = this.#now();
    entries.delete(key);
    entries.set(key, entry);
    if (entry.usedAt - entry.writtenAt < TOUCH_MS) return;
    entry.writtenAt = entry.usedAt;
    // Removed meanwhile: then its time is nobody's concern.
    await fs.utimes(path.join(this.dir, key), new Date(), new Date(entry.usedAt)).catch(() => undefined);
  }

  async #add(key: string, part: { start: number; bytes: Uint8Array }, ends: boolean): Promise<void> {
    const entries = await this.#list();
    if (hasPassed(COUNT_AGAIN_MS, this.#countedAt, this.#now())) void this.#countAgain(entries);
    // What another process kept of it meanwhile is in these bytes, too.
    const isWhole = part.start === 0 && part.bytes.length === PIECE_BYTES;
    const before = isWhole && !entries.has(key) ? NOTHING : ((await this.#content(key)) ?? NOTHING);
    const content = withPart(before, part, ends);
    if (content === undefined) return;
    const file = encodePiece(content);
    const { length } = file;
    const room = Math.min(this.maxBytes, ...[...this.#caps].map((cap) => cap.bytes));
    // What others are writing at the moment needs its room, too.
    if (this.#coming + length > room) return;
    this.#coming += length;
    try {
      await this.#shrink(() => this.#bytes + this.#coming <= room);
      await this.#put(path.join(this.dir, key), file);
      freeNow(file);
      this.#bytes += length - (entries.get(key)?.bytes ?? 0);
      const at = this.#now();
      entries.delete(key);
      entries.set(key, { bytes: length, usedAt: at, writtenAt: at });
    } finally {
      this.#coming -= length;
    }
  }

  async #put(file: string, bytes: Buffer): Promise<void> {
    const aside = `${file}.${randomBytes(6).toString("hex")}.tmp`;
    try {
      await writeFile(aside, bytes);
      faultPoint("cache.written");
      await fs.rename(aside, file);
      faultPoint("cache.renamed");
    } catch (err) {
      await fs.rm(aside, { force: true }).catch(() => undefined);
      throw asSkeinError(err, file);
    }
  }

  async #remove(key: string): Promise<void> {
    const entries = await this.#list();
    this.#bytes -= entries.get(key)?.bytes ?? 0;
    entries.delete(key);
    const file = path.join(this.dir, key);
    await fs.rm(file, { force: true });
    // The folder of a blob goes with its last piece.
    await fs.rmdir(path.dirname(file)).catch(() => undefined);
  }

  async #list(): Promise<Map<string, Entry>> {
    if (this.#entries === undefined) {
      this.#countedAt = this.#now();
      const scanning = piecesIn(this.dir);
      this.#entries = scanning.then((found) => {
        this.#bytes = sizeOf(found);
        return found;
      });
      // A disk that failed once is looked at again.
      scanning.catch(() => (this.#entries = undefined));
    }
    return await this.#entries;
  }

  /**
   * Nobody waits for it. A disk that fails is met by whoever writes.
   * @param entries changed in place: whoever is at work meanwhile notes in it what was done
   */
  async #countAgain(entries: Map<string, Entry>): Promise<void> {
    this.#countedAt = this.#now();
    const began = this.#countedAt;
    const before = new Set(entries.keys());
    const found = await piecesIn(this.dir).catch(() => undefined);
    if (found === undefined) return;
    // When something was used last is written down only now and then: what is known here is newer.
    for (const [key, entry] of entries) {
      const { bytes } = found.get(key) ?? entry;
      if (found.has(key) || entry.usedAt >= began) found.set(key, { ...entry, bytes });
    }
    const isGone = (key: string): boolean => before.has(key) && !entries.has(key);
    const counted = [...inOrderOfUse(found)].filter(([key]) => !isGone(key));
    entries.clear();
    for (const [key, entry] of counted) entries.set(key, entry);
    this.#bytes = sizeOf(entries);
  }
}

/** Most pieces come where others of their blob are: its folder is made when it is not there. */
async function writeFile(file: string, bytes: Buffer): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await fs.writeFile(file, bytes, { mode: 0o600 });
      return;
    } catch (err) {
      // It goes with its last piece, which may be at any moment.
      if (errnoOf(err) !== "ENOENT" || tries >= FOLDER_TRIES) throw err;
      await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 }).catch(ifGone);
    }
  }
}
