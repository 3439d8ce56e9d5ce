/** The flags that say where, of verbs that work with a bucket. */
export interface PlaceFlags {
  readonly bucket?: string;
  readonly root?: string;
}

/** What FTL took from the environment alone, by its names and Skein's; no file is needed. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Whether this machine is told to use a bucket. Asked by commands that mostly are not, and need not load how. */
export const hasBucket = (flags: PlaceFlags, env: Environment = process.env): boolean =>
  first(flags.bucket, env["SKEIN_BUCKET"]) !== undefined;

/** The first of these that says something. */
export const first = (...values: readonly (string | undefined)[]): string | undefined =>
  values.find((value) => value !== undefined && value !== "");
