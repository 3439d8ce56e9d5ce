/** One figure of a benchmark: ours and the peer's, measured alternately in one run. Printed as one line. */
export interface Figure {
  readonly bench: string;
  readonly case: string;
  readonly ours: number;
  /** Null where there is only a limit to keep. */
  readonly peer: number | null;
  readonly peer_name: string;
  /** ours / peer, null without a peer. */
  readonly ratio: number | null;
  /** What was promised, for people: `ours >= 20000/s`. */
  readonly goal: string;
  readonly met: boolean;
}

export interface BenchOptions {
  /** Ends within 50 s: fewer rounds, same cases. */
  readonly quick: boolean;
  readonly signal: AbortSignal;
}

/** A benchmark is a file bench/NAME.ts that exports one of these as `bench`. */
export type Bench = (options: BenchOptions) => AsyncIterable<Figure>;

/** Runs ours and the peer in turns, so that a busy moment of the machine hits both; the medians of `rounds`. */
export async function alternately(
  rounds: number,
  signal: AbortSignal,
  ours: () => Promise<number>,
  peer: () => Promise<number>,
): Promise<{ readonly ours: number; readonly peer: number }> {
  const results: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    results.ours.push(await ours());
    signal.throwIfAborted();
    results.peer.push(await peer());
  }
  return { ours: median(results.ours), peer: median(results.peer) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

/** Three significant digits: more would claim more than a shared machine can tell. */
export function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
