import { TABLE } from "../tree/gear.ts";
import { JoinedContent } from "./read-content.ts";
import type { Content } from "../tree/tree-source.ts";

/**
 * A few places of a content, chosen by what stands there: two contents that share stretches of bytes share places,
 * wherever these lie. A place is the rolling hash of 32 bytes whose top bits are zero.
 */
export type Sketch = ReadonlySet<number>;

/** About so many places are taken, whatever the size. */
const PLACES = 64;
const LEAST_BITS = 2;
const WINDOW = 32;
const READ_BYTES = 1024 * 1024;

export function sketchOf(file: { readonly size: number; readonly content: Content }): Sketch {
  const bits = Math.max(LEAST_BITS, Math.floor(Math.log2(file.size / PLACES)));
  const shift = 32 - bits;
  const places = new Set<number>();
  using content = new JoinedContent([file]);
  const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, file.size));
  let state = 0;
  for (let at = 0; at < file.size;) {
    const bytes = buffer.subarray(0, Math.min(buffer.length, file.size - at));
    content.read(at, bytes);
    for (let i = 0; i < bytes.length; i++) {
      state = ((state << 1) + (TABLE[bytes[i] as number] as number)) | 0;
      if (state >>> shift === 0 && at + i >= WINDOW - 1) places.add(state);
    }
    at += bytes.length;
  }
  return places;
}
