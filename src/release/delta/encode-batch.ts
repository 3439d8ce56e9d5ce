import { encodeContent } from "./encode-content.ts";
import type { Batch, Encoder } from "./encode-delta.ts";
import { PieceBuilder, type Piece } from "./piece.ts";

/** The pieces of a batch, as they fill. */
export function* encodeBatch({ jobs, effort }: Batch): Generator<Piece, void> {
  const builder = new PieceBuilder();
  for (const job of jobs) yield* encodeContent(job, builder, effort);
  if (!builder.isEmpty) yield builder.take();
}

/** Encodes in this thread: for little, and where no worker can be started. */
export const encodeHere: Encoder = async function* (batches) {
  for (const batch of batches) yield* encodeBatch(batch);
};
