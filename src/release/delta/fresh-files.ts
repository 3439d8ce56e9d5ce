import { createHash, hash, type Hash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { isZeros, reach } from "../../lib/disk/holes.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { KEPT_FREE_BYTES } from "../../lib/disk/kept-free.ts";
import type { FreshSink } from "./apply-delta.ts";
import type { FreshContent } from "./tree-state.ts";

const BUFFER_BYTES = 1024 * 1024;
const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
const CREATE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

const writeLater = promisify(fs.write);

interface Open {
  readonly file: string;
  readonly size: number;
  /** Set once the content was larger than one buffer. */
  fd: number | undefined;
  sum: Hash | undefined;
  /** Bytes that were given to the disk, or are on their way there. */
  given: number;
}

/**
 * Puts new contents into a folder of their own, each in a file that nothing but its digest leads to later. While a
 * buffer is on its way to the disk, the next one is filled.
 */
export class FreshFiles implements FreshSink, Disposable {
  readonly #dir: string;
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #spare = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #filled = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #open: Open | undefined;
  /** Digest → absolute path; proved by nothing but themselves. */
  readonly files = new Map<Digest, string>();
  /** Bytes of content that are made of what the older tree has. */
  reused = 0;
  /** Told the bytes of content as they come. */
  onFilled: (bytes: number) => void = () => undefined;
  /** Told how many bytes are free beside what is to come. */
  onRoom: (bytes: number) => void = () => undefined;

  /** `dir`: emptied first. */
  constructor(dir: string) {
    fs.rmSync(dir, { recursive: true, force: true });
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#dir = dir;
  }

  /** @throws SkeinError DISK_FULL before the first byte */
  expect(contents: readonly FreshContent[]): void {
    const { bsize, bavail, ffree, files: inodes } = fs.statfsSync(this.#dir);
    const needed = contents.reduce((sum, { size }) => sum + Math.ceil(size / bsize) * bsize, KEPT_FREE_BYTES);
    const room = bavail * bsize - needed;
    if (room >= 0 && (inodes === 0 || contents.length <= ffree)) return this.onRoom(room);
    throw new SkeinError("DISK_FULL", `new contents need ${needed} bytes`, { data: { path: this.#dir } });
  }

  begin(content: number, size: number): void {
    const file = path.join(this.#dir, String(content));
    this.#open = { file, size, fd: undefined, sum: undefined, given: 0 };
    this.#filled = 0;
  }

  async space(): Promise<Buffer> {
    if (this.#filled === BUFFER_BYTES) await this.#give(this.#current());
    return this.#buffer.subarray(this.#filled);
  }

  filled(length: number, old: number): void {
    this.#filled += length;
    this.reused += old;
    this.onFilled(length);
  }

  async end(): Promise<Digest> {
    const open = this.#current();
    const digest = open.fd === undefined ? this.#writeAtOnce(open) : await this.#finish(open);
    this.#open = undefined;
    if (this.files.has(digest)) fs.unlinkSync(open.file);
    else this.files.set(digest, open.file);
    faultPoint("install.delta-placed");
    return digest;
  }

  /** Closes what is open; the files stay. */
  [Symbol.dispose](): void {
    const fd = this.#open?.fd;
    this.#open = undefined;
    if (fd === undefined) return;
    // A descriptor in use must not be given to somebody else's file.
    const close = (): void => fs.closeSync(fd);
    this.#writing.then(close, close);
  }

  #current(): Open {
    if (this.#open === undefined) throw new TypeError("no content has begun");
    return this.#open;
  }

  /** A small content needs no turn of the event loop: thousands of them are quicker so. */
  #writeAtOnce({ file }: Open): Digest {
    const bytes = this.#buffer.subarray(0, this.#filled);
    const fd = fs.openSync(file, CREATE, 0o600);
    try {
      for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done);
    } finally {
      fs.closeSync(fd);
    }
    return hash("sha256", bytes, "hex") as Digest;
  }

  async #finish(open: Open): Promise<Digest> {
    await this.#give(open);
    await this.#writing;
    if (open.fd !== undefined) fs.closeSync(open.fd);
    open.fd = undefined;
    return (open.sum ?? createHash("sha256")).digest("hex") as Digest;
  }

  /** Hashes the buffer while the one before it is written, and sends it after that. */
  async #give(open: Open): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled);
    open.fd ??= fs.openSync(open.file, CREATE, 0o600);
    open.sum ??= createHash("sha256");
    open.sum.update(bytes);
    await this.#writing;
    this.#writing = writeAll(open.fd, bytes, open.given);
    // Its failure is met by whoever waits for it next.
    this.#writing.catch(() => undefined);
    open.given += bytes.length;
    [this.#buffer, this.#spare] = [this.#spare, this.#buffer];
    this.#filled = 0;
  }
}

async function writeAll(fd: number, bytes: Buffer, at: number): Promise<void> {
  if (isZeros(bytes)) return reach(fd, at + bytes.length);
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await writeLater(fd, bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
