export interface InstallProgress {
  readonly stage: "rows" | "local" | "fetch" | "flush";
  /** Bytes of content put down so far, and of all that is to be; 0 until the rows are here. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
}
