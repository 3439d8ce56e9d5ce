import fs from "node:fs";
import path from "node:path";
import { createGunzip } from "node:zlib";
import { isSkeinError, messageOf, SkeinError } from "../lib/errors/errors.ts";
import { asSkeinError } from "../lib/disk/files.ts";
import { arrange } from "../release/tree/arrange.ts";
import type { SourceEntry, TreeSource } from "../release/tree/tree-source.ts";
import { stampOf } from "./directory.ts";
import { ARCHIVE_LIMITS, sizeText, UNPACKED, type ArchiveLimits } from "./limits.ts";
import { refuse } from "./refuse.ts";
import { Spool } from "./spool.ts";
import { BLOCK, beginsAsTar } from "./tar-header.ts";
import { TarReader } from "./tar-reader.ts";

export interface PackedOptions {
  readonly limits?: ArchiveLimits;
  /** Folder for what is unpacked. Default: the system's. */
  readonly scratch?: string;
}

/** Whoever gives one of these likely means what is in it. */
const OTHER_ARCHIVE = /\.(zip|7z|rar|tar\.\w+|tbz2?|txz|tzst)$/i;
const GZIP = Buffer.from([0x1f, 0x8b]);
/** Inflated bytes before the ratio counts: small files may be very regular. */
const FREE_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;

/**
 * One file as a source, judged by its content: a tar archive, compressed or not, is its entries; any other gzip file
 * is what it inflates to; everything else is kept as it is, and runs if it may be executed.
 * @throws SkeinError SOURCE_NOT_FOUND, ARCHIVE_REFUSED, INTERRUPTED
 */
export async function packedSource(
  file: string,
  signal: AbortSignal,
  options: PackedOptions = {},
): Promise<TreeSource> {
  const { start, stat } = inspect(file);
  const name = path.basename(file);
  if (start.subarray(0, 2).equals(GZIP)) return await gzipSource(file, name, stat, signal, options);
  if (!beginsAsTar(start)) return plainFile(file, name, stat);
  const spool = new Spool(options.scratch);
  const reader = new TarReader(spool, options.limits ?? ARCHIVE_LIMITS);
  return await disposing(spool, signal, async () => {
    for await (const piece of fs.createReadStream(file, { signal, highWaterMark: READ_BYTES })) {
      reader.push(piece as Buffer);
    }
    return archive(name, reader, spool);
  });
}

function inspect(file: string): { start: Buffer; stat: fs.Stats } {
  try {
    const fd = fs.openSync(file, "r");
    try {
      const stat = fs.fstatSync(fd);
      if (!stat.isFile())
        throw new SkeinError("SOURCE_NOT_FOUND", `${file} is not a file`, { data: { path: file } });
      const start = Buffer.alloc(BLOCK);
      return { start: start.subarray(0, fs.readSync(fd, start, 0, BLOCK, 0)), stat };
    } finally {
      fs.closeSync(fd);
    }
  } catch (err) {
    throw asSkeinError(err, file);
  }
}

function plainFile(file: string, name: string, stat: fs.Stats): TreeSource {
  const content = { file: fs.realpathSync(file), offset: 0 };
  const changedMs = Math.max(stat.mtimeMs, stat.ctimeMs);
  const entry = { path: name, size: stat.size, content, stamp: stampOf(stat), changedMs };
  const cacheKey = `file:${path.resolve(file)}`;
  const notes = OTHER_ARCHIVE.test(name) ? [`${name} stays one file: only tar and tar.gz are unpacked`] : [];
  return source("file", name, cacheKey, [{ kind: kindOf(stat), ...entry }], notes, undefined);
}

const kindOf = (stat: fs.Stats): "x" | "f" => ((stat.mode & 0o100) === 0 ? "f" : "x");

/** Inflates into the spool; whether it was an archive shows in its first block. */
async function gzipSource(
  file: string,
  name: string,
  stat: fs.Stats,
  signal: AbortSignal,
  options: PackedOptions,
): Promise<TreeSource> {
  const limits = options.limits ?? ARCHIVE_LIMITS;
  const spool = new Spool(options.scratch);
  const reader = new TarReader(spool, limits);
  let isTar: boolean | undefined;
  let held: Buffer = Buffer.alloc(0);
  const feed = (bytes: Buffer): void => {
    if (isTar === true) reader.push(bytes);
    else spool.write(bytes);
  };
  return await disposing(spool, signal, async () => {
    for await (const piece of inflated(file, name, limits, signal)) {
      if (isTar === undefined) {
        held = Buffer.concat([held, piece]);
        if (held.length < BLOCK) continue;
        isTar = beginsAsTar(held);
        feed(held);
      } else feed(piece);
    }
    if (isTar === true) return archive(name, reader, spool);
    if (isTar === undefined) spool.write(held);
    const path = name.replace(/\.gz$/i, "");
    const content = spool.contentAt(0);
    const entry = { kind: kindOf(stat), path, size: spool.end, content, stamp: null, changedMs: 0 };
    return source("file", name, null, [entry], [], spool);
  });
}

async function* inflated(
  file: string,
  name: string,
  limits: ArchiveLimits,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const input = fs.createReadStream(file, { signal, highWaterMark: READ_BYTES });
  const gunzip = createGunzip();
  input.on("error", (err) => gunzip.destroy(err));
  const most = limits.totalBytes + limits.entries * 2 * BLOCK;
  let out = 0;
  try {
    for await (const piece of input.pipe(gunzip)) {
      out += (piece as Buffer).length;
      const isBomb = out > FREE_BYTES && out > input.bytesRead * limits.ratio;
      if (isBomb)
        throw refuse("ARCHIVE_REFUSED", name, `it inflates to more than ${limits.ratio} times its size`);
      if (out > most)
        throw refuse("ARCHIVE_REFUSED", name, `it inflates to more than ${sizeText(most)}`, UNPACKED);
      yield piece as Buffer;
    }
  } catch (err) {
    if (signal.aborted || isSkeinError(err)) throw err;
    throw refuse("ARCHIVE_REFUSED", name, `it cannot be inflated (${messageOf(err)})`);
  } finally {
    input.destroy();
  }
}

function archive(name: string, reader: TarReader, spool: Spool): TreeSource {
  reader.end();
  try {
    arrange(reader.entries);
  } catch (err) {
    if (!isSkeinError(err, "TREE_REFUSED")) throw err;
    throw new SkeinError("ARCHIVE_REFUSED", err.message, { data: err.data, cause: err });
  }
  const count = reader.dropped.length;
  const notes = count === 0 ? [] : [`extended attributes and access lists of ${count} entries are left out`];
  return source("archive", name, null, reader.entries, notes, spool);
}

function source(
  kind: TreeSource["kind"],
  name: string,
  cacheKey: string | null,
  entries: readonly SourceEntry[],
  notes: readonly string[],
  spool: Spool | undefined,
): TreeSource {
  return {
    kind,
    name,
    commit: null,
    cacheKey,
    notes,
    entries: async () => entries,
    [Symbol.asyncDispose]: async () => spool?.[Symbol.dispose](),
  };
}

/** The spool belongs to the source that `make` returns; it is closed when there is none. */
async function disposing(
  spool: Spool,
  signal: AbortSignal,
  make: () => Promise<TreeSource>,
): Promise<TreeSource> {
  try {
    return await make();
  } catch (err) {
    spool[Symbol.dispose]();
    signal.throwIfAborted();
    throw err;
  }
}
