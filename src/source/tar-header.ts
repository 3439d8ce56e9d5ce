import { UNPACKED } from "./limits.ts";
import { refuse } from "./refuse.ts";

export const BLOCK = 512;
const SIZE_AT = 124;

/** A tar header as it stands, its checksum proved. */
export interface TarHeader {
  /** How messages call the entry. */
  readonly at: string;
  readonly type: string;
  readonly mode: number;
  readonly size: number;
  /**
   * Only asked for where nothing before the header says it: there it is cut to a hundred bytes, which may end within a
   * character.
   * @throws SkeinError ARCHIVE_REFUSED when it is not UTF-8
   */
  name(): string;
  link(): string;
}

const OCTAL = /^ *([0-7]{1,11})[\0 ]*$/;

/** @throws SkeinError ARCHIVE_REFUSED: what parsers read differently is not read at all */
export function parseHeader(block: Buffer): TarHeader {
  const start = textBytes(block, 0, 100);
  const at = start.length === 0 ? "(header)" : start.toString("utf8");
  if (!hasRightSum(block)) throw refuse("ARCHIVE_REFUSED", at, "its header is damaged");
  // Its first bit says so, and GNU tar sets it from 8 GiB on.
  if (((block[SIZE_AT] ?? 0) & 0x80) !== 0)
    throw refuse(
      "ARCHIVE_REFUSED",
      at,
      "its size is written in binary, as that of a file over 8 GiB",
      UNPACKED,
    );
  const isUstar = block.toString("latin1", 257, 263) === "ustar\0";
  return {
    at,
    type: block.toString("latin1", 156, 157),
    mode: octal(block, 100, 108, at, "mode"),
    size: octal(block, SIZE_AT, 136, at, "size"),
    name: () => {
      const prefix = isUstar ? text(block, 345, 500) : "";
      return prefix === "" ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`;
    },
    link: () => text(block, 157, 257),
  };
}

/** Whether these bytes begin as a tar archive does. */
export function beginsAsTar(block: Buffer): boolean {
  return block.length >= BLOCK && block[0] !== 0 && hasRightSum(block);
}

/** Refused when it is not UTF-8. */
const text = (block: Buffer, start: number, end: number): string => utf8(textBytes(block, start, end));

/** What stands before the first zero byte. */
function textBytes(block: Buffer, start: number, end: number): Buffer {
  const zero = block.indexOf(0, start);
  return block.subarray(start, zero === -1 || zero > end ? end : zero);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function utf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw refuse("ARCHIVE_REFUSED", Buffer.from(bytes).toString("latin1"), "its name is not valid UTF-8");
  }
}

function octal(block: Buffer, start: number, end: number, at: string, what: string): number {
  const digits = OCTAL.exec(block.toString("latin1", start, end))?.[1];
  if (digits === undefined) throw refuse("ARCHIVE_REFUSED", at, `its ${what} cannot be read`);
  return Number.parseInt(digits, 8);
}

function hasRightSum(block: Buffer): boolean {
  const digits = OCTAL.exec(block.toString("latin1", 148, 156))?.[1];
  let sum = 8 * 32;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i > 155) sum += block[i] ?? 0;
  return digits !== undefined && Number.parseInt(digits, 8) === sum;
}
