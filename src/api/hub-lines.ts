import type { Readable } from "node:stream";
import * as z from "zod";
import { fromWire, SkeinError, type WireError } from "../lib/errors/errors.ts";
import { failWhenSilent, ndjsonLines } from "./ndjson.ts";
import { errorBody } from "./field-schemas.ts";
import { cutOff } from "./wire.ts";

const HEARTBEAT_LOST_MS = 25_000;
/** Why the hub ends a stream. A line that says more than that is a node's, whatever it says. */
const lastWord = z.strictObject(errorBody.shape);

/** The lines of a stream of the hub's. @throws SkeinError its last word; HUB_UNREACHABLE where it is cut or silent */
export async function* linesOf(response: Readable, hub: string): AsyncGenerator<unknown, void> {
  const lost = (): SkeinError => new SkeinError("HUB_UNREACHABLE", `${hub} fell silent`);
  const stop = failWhenSilent(response, HEARTBEAT_LOST_MS, lost);
  try {
    for await (const line of ndjsonLines(response as AsyncIterable<Uint8Array>)) {
      const failed = lastWord.safeParse(line);
      if (failed.success) throw fromWire(failed.data.error as WireError);
      yield line;
    }
  } catch (err) {
    throw err instanceof SkeinError ? err : cutOff(hub, err);
  } finally {
    stop();
    response.destroy();
  }
}
