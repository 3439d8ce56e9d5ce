import { createHash } from "node:crypto";
import { directoryDepot } from "./directory.ts";

/** For tests: puts a blob into the depot that is named, and prints the offset from which it was sent. */
const bytes = Buffer.alloc(300_000, 7);
const depot = directoryDepot(process.argv[2] ?? "");
let from = 0;
await depot.put(
  "packs/a",
  {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open(offset) {
      from = offset;
      for (let at = offset; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    },
  },
  new AbortController().signal,
);
process.stdout.write(String(from));
