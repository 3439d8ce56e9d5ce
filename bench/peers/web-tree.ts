import fs from "node:fs";
import path from "node:path";

/**
 * A made-up tree in the likeness of a web app with its node_modules: most files small text, few large ones that are
 * half text and half machine code. The same every time. Compresses about as well as the real one (4 to 1).
 */
export interface WebTree {
  readonly files: number;
  readonly bytes: number;
}

/** Sizes in bytes and how many of 100,000 files have about that: 11.6 KB on average, as in a tree with next. */
const SIZES: readonly (readonly [number, number])[] = [
  [0, 200],
  [300, 18_000],
  [1_000, 33_000],
  [3_000, 27_000],
  [9_000, 13_000],
  [30_000, 6_500],
  [110_000, 1_900],
  [500_000, 380],
  [5_000_000, 20],
];

class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** 24 bits. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 4) & 0xffffff;
  }
}

/** Words of code, the frequent ones many times. */
function vocabulary(random: Random): Buffer[] {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN_$";
  const marks = [
    "(",
    ");\n",
    " = ",
    ".",
    ", ",
    " {\n  ",
    "}\n",
    "return ",
    "const ",
    "function ",
    "this.",
    '"',
    ";\n",
  ];
  const words: Buffer[] = [];
  for (let i = 0; i < 4096; i++) {
    if (i % 2 === 0) words.push(Buffer.from(marks[random.next() % marks.length] ?? " "));
    else {
      const rank = i % 64 === 1 ? random.next() % 3000 : random.next() % 90;
      const word = new Random(rank * 2654435761 + 7);
      let text = "";
      for (let n = 2 + (word.next() % 9); n > 0; n--) text += letters[word.next() % letters.length] ?? "";
      words.push(Buffer.from(text));
    }
  }
  return words;
}

export function writeWebTree(root: string, files: number): WebTree {
  const random = new Random(20261121);
  const words = vocabulary(random);
  const buffer = Buffer.allocUnsafeSlow(8_000_000);
  let bytes = 0;
  let folder = root;
  for (let n = 0; n < files; n++) {
    if (n % 9 === 0) {
      const pack = `node_modules/package-${Math.floor(n / 90)}`;
      folder = path.join(
        root,
        n % 90 === 0 ? pack : `${pack}/lib-${random.next() % 6}/part-${random.next() % 50}`,
      );
      fs.mkdirSync(folder, { recursive: true });
    }
    const size = sizeOf(random);
    fill(buffer, size, random, words);
    fs.writeFileSync(path.join(folder, `module-${n}.js`), buffer.subarray(0, size));
    bytes += size;
  }
  return { files, bytes };
}

function sizeOf(random: Random): number {
  let pick = random.next() % 100_000;
  for (const [size, share] of SIZES) {
    pick -= share;
    if (pick < 0) return Math.floor(size * (0.5 + (random.next() % 1000) / 1000));
  }
  return 5_000_000;
}

function fill(buffer: Buffer, size: number, random: Random, words: readonly Buffer[]): void {
  const isMixed = size > 250_000;
  for (let at = 0; at < size;) {
    if (isMixed && (at >> 12) % 4 === 0) {
      buffer.writeUInt32LE(random.next(), at);
      at += 4;
      continue;
    }
    const word = words[random.next() & 4095];
    if (word === undefined) return;
    at += word.copy(buffer, at);
  }
}
