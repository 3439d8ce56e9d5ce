/** RFC 4251's `string`: four bytes of length, then the bytes. */
export function wireString(data: string | Uint8Array): Buffer {
  const bytes = Buffer.from(data);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Reads ssh's wire form in order; throws RangeError past the end. */
export interface WireReader {
  take(length: number): Buffer;
  uint32(): number;
  string(): Buffer;
  text(): string;
  atEnd(): boolean;
}

export function readWire(data: Uint8Array): WireReader {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new RangeError("ssh data ends early");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const uint32 = (): number => take(4).readUInt32BE();
  const string = (): Buffer => take(uint32());
  return { take, uint32, string, text: () => string().toString("utf8"), atEnd: () => at === bytes.length };
}
