/** Where a file's bytes are on this machine, so that whoever reads them can use one buffer for all. */
export interface Content {
  /** A path that is opened (not followed if it is a link), or an open descriptor. */
  readonly file: string | number;
  /** Where in that file the content starts, in bytes. */
  readonly offset: number;
}

export type SourceEntry =
  | { readonly kind: "d"; readonly path: string }
  | { readonly kind: "l"; readonly path: string; readonly target: string }
  | SourceFile;

export interface SourceFile {
  readonly kind: "f" | "x";
  readonly path: string;
  readonly size: number;
  readonly content: Content;
  /** Changes whenever the content may have changed (size, times, inode; or a git object's id); null: unknown. */
  readonly stamp: string | null;
  /** When it was last changed, in ms since the epoch; 0 when its stamp is enough to tell (a git object's id). */
  readonly changedMs: number;
}

export const isSourceFile = (entry: SourceEntry): entry is SourceFile =>
  entry.kind === "f" || entry.kind === "x";

/** Something that a release is made of: a folder, a commit, an archive, a file. Disposing removes what it unpacked. */
export interface TreeSource extends AsyncDisposable {
  readonly kind: "git" | "dir" | "archive" | "file";
  /** For people and the release document: a folder's or file's name, never a whole path. */
  readonly name: string;
  /** 40 hex digits, when the source is a commit. */
  readonly commit: string | null;
  /** Names this source on this machine from one time to the next, for the stat cache; null: nothing is kept. */
  readonly cacheKey: string | null;
  /** What was left out or changed, as sentences for the person who publishes; complete after `entries`. */
  readonly notes: readonly string[];
  /**
   * Everything in it, in any order; folders on the way may be missing.
   * @throws SkeinError TREE_REFUSED, ARCHIVE_REFUSED with data {path, reason}
   */
  entries(signal: AbortSignal): Promise<readonly SourceEntry[]>;
}
