import fs from "node:fs";
import path from "node:path";

const PIECE_BYTES = 16 * 2 ** 20;
const FILES = 8;

/** Files of `bytes` in all, half words and half noise; the same every time. */
export function writeLargeFiles(dir: string, bytes: number): void {
  fs.mkdirSync(dir, { recursive: true });
  let state = 20261128;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const words = Array.from({ length: 3000 }, () => Buffer.from(`${(next() % 1e9).toString(36)} `));
  const piece = Buffer.alloc(PIECE_BYTES);
  for (let n = 0; n < FILES; n++) {
    const fd = fs.openSync(path.join(dir, `part-${n}.bin`), "w");
    for (let done = 0; done < bytes / FILES; done += PIECE_BYTES) {
      fill(piece, next, words);
      fs.writeSync(fd, piece, 0, Math.min(PIECE_BYTES, bytes / FILES - done));
    }
    fs.closeSync(fd);
  }
}

function fill(piece: Buffer, next: () => number, words: readonly Buffer[]): void {
  for (let at = 0; at < piece.length;) {
    if (((at >> 13) & 1) === 1 && at + 4 <= piece.length) at = piece.writeUInt32LE(next(), at);
    else at += words[next() % words.length]?.copy(piece, at) ?? piece.length;
  }
}
