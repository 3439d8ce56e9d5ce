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
  return await inTurns(rounds, signal, { ours, peer });
}

/** The same for any number of them. */
export async function inTurns<Name extends string>(
  rounds: number,
  signal: AbortSignal,
  each: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(each) as Name[];
  const results = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      signal.throwIfAborted();
      results.get(name)?.push(await each[name]());
    }
  }
  const medians = names.map((name) => [name, median(results.get(name) ?? [])] as const);
  return Object.fromEntries(medians) as Record<Name, number>;
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
