/** Smaller buffers cost little. */
const LEAST_BYTES = 4 * 1024;
/** A buffer of this size is no pool that is shared with others. */
const NO_POOL_BYTES = 256 * 1024;

/**
 * Gives a buffer's memory back now. Left to the collector, each 64 MB of such memory costs a look at the whole heap
 * (a fifth of the CPU time of installing a large release), and until then all of it is held. Does nothing where the
 * memory may be shared with other buffers. Nobody may use the bytes, or a part of them, afterwards.
 */
export function freeNow(bytes: Uint8Array): void {
  const { buffer, byteOffset, byteLength } = bytes;
  const isWhole = byteLength === buffer.byteLength && byteLength >= LEAST_BYTES;
  const isOwn = byteOffset === 0 && (isWhole || buffer.byteLength >= NO_POOL_BYTES);
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** The same bytes for keeping: a small buffer shares 64 KiB with others, which live as long as any of them. */
export function unpooled(bytes: Buffer): Buffer {
  if (bytes.length === bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}
