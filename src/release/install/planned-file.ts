import type { FileRow } from "../tree/rows.ts";

/** A file that is to be put down. */
export interface PlannedFile {
  readonly row: FileRow;
  /** Where it stands among the tree's files. */
  readonly index: number;
  /** Absolute, in the staging directory. */
  readonly file: string;
  /** In ms since the epoch. */
  readonly time: number;
}
