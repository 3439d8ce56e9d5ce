/**
 * JSON of signed documents, with what is written as digits given as the bytes that it stands for
 * (docs/formats/packed-json.md). Digests and signatures have nothing that compression could find, but it cannot know
 * that two hex digits are one byte; and text within base64 does not look like the same text three bytes further on.
 *
 *   0x01 n        n bytes that were lower-case hex digits
 *   0x02 n n      n bytes that were base64url between quotes
 *   0x03 n n      the same, text: itself packed, without a 0x02 or 0x03
 *   0x04 b        the byte b, one of these four
 *   else          the byte itself
 *
 * Whatever it is given comes out of it again, JSON or not.
 */
import { SkeinError } from "../lib/errors/errors.ts";

const [HEX, BYTES, TEXT, ITSELF] = [1, 2, 3, 4];
const mark = (...bytes: readonly number[]): string => String.fromCharCode(...bytes);
const MARKS = `[${mark(HEX)}-${mark(ITSELF)}]`;
/** Of a quoted word no more than what two bytes can count. */
const TOKEN = new RegExp(`"[A-Za-z0-9_-]{40,80000}"|[0-9a-f]{16,}|${MARKS}`, "g");
const INNER = /[0-9a-f]{16,}/g;
const PRINTABLE = /^[\x20-\x7e]*$/;
const MOST_HEX = 255;

export function packJson(bytes: Buffer): Buffer {
  return latin(text(bytes).replaceAll(TOKEN, packToken));
}

/** @throws SkeinError BAD_REQUEST; DOC_TOO_BIG when more than `maxBytes` come out */
export function unpackJson(packed: Buffer, maxBytes: number): Buffer {
  const parts: string[] = [];
  let length = 0;
  const add = (part: string): void => {
    length += part.length;
    if (length > maxBytes) {
      throw new SkeinError("DOC_TOO_BIG", `a body that unpacks to more than ${maxBytes} bytes`, {
        data: { maxBytes },
      });
    }
    parts.push(part);
  };
  unpackInto(text(packed), add, true);
  return latin(parts.join(""));
}

function packToken(token: string): string {
  if (token.startsWith('"')) return `"${packQuoted(token.slice(1, -1))}"`;
  return token.length === 1 ? mark(ITSELF) + token : packHex(token);
}

function packQuoted(word: string): string {
  const bytes = Buffer.from(word, "base64url");
  // What is all hex is a digest; and there is more than one way to write bytes as base64.
  if (/^[0-9a-f]*$/.test(word) || bytes.toString("base64url") !== word)
    return word.replaceAll(INNER, packHex);
  const raw = text(bytes);
  const isText = PRINTABLE.test(raw);
  const packed = isText ? raw.replaceAll(INNER, packHex) : raw;
  return mark(isText ? TEXT : BYTES, packed.length >> 8, packed.length & 255) + packed;
}

function packHex(digits: string): string {
  let packed = "";
  let at = 0;
  while (digits.length - at >= 2) {
    const end = Math.min(digits.length - (digits.length % 2), at + 2 * MOST_HEX);
    packed += mark(HEX, (end - at) / 2) + text(Buffer.from(digits.slice(at, end), "hex"));
    at = end;
  }
  return packed + digits.slice(at);
}

function unpackInto(packed: string, add: (part: string) => void, isOuter: boolean): void {
  const marks = new RegExp(MARKS, "g");
  for (let at = 0; ;) {
    marks.lastIndex = at;
    const found = marks.exec(packed);
    add(packed.slice(at, found?.index));
    if (found === null) return;
    const token = tokenAt(packed, found.index);
    if (!isOuter && token.kind !== HEX) throw malformed();
    add(meaningOf(token));
    at = token.end;
  }
}

interface Token {
  readonly kind: number;
  readonly bytes: string;
  readonly end: number;
}

function tokenAt(packed: string, at: number): Token {
  const kind = packed.charCodeAt(at);
  const digits = kind === ITSELF ? 0 : kind === HEX ? 1 : 2;
  const begin = at + 1 + digits;
  if (begin > packed.length) throw malformed();
  let length = kind === ITSELF ? 1 : 0;
  for (let i = at + 1; i < begin; i++) length = 256 * length + packed.charCodeAt(i);
  const end = begin + length;
  if (end > packed.length) throw malformed();
  return { kind, bytes: packed.slice(begin, end), end };
}

function meaningOf({ kind, bytes }: Token): string {
  if (kind === ITSELF) return bytes;
  if (kind === HEX) return latin(bytes).toString("hex");
  if (kind === BYTES) return latin(bytes).toString("base64url");
  const parts: string[] = [];
  unpackInto(bytes, (part) => parts.push(part), false);
  return latin(parts.join("")).toString("base64url");
}

const malformed = (): SkeinError => new SkeinError("BAD_REQUEST", "the body is not packed as it says");
const text = (bytes: Buffer): string => bytes.toString("latin1");
const latin = (packed: string): Buffer => Buffer.from(packed, "latin1");
