import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { faultPoint } from "../../lib/process/fault.ts";
import { mountBelow } from "../../lib/disk/mounts.ts";
import { inodeOf } from "./fill-from-here.ts";
import { linkText } from "./fill-stage.ts";
import { isUnder, type Layout } from "./install-plan.ts";
import { spareDir } from "../record/install-record.ts";
import { isOurs } from "./placer.ts";
import type { PlannedFile } from "./planned-file.ts";
import type { RecordFile } from "../record/record-file.ts";
import { removeWithin } from "./remove-tree.ts";
import { clearAway, moved, type OnStuck } from "./stuck.ts";
import { differenceOf } from "../record/tree-difference.ts";

/** What a spare leaves to be done. */
export interface TakenSpare {
  /** Without what is there. */
  readonly layout: Layout;
  /** Per file row: its inode where the file is there, else 0. */
  readonly inodes: Float64Array;
  /** Files that are there and shared with the earlier release. */
  readonly linked: number;
}

export interface TakeOptions {
  readonly revs: string;
  /** Of earlier installs, open: what a spare should be is in its release's record. */
  readonly records: readonly RecordFile[];
  readonly signal: AbortSignal;
  /** Told what cannot be removed, and is done without. */
  readonly onStuck?: OnStuck | undefined;
}

/** Files looked at before other work of the process gets its turn. */
const FILES_PER_TURN = 256;

/**
 * Makes the spare of an earlier release the staging directory of an install, and takes out of it all that is not in
 * the tree, or is not as it was put down.
 * @returns undefined, and no staging directory, where there is none, or one that may hold what nobody knows of
 */
export async function takeSpare(layout: Layout, options: TakeOptions): Promise<TakenSpare | undefined> {
  const { revs, records, onStuck } = options;
  const record = records.find(({ release }) => fs.existsSync(spareDir(revs, release)));
  if (record === undefined || !isSameMap(record.writable, layout.writable)) return undefined;
  const spare = spareDir(revs, record.release);
  if (mountBelow(spare) !== undefined) return undefined;
  const missing = missingFolders(spare, layout);
  if (missing === undefined) {
    clearAway(spare, onStuck);
    return undefined;
  }
  const { same, gone } = differenceOf(record, layout.tree);
  if (!moved(spare, layout.stage)) {
    clearAway(spare, onStuck);
    return undefined;
  }
  faultPoint("install.spare-taken");
  const remains = new Remains(layout, missing);
  const folders = new Set(layout.folders);
  // What is in a folder comes after it. One that the tree does not have may hold a link to an app's own folder.
  for (const { kind, path: at } of gone.toReversed()) {
    const isKept = isUnder(at, layout.writable) || (kind === "d" && folders.has(`${layout.stage}/${at}`));
    if (!isKept) remains.remove(`${layout.stage}/${at}`);
  }
  faultPoint("install.spare-cleared");
  await remains.look(record, same, options.signal);
  return remains;
}

/**
 * The plan's folders that a spare does not have; undefined where one that it has was touched since it was made: all
 * of them were given one time then. So what each name leads to is as it was, and only the files need to be looked at.
 */
function missingFolders(spare: string, { stage, folders }: Layout): ReadonlySet<string> | undefined {
  const top = fs.lstatSync(spare);
  const made = top.mtimeMs;
  // A whole second, as hardly any time is that the system gives.
  if (!top.isDirectory() || made % 1000 !== 0) return undefined;
  const modeIn = (folder: string): number => (folder === stage ? 0o700 : 0o755);
  const missing = new Set<string>();
  for (const folder of folders) {
    // Below what is no folder there may be a link's target.
    const at = missing.has(path.dirname(folder)) ? undefined : spare + folder.slice(stage.length);
    const stat = at === undefined ? undefined : fs.lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined || !stat.isDirectory()) missing.add(folder);
    else if (stat.mtimeMs !== made || !isOurs(stat) || (stat.mode & 0o7777) !== modeIn(folder))
      return undefined;
  }
  return missing;
}

/** What remains to be done when a spare's files were looked at. */
class Remains implements TakenSpare {
  readonly #layout: Layout;
  readonly #missing: readonly string[];
  readonly #changed = new Set<string>();
  readonly #files: PlannedFile[] = [];
  readonly inodes: Float64Array;
  linked = 0;

  constructor(layout: Layout, missing: ReadonlySet<string>) {
    this.#layout = layout;
    this.#missing = [...missing];
    this.inodes = new Float64Array(layout.fileRows);
    this.#changed.add(layout.stage);
  }

  /** Keeps the files that are those of the tree, and as they were put down; the rest goes. */
  async look(record: RecordFile, same: Int32Array, signal: AbortSignal): Promise<void> {
    const inodes = record.inodes();
    let looked = 0;
    for (const planned of this.#layout.files) {
      const { file, index, row, time } = planned;
      const at = same[index] ?? -1;
      const inode = at < 0 ? 0 : inodeOf(file, row, time);
      // Files without content are no links.
      if (inode !== 0 && (row.size === 0 || inode === inodes[at])) {
        this.inodes[index] = inode;
        if (row.size > 0) this.linked += 1;
      } else {
        if (at >= 0) this.remove(file);
        this.#files.push(planned);
      }
      if (++looked % FILES_PER_TURN !== 0) continue;
      await setImmediate();
      signal.throwIfAborted();
    }
  }

  remove(at: string): void {
    removeWithin(at);
    this.#changed.delete(at);
    this.#changed.add(path.dirname(at));
  }

  get layout(): Layout {
    const files = this.#files;
    const links = this.#layout.links.filter(({ file, target }) => linkText(file) !== target);
    const made = [...files.map(({ file }) => file), ...links.map(({ file }) => file), ...this.#missing];
    const changed = this.#changed.union(new Set([...made.map((at) => path.dirname(at)), ...this.#missing]));
    const bytes = files.reduce((sum, { row }) => sum + row.size, 0);
    return { ...this.#layout, files, links, folders: this.#missing, changed: [...changed], bytes };
  }
}

function isSameMap(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
