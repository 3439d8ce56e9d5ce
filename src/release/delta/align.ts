import { TABLE } from "../tree/gear.ts";

/**
 * Finds what of a new content lies, exactly or nearly, in an old one. Places of the old content are sampled by a
 * rolling hash of 32 bytes; where the new content has the same hash, the two are laid against each other there. After
 * a program is linked anew most of its bytes are the old ones, moved, with addresses that differ a little: such
 * stretches are sent as differences, which are nearly all zero.
 */
export interface Run {
  /** Literal bytes, differences from the old bytes, or the old bytes as they are. */
  kind: "literal" | "differ" | "copy";
  /** In bytes. */
  length: number;
  /** Where in the old content; of no meaning for literals. */
  at: number;
}

const WINDOW = 32;
/** Of an anchor's bytes, so many at its end must agree. */
const PROOF = 24;
/** How far past an anchor two alignments are compared, and by how many bytes a new one must be better. */
const AHEAD = 96;
const BETTER = 12;
/** How far back a better place for a change of alignment is looked for, and when the search is given up. */
const BACK = 65_536;
const GIVE_UP = 64;
/** Bytes that are judged together as alike or not. */
const BLOCK = 64;
/** A shorter stretch of equal bytes beside differences is cheaper as zeros among them. */
const LEAST_COPY = 2048;
const MIX = 0x9e3779b1;

/** An old content, with its places. */
export class Anchors {
  readonly old: Buffer;
  readonly #table: Int32Array;
  readonly #shift: number;
  readonly #mask: number;

  constructor(old: Buffer) {
    this.old = old;
    const sampleBits = sampleBitsFor(old.length);
    let tableBits = 8;
    while (2 ** tableBits < (old.length >> sampleBits) * 1.2 && tableBits < 24) tableBits += 1;
    this.#shift = 32 - tableBits;
    this.#mask = (1 << sampleBits) - 1;
    this.#table = new Int32Array(2 ** tableBits);
    this.#fill();
  }

  /**
   * What `fresh` is made of, in order. `shift`: where the content before it lay in the old one, less where it lies in
   * the new one: a good first guess for what goes on from there.
   */
  runs(fresh: Buffer, shift = 0): Run[] {
    const switches = this.#switches(fresh, shift);
    const runs: Run[] = [];
    for (const [i, { at, shift: by }] of switches.entries()) {
      const end = switches[i + 1]?.at ?? fresh.length;
      if (end > at) runsOf(this.old, fresh, { start: at, end, shift: by }, runs);
    }
    return runs;
  }

  #fill(): void {
    const { old } = this;
    const table = this.#table;
    const mask = this.#mask;
    const shift = this.#shift;
    let state = 0;
    for (let i = 0; i < old.length; i++) {
      state = ((state << 1) + (TABLE[old[i] as number] as number)) | 0;
      if (((state >>> 26) & mask) !== 0 || i < WINDOW - 1) continue;
      const slot = Math.imul(state, MIX) >>> shift;
      // The first of equal places: what repeats is mostly padding.
      if (table[slot] === 0) table[slot] = i;
    }
  }

  /** Where in `fresh` the alignment changes, and to what. */
  #switches(fresh: Buffer, first: number): Switch[] {
    const mask = this.#mask;
    const switches: Switch[] = [{ at: 0, shift: first }];
    let current = switches[0] as Switch;
    let state = 0;
    for (let i = 0; i < fresh.length; i++) {
      state = ((state << 1) + (TABLE[fresh[i] as number] as number)) | 0;
      if (((state >>> 26) & mask) !== 0 || i < WINDOW - 1) continue;
      const place = this.#table[Math.imul(state, MIX) >>> this.#shift] as number;
      if (place === 0 || place - i === current.shift) continue;
      const next = better(this.old, fresh, i, current, place - i);
      if (next === undefined) continue;
      current = next;
      switches.push(next);
    }
    return switches;
  }
}

interface Switch {
  /** In the new content. */
  readonly at: number;
  /** Place in the old content less place in the new one. */
  readonly shift: number;
}

/** Small contents can afford more places. */
function sampleBitsFor(length: number): number {
  if (length <= 64 * 1024) return 1;
  if (length <= 1024 * 1024) return 2;
  return length <= 16 * 1024 * 1024 ? 3 : 5;
}

/** Whether the alignment of an anchor that ends at `i` is better than the current one, and from where on. */
function better(old: Buffer, fresh: Buffer, i: number, current: Switch, shift: number): Switch | undefined {
  const start = i - WINDOW + 1;
  if (agrees(old, fresh, start, WINDOW, current.shift)) return undefined;
  if (!agrees(old, fresh, i - PROOF + 1, PROOF, shift)) return undefined;
  const from = Math.max(start, current.at);
  const to = Math.min(fresh.length, i + AHEAD);
  if (equalBytes(old, fresh, from, to, shift) < equalBytes(old, fresh, from, to, current.shift) + BETTER)
    return undefined;
  return { at: bestStart(old, fresh, from, current, shift), shift };
}

function agrees(old: Buffer, fresh: Buffer, start: number, length: number, shift: number): boolean {
  const at = start + shift;
  if (start < 0 || at < 0 || at + length > old.length) return false;
  // The last byte first: it is where most differ.
  for (let k = length - 1; k >= 0; k--) if (old[at + k] !== fresh[start + k]) return false;
  return true;
}

function equalBytes(old: Buffer, fresh: Buffer, from: number, to: number, shift: number): number {
  const start = Math.max(from, -shift);
  const end = Math.min(to, old.length - shift);
  let equal = 0;
  for (let i = start; i < end; i++) if (fresh[i] === old[i + shift]) equal += 1;
  return equal;
}

/** Walks back from `from` to where changing the alignment gives the most equal bytes. */
function bestStart(old: Buffer, fresh: Buffer, from: number, current: Switch, shift: number): number {
  const lowest = Math.max(current.at, from - BACK, -shift);
  let best = from;
  let bestGain = 0;
  let gain = 0;
  for (let p = from - 1; p >= lowest; p--) {
    const byte = fresh[p];
    if (old[p + shift] === byte) gain += 1;
    if (old[p + current.shift] === byte) gain -= 1;
    if (gain > bestGain) {
      bestGain = gain;
      best = p;
    }
    if (gain < bestGain - GIVE_UP) break;
  }
  return best;
}

interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly shift: number;
}

/** Cuts a stretch of one alignment into runs by how alike its blocks are, and appends them. */
function runsOf(old: Buffer, fresh: Buffer, { start, end, shift }: Stretch, runs: Run[]): void {
  const first = runs.length;
  for (let at = start; at < end; at += BLOCK) {
    const length = Math.min(BLOCK, end - at);
    const kind = kindOf(old, fresh, at, length, shift);
    const last = runs.at(-1);
    if (last !== undefined && runs.length > first && last.kind === kind) last.length += length;
    else addRun(runs, first, { kind, length, at: at + shift });
  }
  joinAll(runs, first);
}

function kindOf(old: Buffer, fresh: Buffer, at: number, length: number, shift: number): Run["kind"] {
  const from = at + shift;
  if (from < 0 || from + length > old.length) return "literal";
  let equal = 0;
  for (let k = 0; k < length; k++) if (fresh[at + k] === old[from + k]) equal += 1;
  if (equal === length) return "copy";
  return equal * 2 >= length ? "differ" : "literal";
}

/** A run of its own kind, before which a short copy beside differences became differences. */
function addRun(runs: Run[], first: number, run: Run): void {
  runs.push(run);
  join(runs, first, runs.length - 2);
}

function joinAll(runs: Run[], first: number): void {
  join(runs, first, runs.length - 1);
}

/** Makes the run at `i` part of its neighbours when it is a short copy and one of them is of differences. */
function join(runs: Run[], first: number, i: number): void {
  const run = runs[i];
  if (i < first || run === undefined || run.kind !== "copy" || run.length >= LEAST_COPY) return;
  const before = i > first ? runs[i - 1] : undefined;
  const after = runs[i + 1];
  if (before?.kind === "differ") {
    before.length += run.length;
    runs.splice(i, 1);
    if (after?.kind !== "differ") return;
    before.length += after.length;
    runs.splice(i, 1);
  } else if (after?.kind === "differ") {
    after.at = run.at;
    after.length += run.length;
    runs.splice(i, 1);
  }
}
