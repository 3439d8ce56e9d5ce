import fs from "node:fs";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Content } from "../tree/tree-source.ts";

/** An open content, read by ranges. */
export class ContentFile implements Disposable {
  readonly #fd: number;
  readonly #offset: number;
  readonly #isOurs: boolean;

  constructor({ file, offset }: Content) {
    this.#isOurs = typeof file === "string";
    this.#fd =
      typeof file === "string" ? fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW) : file;
    this.#offset = offset;
  }

  /** Fills `into` from `at` on. @throws SkeinError IO when the content ends before */
  read(at: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const read = fs.readSync(this.#fd, into, done, into.length - done, this.#offset + at + done);
      if (read === 0) throw new SkeinError("IO", "a file is shorter than it was");
      done += read;
    }
  }

  [Symbol.dispose](): void {
    if (this.#isOurs) fs.closeSync(this.#fd);
  }
}

/** Contents laid end to end, read by ranges as if they were one. */
export class JoinedContent implements Disposable {
  readonly size: number;
  readonly #parts: readonly { readonly start: number; readonly size: number; readonly content: Content }[];
  readonly #open = new Map<number, ContentFile>();

  constructor(contents: readonly { readonly size: number; readonly content: Content }[]) {
    let start = 0;
    this.#parts = contents.map(({ size, content }) => {
      start += size;
      return { start: start - size, size, content };
    });
    this.size = start;
  }

  /** @throws SkeinError IO when a content ends before its size; RangeError outside of them all */
  read(at: number, into: Uint8Array): void {
    if (at < 0 || at + into.length > this.size) throw new RangeError("read outside of the old contents");
    let done = 0;
    for (const [i, { start, size }] of this.#parts.entries()) {
      const from = at + done - start;
      if (from >= size || done === into.length) continue;
      const length = Math.min(size - from, into.length - done);
      this.#file(i).read(from, into.subarray(done, done + length));
      done += length;
    }
  }

  /** `length` bytes from `at`, in memory of their own. */
  slice(at: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(length);
    this.read(at, bytes);
    return bytes;
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file[Symbol.dispose]();
    this.#open.clear();
  }

  #file(i: number): ContentFile {
    const open = this.#open.get(i);
    if (open !== undefined) return open;
    const file = new ContentFile((this.#parts[i] as { content: Content }).content);
    this.#open.set(i, file);
    return file;
  }
}
