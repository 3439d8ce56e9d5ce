/** Smaller buffers cost little, and may be parts of a pool that they share with others. */
const LEAST_BYTES = 256 * 1024;

/**
 * Gives a buffer's memory back now. Left to the collector, each 64 MB of such memory costs a look at the whole heap:
 * a fifth of the CPU time of installing a large release. Nobody may use the bytes, or a part of them, afterwards.
 */
export function freeNow(bytes: Uint8Array): void {
  const { buffer, byteOffset } = bytes;
  const isOwn = byteOffset === 0 && buffer.byteLength >= LEAST_BYTES;
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
