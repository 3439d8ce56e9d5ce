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

/** What a folder may hold, an archive of it may not. */
export const UNPACKED = "Unpack it and deploy the folder: there a file may have 10 GiB.";

/** As a message says a bound. */
export const sizeText = (bytes: number): string =>
  bytes % 2 ** 30 === 0 ? `${bytes / 2 ** 30} GiB` : `${bytes} bytes`;
