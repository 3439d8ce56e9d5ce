import { createHash } from "node:crypto";
import type { Depot } from "./depot.ts";

/** For tests: puts `sizeBytes` sevens as `packs/a`. @returns the offset from which they were read last */
export async function putByPieces(depot: Depot, sizeBytes: number, pieceBytes: number): Promise<number> {
  const bytes = Buffer.alloc(sizeBytes, 7);
  let from = 0;
  const blob = {
    size: sizeBytes,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open(offset: number) {
      from = offset;
      for (let at = offset; at < sizeBytes; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
    },
  };
  await depot.put("packs/a", blob, new AbortController().signal);
  return from;
}
