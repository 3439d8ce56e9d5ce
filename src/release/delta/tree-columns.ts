import type { Row } from "../tree/rows.ts";

/** What becomes of a run of the older tree's rows; INSERT takes none of them. docs/formats/delta.md. */
export const OPS = { keep: 0, drop: 1, replace: 2, insert: 3 } as const;
export const ROW_KINDS = ["d", "f", "x", "l"] as const satisfies readonly Row["kind"][];
/** Where a file's content comes from. */
export const SOURCES = { fresh: 0, old: 1, again: 2, empty: 3 } as const;

export const COLUMNS = ["ops", "kinds", "numbers", "text", "times"] as const;
export type Columns<T> = Record<(typeof COLUMNS)[number], T>;

export const columns = <T>(make: () => T): Columns<T> => ({
  ops: make(),
  kinds: make(),
  numbers: make(),
  text: make(),
  times: make(),
});
