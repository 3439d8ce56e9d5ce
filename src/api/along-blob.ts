/** A small blob that follows the body of an answer: what its reader would ask for next. */
export interface AlongBlob {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Says which blob the answer ends with, and how many of its bytes that is: `LENGTH NAME`. */
export const ALONG_HEADER = "skein-along";

export function withAlong(
  body: Buffer,
  along: AlongBlob | undefined,
): { readonly bytes: Buffer; readonly headers: Readonly<Record<string, string>> } {
  if (along === undefined) return { bytes: body, headers: {} };
  const headers = { [ALONG_HEADER]: `${along.bytes.length} ${along.name}` };
  return { bytes: Buffer.concat([body, along.bytes]), headers };
}

/** @throws Error where the header says what cannot be */
export function withoutAlong(
  bytes: Buffer,
  header: string | readonly string[] | undefined,
): { readonly body: Buffer; readonly along: AlongBlob | undefined } {
  if (header === undefined) return { body: bytes, along: undefined };
  const [, length = "", name = ""] = /^([0-9]{1,9}) (\S+)$/.exec(String(header)) ?? [];
  const end = bytes.length - Number(length);
  if (name === "" || end < 0) throw new Error("what follows the answer is not what its header says");
  return { body: bytes.subarray(0, end), along: { name, bytes: bytes.subarray(end) } };
}
