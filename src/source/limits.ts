/** What an archive may come to; the reasons are in docs/formats/tree.md. */
export interface ArchiveLimits {
  readonly entries: number;
  /** Longest file, in bytes. */
  readonly fileBytes: number;
  /** All files together, in bytes. */
  readonly totalBytes: number;
  /** Inflated bytes per byte of the archive, beyond the first MiB. */
  readonly ratio: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = {
  entries: 100_000,
  fileBytes: 2 ** 30,
  totalBytes: 2 ** 31,
  ratio: 200,
};
