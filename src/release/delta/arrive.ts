import fs from "node:fs";
import path from "node:path";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { digestOf, type Digest, type ReleaseId } from "../../lib/text/ids.ts";
import { checkRows } from "../tree/arrange.ts";
import type { Fetcher } from "../fetch/fetcher.ts";
import { installsDir } from "../record/install-record.ts";
import type { PublishedTree } from "../tree/published.ts";
import { deltaName } from "../tree/release-index.ts";
import type { RecordFile } from "../record/record-file.ts";
import { isFileRow, type FileRow } from "../tree/rows.ts";
import { encodeRoot, outlineOf, type TreeSegment } from "../tree/segments.ts";
import { encodeSince } from "../tree/since.ts";
import { applyDelta, type OldTree } from "./apply-delta.ts";
import { ArrivingBlob } from "./arriving-blob.ts";
import { FreshFiles } from "./fresh-files.ts";
import type { Content } from "../tree/tree-source.ts";
import type { TreeState } from "./tree-state.ts";

/** A tree that was reached from an older one, with its new contents. */
export interface Arrived extends TreeState {
  readonly segments: readonly TreeSegment[];
  /** New contents that lie in files of this install's own: digest → absolute path. They may be moved away. */
  readonly fresh: ReadonlyMap<Digest, string>;
  /** Bytes of these that were read from the older tree's files. */
  readonly reused: number;
}

export interface ArriveOptions {
  readonly wanted: PublishedTree;
  /** The install that the delta leads from. */
  readonly from: RecordFile;
  readonly revs: string;
  readonly release: ReleaseId;
  readonly onContent: (bytes: number) => void;
}

const freshDir = (revs: string, id: ReleaseId): string => path.join(installsDir(revs), `${id}.fresh`);
const blobFile = (revs: string, id: ReleaseId, from: string): string =>
  path.join(installsDir(revs), `${id}.${from.slice(0, 16)}.delta`);

/**
 * Follows a delta to the wanted tree, and proves that it got there.
 * @returns undefined when that cannot be done, for whatever reason but the signal's: packs lead there as well
 */
export async function arriveByDelta(fetcher: Fetcher, options: ArriveOptions): Promise<Arrived | undefined> {
  const { wanted, from, revs, release } = options;
  const { signal } = fetcher;
  const blob = new ArrivingBlob(blobFile(revs, release, from.tree));
  const name = deltaName(wanted.tree, from.tree);
  try {
    const arrived = await fetcher.try(async (depot) => {
      using sink = new FreshFiles(freshDir(revs, release));
      sink.onFilled = options.onContent;
      sink.onRoom = (bytes) => blob.keepAtMost(bytes);
      try {
        const state = await applyDelta(
          blob.read(depot, name, signal),
          new InstalledTree(from, revs, wanted.since),
          sink,
          signal,
        );
        faultPoint("install.delta-applied");
        const { files: fresh, reused } = sink;
        return { ...state, segments: prove(state, wanted), fresh, reused };
      } catch (err) {
        signal.throwIfAborted();
        // What this disk cannot give or take, no depot can mend.
        if (!(err instanceof SkeinError) || isSkeinError(err, "IO", "DISK_FULL")) return undefined;
        // What has come may be what is wrong.
        if (isSkeinError(err, "DELTA_CORRUPT")) blob.forget();
        throw err;
      }
    });
    if (arrived === undefined) forgetDelta(revs, release);
    else checkRows(arrived.rows);
    return arrived;
  } catch {
    signal.throwIfAborted();
    forgetDelta(revs, release);
    return undefined;
  }
}

/** Removes what a delta left of an install that is finished, or does without. */
export function forgetDelta(revs: string, release: ReleaseId): void {
  for (const name of fs.readdirSync(installsDir(revs))) {
    if (!name.startsWith(`${release}.`) || !/\.(fresh|delta)$/.test(name)) continue;
    fs.rmSync(path.join(installsDir(revs), name), { recursive: true, force: true });
  }
}

/** The install as its record says; a file that is not there as it was put down is none to come from. */
class InstalledTree implements OldTree {
  readonly #record: RecordFile;
  readonly #dir: string;
  readonly #inodes: Float64Array;
  readonly #times: readonly number[];
  readonly #since: Digest | null;
  #files: readonly FileRow[] = [];

  constructor(record: RecordFile, revs: string, since: Digest | null) {
    this.#since = since;
    this.#record = record;
    this.#dir = path.join(revs, record.release);
    this.#inodes = record.inodes();
    this.#times = record.times();
  }

  /** Read when it is asked for: where nobody has a delta, a large tree's rows would be garbage. */
  get state(): TreeState {
    const rows = this.#record.segments.flatMap((_, n) => this.#record.rowsOf(n));
    this.#files = rows.filter(isFileRow);
    return { rows, times: this.#times };
  }

  isTimes(times: readonly number[]): boolean {
    return this.#since !== null && digestOf(encodeSince(times)) === this.#since;
  }

  content(index: number): Content {
    const row = this.#files[index] as FileRow;
    const file = path.join(this.#dir, row.path);
    const { ino, size, mtimeMs } = fs.lstatSync(file);
    const isAsPut =
      ino === this.#inodes[index] && size === row.size && Math.round(mtimeMs) === this.#times[index];
    if (!isAsPut) throw new SkeinError("IO", `${file} was changed since it was installed`);
    return { file, offset: 0 };
  }
}

/** @returns the segments of the rows @throws SkeinError DELTA_CORRUPT */
function prove({ rows, times }: TreeState, wanted: PublishedTree): readonly TreeSegment[] {
  const { tree, segments } = outlineOf(rows);
  const since = wanted.since === null ? null : digestOf(encodeSince(times));
  const isRight =
    tree === wanted.tree && digestOf(encodeRoot(segments)) === wanted.rows && since === wanted.since;
  if (!isRight) {
    throw new SkeinError("DELTA_CORRUPT", "a delta does not lead to the signed tree", {
      data: { tree: wanted.tree },
    });
  }
  return segments;
}
