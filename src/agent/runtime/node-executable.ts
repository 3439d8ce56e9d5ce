import fs from "node:fs";

/** Of the ELF64 header and its program headers (System V ABI, "Object Files"), little-endian. */
const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const PT_NOTE = 4;
const NOTE_HEADER_BYTES = 12;
const MOST_HEADERS = 64;
const MOST_NOTES = 64;

/** As Node's documentation, "Single executable applications", names the note that holds the program. */
const OWNER = "NODE_SEA_BLOB";

/** Is this file Node with a program in it? Only headers are read, however large it is. False where nobody can say. */
export function isNodeExecutable(file: string): boolean {
  let fd: number;
  try {
    fd = fs.openSync(file, "r");
  } catch {
    return false;
  }
  try {
    return noteSegments(fd).some((segment) => hasOwner(fd, segment));
  } catch {
    return false;
  } finally {
    fs.closeSync(fd);
  }
}

interface Segment {
  readonly start: number;
  readonly end: number;
}

function noteSegments(fd: number): Segment[] {
  const header = bytesAt(fd, 0, HEADER_BYTES);
  if (header === undefined || !header.subarray(0, MAGIC.length).equals(MAGIC)) return [];
  const first = Number(header.readBigUInt64LE(32));
  const count = Math.min(header.readUInt16LE(56), MOST_HEADERS);
  const segments: Segment[] = [];
  for (let n = 0; n < count; n++) {
    const program = bytesAt(fd, first + n * PROGRAM_HEADER_BYTES, PROGRAM_HEADER_BYTES);
    if (program?.readUInt32LE(0) !== PT_NOTE) continue;
    const start = Number(program.readBigUInt64LE(8));
    segments.push({ start, end: start + Number(program.readBigUInt64LE(32)) });
  }
  return segments;
}

function hasOwner(fd: number, { start, end }: Segment): boolean {
  let at = start;
  for (let n = 0; n < MOST_NOTES && at < end; n++) {
    const note = bytesAt(fd, at, NOTE_HEADER_BYTES + OWNER.length);
    if (note === undefined) return false;
    const [nameBytes, contentBytes] = [note.readUInt32LE(0), note.readUInt32LE(4)];
    if (note.toString("latin1", NOTE_HEADER_BYTES) === OWNER) return true;
    at += NOTE_HEADER_BYTES + padded(nameBytes) + padded(contentBytes);
  }
  return false;
}

const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

function bytesAt(fd: number, position: number, length: number): Buffer | undefined {
  const buffer = Buffer.alloc(length);
  return fs.readSync(fd, buffer, 0, length, position) === length ? buffer : undefined;
}
