import type { Readable } from "node:stream";
import { SkeinError } from "../lib/errors/errors.ts";

/** Longest line of a stream, in bytes: one stored value (1.5 MiB) with room for its escapes. */
const MAX_LINE_BYTES = 4 * 2 ** 20;

/** So many pieces of a line are put together at once: each joining reads all of it that has come. */
const PIECES = 1024;

/** The parsed lines of an ndjson stream; blank lines (heartbeats) are skipped. */
export async function* ndjsonLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const [first = "", ...more] = decoder.decode(chunk, { stream: true }).split("\n");
    pieces.push(first);
    length += first.length;
    for (const next of more) {
      const line = pieces.join("");
      if (line !== "") yield parse(line);
      pieces = [next];
      length = next.length;
    }
    if (length > MAX_LINE_BYTES) {
      throw new SkeinError("BAD_REQUEST", `a line of more than ${MAX_LINE_BYTES} bytes`);
    }
    if (pieces.length >= PIECES) pieces = [pieces.join("")];
  }
  const rest = pieces.join("");
  if (rest.trim() !== "") yield parse(rest);
}

/**
 * Fails the reader when nothing, not even a heartbeat, came for `ms`. Where this process was stopped for so long, what
 * came is read before it is missed.
 */
export function failWhenSilent(stream: Readable, ms: number, error: () => Error): () => void {
  let heard = 0;
  const miss = (): void => {
    const before = heard;
    const look = (): void => void (heard === before && stream.destroy(error()));
    setImmediate(() => setImmediate(look));
  };
  let timer = setTimeout(miss, ms);
  const onData = (): void => {
    heard += 1;
    clearTimeout(timer);
    timer = setTimeout(miss, ms);
  };
  stream.on("data", onData);
  stream.pause();
  return () => {
    heard += 1;
    clearTimeout(timer);
    stream.off("data", onData);
  };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (err) {
    throw new SkeinError("BAD_REQUEST", "a line of the stream is not JSON", { cause: err });
  }
}
