/** A publisher of its own process, for tests that kill it. The entry comes on stdin, the folder is its argument. */
import { text } from "node:stream/consumers";
import { directoryDocuments } from "../depot/directory/directory-documents.ts";
import { systemClock } from "../lib/time/clock.ts";
import type { OrderEntry } from "./entries.ts";
import { publishOrder } from "./publish.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";

const [, , dir = ""] = process.argv;
const entry = JSON.parse(await text(process.stdin)) as OrderEntry;
const signal = AbortSignal.timeout(PATIENCE_MS);
await publishOrder(entry, { documents: directoryDocuments(dir), clock: systemClock, signal });
