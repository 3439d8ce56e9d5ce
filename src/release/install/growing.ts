import { createHash, type Hash } from "node:crypto";
import fs from "node:fs";
import { digestOf } from "../../lib/text/ids.ts";
import type { ChunkRef } from "../tree/pack.ts";
import type { PlannedFile } from "./planned-file.ts";

/** A file of many chunks, which come in any order. */
export interface Growing {
  readonly plan: PlannedFile;
  /** Bytes that an earlier try left of it, right or wrong. */
  readonly had: number;
  /** Chunks that are not there yet. */
  left: number;
  /** Digest of the content from its start, as far as there is no gap. */
  readonly sum: Hash;
  hashed: number;
  /** Offset → length of chunks that came before what stands in front of them. */
  readonly ahead: Map<number, number>;
}

interface Target {
  readonly file: Growing;
  readonly offset: number;
}

/** A file that is one chunk, or a place in a larger one. */
export type Use = PlannedFile | Target;

/** Of what came ahead of a gap so much is digested when that is closed; the rest of it later. */
export const CAUGHT_UP_BYTES = 4 * 1024 * 1024;

export function growingFrom(plan: PlannedFile, had: number, chunks: number): Growing {
  return { plan, had, left: chunks, sum: createHash("sha256"), hashed: 0, ahead: new Map() };
}

/** The chunk at `offset` is there. */
export function grow(growing: Growing, bytes: Buffer, offset: number): void {
  growing.left -= 1;
  growing.ahead.set(offset, bytes.length);
  if (growing.hashed === offset) digest(growing, bytes);
}

/**
 * Goes on with the digest over what had come ahead, each byte once.
 * @param buffer room for a chunk
 * @returns whether there is nothing left of that
 */
export function catchUp(growing: Growing, fd: number, buffer: Buffer): boolean {
  const { ahead } = growing;
  const most = growing.hashed + CAUGHT_UP_BYTES;
  for (let length = ahead.get(growing.hashed); length !== undefined; length = ahead.get(growing.hashed)) {
    if (growing.hashed >= most) return false;
    const bytes = buffer.subarray(0, length);
    if (fs.readSync(fd, bytes, 0, length, growing.hashed) !== length) return true;
    digest(growing, bytes);
  }
  return true;
}

function digest(growing: Growing, bytes: Buffer): void {
  growing.sum.update(bytes);
  growing.ahead.delete(growing.hashed);
  growing.hashed += bytes.length;
}

/** A chunk from where it was put down first; undefined where the disk has lost it meanwhile. */
export function readAgain({ id, length }: ChunkRef, first: Use): Buffer | undefined {
  const bytes = Buffer.allocUnsafeSlow(length);
  const fd = fs.openSync(planOf(first).file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    fs.readSync(fd, bytes, 0, length, "row" in first ? 0 : first.offset);
  } finally {
    fs.closeSync(fd);
  }
  return digestOf(bytes) === String(id) ? bytes : undefined;
}

export const planOf = (use: Use): PlannedFile => ("row" in use ? use : use.file.plan);
