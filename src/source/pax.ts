import type { SkeinError } from "../lib/errors/errors.ts";
import { UNPACKED } from "./limits.ts";
import { refuse } from "./refuse.ts";
import { utf8 } from "./tar-header.ts";

/** What a pax header may say of the entry after it. */
export interface Pax {
  readonly path?: string;
  readonly linkpath?: string;
  /** Something was said that a release does not keep: extended attributes, access lists. */
  readonly dropped: boolean;
}

/** Times and owners, which a release does not keep: these stand here where they do not fit a header. */
const TIMES = ["mtime", "atime", "ctime", "LIBARCHIVE.creationtime"];
const OWNERS = ["uid", "gid", "uname", "gname"];
const IGNORED = new Set([...TIMES, ...OWNERS, "comment"]);
const DROPPED = /^(SCHILY\.(xattr|acl)|LIBARCHIVE\.xattr)\./;
const CAPABILITY = /xattr\.security\.capability$/;

/** `global`: the header is for the whole archive; git writes one with its commit as a comment, nothing else may. */
export function parsePax(bytes: Buffer, global: boolean): Pax {
  const found: { path?: string; linkpath?: string; dropped: boolean } = { dropped: false };
  for (const [key, value] of records(bytes)) {
    const isName = key === "path" || key === "linkpath";
    if (global ? key !== "comment" : !isName && !IGNORED.has(key) && !DROPPED.test(key)) {
      throw unknown(key, found.path);
    }
    if (CAPABILITY.test(key)) {
      const hint = "Use the service's ambient capabilities instead.";
      throw refuse("ARCHIVE_REFUSED", found.path ?? "(pax header)", "it has file capabilities", hint);
    }
    if (isName) found[key] = utf8(value);
    if (DROPPED.test(key)) found.dropped = true;
  }
  return found;
}

function unknown(key: string, path = "(pax header)"): SkeinError {
  if (key.startsWith("GNU.sparse.")) return refuse("ARCHIVE_REFUSED", path, "it is a sparse file (tar -S)");
  const why = `its pax header has ${key}`;
  // Where tar's own field is too short for a size, that is over what a file of an archive may have.
  if (key === "size")
    return refuse("ARCHIVE_REFUSED", path, `${why}, as that of a file over 8 GiB has`, UNPACKED);
  return refuse("ARCHIVE_REFUSED", path, why);
}

function* records(bytes: Buffer): Generator<[string, Buffer]> {
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 ? "" : bytes.toString("latin1", at, space);
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    const isWhole = /^[1-9][0-9]{0,6}$/.test(digits) && end <= bytes.length && bytes[end - 1] === 0x0a;
    if (!isWhole || equals === -1 || equals >= end) {
      throw refuse("ARCHIVE_REFUSED", "(pax header)", "it is damaged");
    }
    yield [bytes.toString("latin1", space + 1, equals), bytes.subarray(equals + 1, end - 1)];
    at = end;
  }
}
