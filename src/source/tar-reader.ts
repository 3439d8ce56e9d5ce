import type { SkeinError } from "../lib/errors/errors.ts";
import type { SourceEntry } from "../release/tree/tree-source.ts";
import { sizeText, UNPACKED, type ArchiveLimits } from "./limits.ts";
import { parsePax, type Pax } from "./pax.ts";
import { refuse } from "./refuse.ts";
import type { Spool } from "./spool.ts";
import { BLOCK, parseHeader, utf8, type TarHeader } from "./tar-header.ts";

/** Longest run of headers before an entry, in bytes. */
const MAX_META = 128 * 1024;
const EXECUTABLE = 0o111;
const SPECIAL = 0o7000;
const SETGID = 0o2000;
const NO_PAX: Pax = { dropped: false };

/** What a hard link may be of. */
type Linkable = Extract<SourceEntry, { readonly kind: "f" | "x" | "l" }>;

/**
 * Reads a tar archive block by block. It refuses rather than repairs: two programs that read one archive differently
 * are how archives have always bitten. Contents go to the spool, never to a path from the archive.
 */
export class TarReader {
  readonly #limits: ArchiveLimits;
  readonly #spool: Spool;
  readonly #linkable = new Map<string, Linkable>();
  readonly entries: SourceEntry[] = [];
  /** Entries of which something was dropped that a release does not keep. */
  readonly dropped: string[] = [];
  #held: Buffer = Buffer.alloc(0);
  /** Content of an entry that is still to come, and the padding after it. */
  #left = 0;
  #padding = 0;
  #meta: { readonly type: string; readonly pieces: Buffer[] } | undefined;
  #metaBytes = 0;
  #pax: Pax = NO_PAX;
  #longName: string | undefined;
  #longLink: string | undefined;
  #zeroBlocks = 0;
  #total = 0;

  constructor(spool: Spool, limits: ArchiveLimits) {
    this.#spool = spool;
    this.#limits = limits;
  }

  push(bytes: Buffer): void {
    let rest = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    for (;;) {
      rest = this.#takeContent(rest);
      // An entry of which more is to come took all that is here.
      if (rest.length < BLOCK) break;
      this.#takeHeader(rest.subarray(0, BLOCK));
      rest = rest.subarray(BLOCK);
    }
    this.#held = Buffer.from(rest);
  }

  end(): void {
    if (this.#held.length > 0 || this.#zeroBlocks < 2) {
      throw refuse(
        "ARCHIVE_REFUSED",
        this.entries.at(-1)?.path ?? "(archive)",
        "the archive is cut off here",
      );
    }
  }

  #takeContent(bytes: Buffer): Buffer {
    const content = bytes.subarray(0, this.#left);
    if (content.length > 0) {
      if (this.#meta === undefined) this.#spool.write(content);
      else this.#meta.pieces.push(Buffer.from(content));
      this.#left -= content.length;
    }
    if (this.#left > 0) return bytes.subarray(content.length);
    this.#endMeta();
    const skipped = Math.min(this.#padding, bytes.length - content.length);
    this.#padding -= skipped;
    return bytes.subarray(content.length + skipped);
  }

  #takeHeader(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      this.#zeroBlocks += 1;
      return;
    }
    if (this.#zeroBlocks > 0) throw refuse("ARCHIVE_REFUSED", "(archive)", "something stands after its end");
    const header = parseHeader(block);
    const { fileBytes } = this.#limits;
    if (header.size > fileBytes) throw tooLarge(header.at, `it is over ${sizeText(fileBytes)}`);
    if ("xgLK".includes(header.type)) this.#beginMeta(header);
    else this.#entry(header);
  }

  #beginMeta(header: TarHeader): void {
    this.#metaBytes += header.size;
    if (this.#metaBytes > MAX_META)
      throw refuse("ARCHIVE_REFUSED", header.at, `its headers are over ${MAX_META} bytes`);
    this.#meta = { type: header.type, pieces: [] };
    this.#expect(header.size);
  }

  #endMeta(): void {
    if (this.#meta === undefined) return;
    const { type, pieces } = this.#meta;
    const bytes = Buffer.concat(pieces);
    this.#meta = undefined;
    if (type === "x" || type === "g") {
      const pax = parsePax(bytes, type === "g");
      if (type === "x") this.#pax = pax;
      return;
    }
    const zero = bytes.indexOf(0);
    const name = utf8(zero === -1 ? bytes : bytes.subarray(0, zero));
    if (type === "L") this.#longName = name;
    else this.#longLink = name;
  }

  #expect(size: number): void {
    this.#left = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
  }

  #entry(header: TarHeader): void {
    const name = this.#pax.path ?? this.#longName ?? header.name();
    const path = trimmed(name);
    const link = this.#pax.linkpath ?? this.#longLink;
    if (this.#pax.dropped) this.dropped.push(path);
    this.#pax = NO_PAX;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#metaBytes = 0;
    const type = typeOf(header, name);
    const isRoot = path === "" || path === ".";
    if (isRoot && type === "5") return;
    if (this.entries.length >= this.#limits.entries) {
      throw tooLarge(path, `the archive has more than ${this.#limits.entries} entries`);
    }
    this.entries.push(this.#toEntry({ ...header, type }, path, () => link ?? header.link()));
  }

  #toEntry(header: TarHeader, path: string, target: () => string): SourceEntry {
    const special = header.mode & SPECIAL;
    // A folder's setgid bit is a habit of shared machines and means nothing in a release.
    if (header.type !== "2" && special !== 0 && !(header.type === "5" && special === SETGID)) {
      throw refuse("ARCHIVE_REFUSED", path, "it is setuid, setgid or sticky");
    }
    const fault = nameFault(path);
    if (fault !== undefined) throw refuse("ARCHIVE_REFUSED", path, fault);
    if (header.type === "0") return this.#file(header, path);
    if (!"125".includes(header.type)) throw refuse("ARCHIVE_REFUSED", path, `it is ${describe(header.type)}`);
    if (header.size !== 0) throw refuse("ARCHIVE_REFUSED", path, "it has content and is not a file");
    if (header.type === "5") return { kind: "d", path };
    if (header.type === "2") return this.#known({ kind: "l", path, target: target() });
    return this.#hardLink(path, target());
  }

  #file(header: TarHeader, path: string): Linkable {
    this.#count(header.size, path);
    this.#expect(header.size);
    const kind = (header.mode & EXECUTABLE) === 0 ? "f" : "x";
    const content = this.#spool.contentAt(this.#spool.end);
    return this.#known({ kind, path, size: header.size, content, stamp: null, changedMs: 0 });
  }

  #known(entry: Linkable): Linkable {
    this.#linkable.set(entry.path, entry);
    return entry;
  }

  /** A hard link is a row of its own with the same content, or the same text where it is of a symbolic link. */
  #hardLink(path: string, target: string): Linkable {
    const entry = this.#linkable.get(trimmed(target));
    if (entry === undefined)
      throw refuse("ARCHIVE_REFUSED", path, `it is a link to ${target}, which is not before it`);
    if (entry.kind !== "l") this.#count(entry.size, path);
    return this.#known({ ...entry, path });
  }

  #count(bytes: number, path: string): void {
    this.#total += bytes;
    const { totalBytes } = this.#limits;
    if (this.#total > totalBytes)
      throw tooLarge(path, `the archive's files are over ${sizeText(totalBytes)}`);
  }
}

const tooLarge = (path: string, reason: string): SkeinError =>
  refuse("ARCHIVE_REFUSED", path, reason, UNPACKED);

/** Archives from before there were types tell a folder by its name. */
function typeOf({ type, size }: TarHeader, name: string): string {
  const isFile = type === "0" || type === "\0";
  if (isFile && name.endsWith("/") && size === 0) return "5";
  return isFile ? "0" : type;
}

function trimmed(name: string): string {
  return name.replace(/^(\.\/)+/, "").replace(/\/$/, "");
}

/** What an archive's names may not be, beyond what no path in a tree may be. */
function nameFault(path: string): string | undefined {
  if (path.includes("\\")) return "the path holds a backslash";
  if (/^[A-Za-z]:/.test(path)) return "the path begins with a drive";
  if (path !== path.normalize("NFC")) return "the path is not in Unicode's composed form";
  return undefined;
}

function describe(type: string): string {
  const names: Readonly<Record<string, string>> = {
    "3": "a device",
    "4": "a device",
    "6": "a FIFO",
    "7": "a contiguous file",
    S: "a sparse file (tar -S)",
  };
  return names[type] ?? `an entry of unknown type ${JSON.stringify(type)}`;
}
