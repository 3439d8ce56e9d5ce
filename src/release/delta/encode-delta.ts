import { isFileRow, type FileRow } from "../tree/rows.ts";
import type { Content } from "../tree/tree-source.ts";
import { BlockWriter } from "./block-writer.ts";
import { ByteWriter } from "./byte-io.ts";
import type { Effort } from "./encode-content.ts";
import { BaseChooser, leadsFor, type Lead } from "./find-bases.ts";
import { DELTA_MAGIC, DESCRIBED_BYTES, TREE_BYTES } from "./limits.ts";
import type { ContentJob, Piece } from "./piece.ts";
import { SectionPacker } from "./section-packer.ts";
import { encodeTree } from "./write-tree.ts";
import { OldFiles, type TreeState } from "./tree-state.ts";

/** Up to this sum of new contents, each is tried as hard as can be. */
const THOROUGH_BYTES = 4 * 1024 * 1024;
/** Contents are handed to a worker by about so many bytes, old ones included. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** What a delta is to be made of, before any content is read. */
export interface DeltaPlan {
  readonly tree: Buffer;
  readonly old: OldFiles;
  readonly leads: readonly Lead[];
  /** Sum of the new contents. */
  readonly freshBytes: number;
  /** Receivers take so long a description of a tree. */
  readonly fits: boolean;
}

/** Decides by rows alone which contents will be read. */
export function planDelta(from: TreeState, to: TreeState): DeltaPlan {
  const old = new OldFiles(from);
  const { bytes, fresh, described } = encodeTree(from, to);
  const fits = bytes.length <= TREE_BYTES && described <= DESCRIBED_BYTES;
  const leads = leadsFor(fresh, old, new Set(to.rows.filter(isFileRow).map(({ path }) => path)));
  const freshBytes = fresh.reduce((sum, { size }) => sum + size, 0);
  return { tree: bytes, old, leads, freshBytes, fits };
}

/** Where contents are on this machine. */
export interface Contents {
  old(index: number): Content;
  fresh(row: FileRow): Content;
}

/** Contents that are encoded together. */
export interface Batch {
  readonly jobs: readonly ContentJob[];
  readonly effort: Effort;
}

/** Encodes batches, several at a time where it can, and gives their pieces in order. */
export type Encoder = (batches: Iterable<Batch>) => AsyncIterable<Piece>;

/**
 * Writes a delta.
 * @param write takes the delta's bytes as they are made; it may throw to stop
 */
export async function encodeDelta(
  plan: DeltaPlan,
  contents: Contents,
  encoder: Encoder,
  write: (bytes: Buffer) => void,
): Promise<void> {
  using packer = new SectionPacker();
  const tree = await packer.pack(plan.tree, true);
  const head = new ByteWriter();
  head.bytes(Buffer.from(DELTA_MAGIC));
  head.number(plan.tree.length);
  head.number(tree.bytes.length);
  head.bytes(tree.bytes);
  write(Buffer.from(head.view()));
  using blocks = new BlockWriter(write);
  for await (const piece of encoder(batchesOf(plan, contents))) await blocks.add(piece);
  await blocks.end();
}

function* batchesOf(plan: DeltaPlan, contents: Contents): Generator<Batch, void> {
  const effort = plan.freshBytes <= THOROUGH_BYTES ? "thorough" : "quick";
  const chooser = new BaseChooser(plan.old, (index) => contents.old(index));
  let jobs: ContentJob[] = [];
  let bytes = 0;
  for (const lead of plan.leads) {
    const content = contents.fresh(lead.row);
    const bases = chooser.choose(lead, content).map((index) => {
      return { index, size: plan.old.files[index]?.size ?? 0, content: contents.old(index) };
    });
    const isOwn = bases.length === 1 && bases[0]?.index === lead.own;
    jobs.push({ size: lead.row.size, content, bases, isOwn });
    bytes += bases.reduce((sum, { size }) => sum + size, lead.row.size);
    if (bytes < BATCH_BYTES) continue;
    yield { jobs, effort };
    jobs = [];
    bytes = 0;
  }
  if (jobs.length > 0) yield { jobs, effort };
}
