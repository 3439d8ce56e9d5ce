/** Encodes batches in a thread of its own; started by `encode-workers.ts`. */
import { parentPort } from "node:worker_threads";
import { encodeBatch } from "./encode-batch.ts";
import type { Batch } from "./encode-delta.ts";
import type { FromWorker, ToWorker } from "./encode-workers.ts";

/** Pieces on their way that nobody has taken yet: what keeps a worker from running ahead without bound. */
const AHEAD = 3;

let untaken = 0;
let taken: (() => void) | undefined;

parentPort?.on("message", (message: ToWorker) => {
  if (message.kind === "batch") void encode(message.batch);
  else {
    untaken -= 1;
    taken?.();
  }
});

async function encode(batch: Batch): Promise<void> {
  try {
    for (const piece of encodeBatch(batch)) {
      // Each piece that is taken wakes it once.
      if (untaken >= AHEAD) {
        await new Promise<void>((resolve) => {
          taken = resolve;
        });
      }
      untaken += 1;
      tell({ kind: "piece", piece }, [
        piece.control.buffer,
        piece.differ.buffer,
        piece.literal.buffer,
        piece.frames.buffer,
      ]);
    }
    tell({ kind: "done" });
  } catch (err) {
    tell({ kind: "failed", err });
  }
}

function tell(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}
