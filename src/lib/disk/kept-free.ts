/** Kept free on a disk beside what is counted, in bytes: for records, and for the file system's own needs. */
export const KEPT_FREE_BYTES = 4 * 1024 * 1024;
