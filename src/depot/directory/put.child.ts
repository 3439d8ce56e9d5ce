import { directoryDepot } from "./directory.ts";
import { putByPieces } from "../seam/put-by-pieces.fixture.ts";

/** For tests: puts a blob into the depot that is named, and prints the offset from which it was sent. */
const from = await putByPieces(directoryDepot(process.argv[2] ?? ""), 300_000, 100_000);
process.stdout.write(String(from));
