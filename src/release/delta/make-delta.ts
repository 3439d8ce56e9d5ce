import { createHash } from "node:crypto";
import type { BlobSource, DepotReader } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import type { PublishedTree } from "../tree/published.ts";
import { isFileRow, type FileRow } from "../tree/rows.ts";
import { loadTree, type LoadedTree } from "../fetch/tree-blobs.ts";
import type { Content } from "../tree/tree-source.ts";
import { encodeDelta, planDelta, type Contents, type DeltaPlan, type Encoder } from "./encode-delta.ts";
import { ScratchFile } from "./scratch-file.ts";
import { layContents, packCost } from "./tree-contents.ts";

export interface MakeDeltaOptions {
  /** Has both trees. */
  readonly depot: DepotReader;
  readonly from: PublishedTree;
  readonly to: PublishedTree;
  readonly encoder: Encoder;
  /** A folder with room for what changed, old and new. Default: the system's for scratch files. */
  readonly scratch?: string;
  /** The largest tree that is made a delta to. Default: any. */
  readonly most?: { readonly bytes: number; readonly files: number };
  readonly signal: AbortSignal;
}

/** A delta that was made, in a scratch file. */
export interface MadeDelta extends BlobSource, Disposable {}

/** A delta must cost less than this share of what packs would. */
const WORTH = 0.7;
/** What a node reads besides contents when it has no delta: the list of segments, a segment, times, heads of packs. */
const ROWS_BYTES = 24 * 1024;

/**
 * Makes the delta from one tree of a depot to another. Holds no file whole in memory, however large.
 * @returns undefined when packs are cheaper, or no receiver would take so large a change
 * @throws SkeinError BLOB_MISSING, CHUNK_MISSING, CHUNK_CORRUPT, PACK_CORRUPT, TREE_CORRUPT, DISK_FULL, IO
 */
export async function makeDelta(options: MakeDeltaOptions): Promise<MadeDelta | undefined> {
  const { depot, encoder, signal } = options;
  const [from, to] = (await Promise.all(
    [options.from, options.to].map(async (tree) => await loadTree(new Fetcher([depot], signal), tree)),
  )) as [LoadedTree, LoadedTree];
  if (options.most !== undefined) refuseLarger(from, to, options.most);
  const plan = planDelta(from, to);
  if (!plan.fits) return undefined;
  const most = (await costByPacks(plan, from, to)) * WORTH;
  using contents = await gather(plan, from, to, options);
  const out = new ScratchFile(options.scratch);
  const sum = createHash("sha256");
  try {
    await encodeDelta(plan, contents, encoder, (bytes) => {
      signal.throwIfAborted();
      sum.update(bytes);
      out.write(bytes);
      if (out.end > most) throw new TooDear();
    });
  } catch (err) {
    out[Symbol.dispose]();
    if (err instanceof TooDear) return undefined;
    throw err;
  }
  return {
    size: out.end,
    sha256: sum.digest("hex"),
    open: (offset) => out.read(offset),
    [Symbol.dispose]: () => out[Symbol.dispose](),
  };
}

class TooDear extends Error {}

/** Nobody said how large the older tree may be; it takes less work than the newer one. */
const OLDER_TIMES = 16;

/** What a release document says of a tree's size is its writer's word. */
function refuseLarger(from: LoadedTree, to: LoadedTree, most: NonNullable<MakeDeltaOptions["most"]>): void {
  if (!isWithin(to, most, 1))
    throw new SkeinError("TREE_REFUSED", "a tree is larger than its release document says");
  if (!isWithin(from, most, OLDER_TIMES))
    throw new SkeinError("TREE_REFUSED", `the older tree is over ${OLDER_TIMES} times as large`);
}

function isWithin({ rows }: LoadedTree, most: NonNullable<MakeDeltaOptions["most"]>, times: number): boolean {
  const files = rows.filter(isFileRow);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return files.length <= most.files * times && bytes <= most.bytes * times;
}

async function costByPacks(plan: DeltaPlan, from: LoadedTree, to: LoadedTree): Promise<number> {
  const rows = plan.leads.map(({ row }) => row);
  const own = plan.leads.flatMap(({ own: index }) => {
    const row = index === undefined ? undefined : plan.old.files[index];
    return row === undefined ? [] : [row];
  });
  return ROWS_BYTES + (await packCost(to.packs, rows, { packs: from.packs, rows: own }));
}

/** Lays all contents that may be needed where they can be read by ranges. */
async function gather(
  plan: DeltaPlan,
  from: LoadedTree,
  to: LoadedTree,
  { scratch: folder }: MakeDeltaOptions,
): Promise<Contents & Disposable> {
  using made = new DisposableStack();
  const scratch = made.use(new ScratchFile(folder));
  const files = from.rows.filter(isFileRow);
  const oldRows = [...new Set(plan.leads.flatMap(({ candidates }) => candidates))].flatMap((index) => {
    const row = files[index];
    return row === undefined ? [] : [row];
  });
  const rows = plan.leads.map(({ row }) => row);
  const old = await layContents(from.packs, oldRows, scratch);
  const fresh = await layContents(to.packs, rows, scratch);
  const stack = made.move();
  return {
    old: (index) => need(old.get((files[index] as FileRow).sha256)),
    fresh: (row) => need(fresh.get(row.sha256)),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

function need(content: Content | undefined): Content {
  if (content === undefined) throw new TypeError("a content was not gathered");
  return content;
}
