import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { BlobSource } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";

/** As FTL writes twelve bits in two characters. Its last versions write the last value as 0, too. */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/** A gzip member that holds nothing, before and after the four bytes that tell its time. */
const EMPTY_MEMBER = [
  Buffer.from("1f8b0800", "hex"),
  Buffer.from("000303000000000000000000", "hex"),
] as const;
const TAR_BLOCK_BYTES = 512;
/** Each is right with one in 4096; so many are wrong with one in 10^100. */
const MAX_TRIES = 2 ** 20;

/**
 * A file as FTL's own clients accept it: the end of a revision's name must be the beginning of its archive's MD5, or
 * they leave it packed. An archive gets an end that unpacks to nothing and makes it so; what is no archive stays as it
 * is, for there is nothing to unpack.
 */
export async function ftlArchive(file: string, revision: string, signal: AbortSignal): Promise<BlobSource> {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  let size = 0;
  for await (const piece of createReadStream(file, { signal })) {
    for (const sum of [md5, sha256]) sum.update(piece as Buffer);
    size += (piece as Buffer).length;
  }
  const tail = tailOf(file, md5, revision.slice(-2));
  return {
    size: size + tail.length,
    sha256: sha256.update(tail).digest("hex"),
    async *open(offset) {
      if (offset < size) yield* createReadStream(file, { start: offset, end: size - 1 });
      yield tail.subarray(Math.max(0, offset - size));
    },
  };
}

function tailOf(file: string, md5: Hash, wanted: string): Buffer {
  const make = /\.t?gz$/.test(file) ? gzipTail : file.endsWith(".tar") ? tarTail : undefined;
  if (make === undefined) return Buffer.alloc(0);
  for (let n = 0; n < MAX_TRIES; n++) {
    const tail = make(n);
    if (ftlChecksum(md5.copy().update(tail).digest()) === wanted) return tail;
  }
  throw new SkeinError("INTERNAL", `no end of ${file} has the checksum ${wanted}`);
}

function gzipTail(n: number): Buffer {
  const time = Buffer.alloc(4);
  time.writeUInt32LE(n);
  return Buffer.concat([EMPTY_MEMBER[0], time, EMPTY_MEMBER[1]]);
}

/** After a tar's end nobody reads. */
function tarTail(n: number): Buffer {
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  block.writeUInt32LE(n);
  return block;
}

function ftlChecksum(md5: Uint8Array): string {
  const [first = 0, second = 0] = md5;
  return [first >> 2, ((first & 3) << 4) | (second >> 4)].map((value) => DIGITS[value]).join("");
}

/**
 * When a revision of FTL's was made, in ms since the epoch, as each of its versions wrote it: seconds since 1970 in
 * seven characters; the day and its second; the same with the second in five digits. Two characters of a checksum
 * follow. null: it is none of them.
 */
export function ftlTime(revision: string): number | null {
  const [, year = "", month = "", day = "", second = ""] =
    /^(\d{4})(\d{2})(\d{2})(\d{1,5})[\w~]{2}$/.exec(revision) ?? [];
  if (second !== "") {
    const midnight = Date.parse(`${year}-${month}-${day}T00:00:00.000Z`);
    return Number.isFinite(midnight) && Number(second) < 86_400 ? midnight + Number(second) * 1000 : null;
  }
  if (!/^[\w~]{9}$/.test(revision)) return null;
  // 40 bits, and two that fill up the last character.
  const bits = Array.from(revision.slice(0, 7)).reduce((sum, digit) => sum * 64 + DIGITS.indexOf(digit), 0);
  const ms = Math.floor(bits / 4) * 1000;
  return ms >= FTL_BEGAN_MS && ms < FTL_ENDED_MS ? ms : null;
}

/** The years in which names of the first kind were made; others that have nine characters tell no time. */
const FTL_BEGAN_MS = Date.UTC(2013, 0);
const FTL_ENDED_MS = Date.UTC(2016, 0);
