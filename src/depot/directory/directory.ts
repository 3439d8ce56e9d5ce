import { createHash } from "node:crypto";
import { constants } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { asSkeinError, madeFolders, syncDirectory } from "../../lib/disk/files.ts";
import { errnoOf, isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { checkBlobName } from "../seam/blob-name.ts";
import { entriesOf, fileStat, makeFolder } from "./folder-files.ts";
import { freeBytes, giveBack, isTaken, take } from "./upload-file.ts";
import type {
  BlobEntry,
  BlobSource,
  ByteRange,
  ReceivingDepot,
  UploadInfo,
  UploadState,
} from "../seam/depot.ts";

/**
 * A depot in a folder: `blobs/<name>` for whole blobs, `uploads/<name>.<sha256>` for what has arrived of a blob so
 * far. A blob appears by rename, after its hash was checked and its bytes were flushed.
 */
export interface DirectoryDepot extends ReceivingDepot {
  /** The folder. */
  readonly root: string;
  sweepUploads(olderThanMs: number, nowMs: number, signal?: AbortSignal): Promise<number>;
}

const READ_BYTES = 256 * 1024;
/** To the system at once: 16 MiB in one call take it two to four times as long as in pieces of this size. */
const WRITE_BYTES = 1024 * 1024;
/** What stays free beside an upload; half of it beside one that is smaller than `LARGE_BYTES`. */
const LEFT_FREE_BYTES = 16 * 1024 * 1024;
const LARGE_BYTES = 1024 * 1024;
/** Of a file name; an upload's has 30 to spare for who has taken it (upload-file.ts). */
const MAX_UPLOAD_FILE_BYTES = 255 - 30;

interface Modes {
  readonly folder: number;
  readonly file: number;
}

/** What is its user's alone, such as a hub's depot. */
const OWN: Modes = { folder: 0o700, file: 0o600 };
/** What several users publish to and read from, as their umasks and the folder's own mode let them. */
const SHARED: Modes = { folder: 0o777, file: 0o666 };

/** `isShared`: what is in it is not its user's alone. */
export function directoryDepot(root: string, { isShared = false } = {}): DirectoryDepot {
  const modes = isShared ? SHARED : OWN;
  const blobs = path.join(root, "blobs");
  const uploads = path.join(root, "uploads");
  const fileOf = (name: string): string => {
    checkBlobName(name);
    return path.join(blobs, name);
  };
  const uploadOf = (name: string, sha256: string): string => path.join(uploads, uploadName(name, sha256));
  const append: DirectoryDepot["append"] = async (name, blob, offset, data) =>
    await appendTo(
      { upload: uploadOf(name, blob.sha256), final: fileOf(name), name, modes },
      blob,
      offset,
      data,
    );
  return {
    kind: "directory",
    name: `dir:${root}`,
    root,
    address: root,
    scratch: root,
    append,
    uploaded: async (name, sha256) => await freeBytes(uploadOf(name, sha256)),
    has: async (names) => {
      const there = await Promise.all(names.map(async (name) => await fileStat(fileOf(name))));
      return new Set(names.filter((_, i) => there[i] !== undefined));
    },
    get: (name, signal, range) => read(fileOf(name), name, signal, range),
    list: (prefix, signal) => listFiles(blobs, prefix, signal),
    entries: (prefix, signal) => listEntries(blobs, prefix, signal),
    rename: async (from, to) => await rename(fileOf(from), fileOf(to), from),
    put: async (name, blob, signal) => {
      if ((await fileStat(fileOf(name)))?.size === blob.size && isContentNamed(name)) return;
      signal.throwIfAborted();
      const have = Math.min(await freeBytes(uploadOf(name, blob.sha256)), blob.size);
      const send = async (offset: number): Promise<UploadState> =>
        await append(name, blob, offset, stoppable(blob, offset, signal));
      // Somebody else may take up the same cut upload first: then this one begins anew.
      const state = await send(have).catch(async (err: unknown) => {
        if (isSkeinError(err, "CONFLICT")) return await send(0);
        throw err;
      });
      if (state.done) return;
      throw new SkeinError("CHUNK_CORRUPT", `${name} is shorter than announced`, { data: { blob: name } });
    },
    delete: async (name) => {
      await fs.rm(fileOf(name), { force: true });
    },
    sweepUploads: (olderThanMs, nowMs) => sweep(uploads, nowMs - olderThanMs),
  };
}

interface Upload {
  readonly upload: string;
  readonly final: string;
  readonly name: string;
  readonly modes: Modes;
}

async function appendTo(
  { upload, final, name, modes }: Upload,
  blob: UploadInfo,
  offset: number,
  data: AsyncIterable<Uint8Array>,
): Promise<UploadState> {
  const uploads = path.dirname(upload);
  await madeFolders(uploads, modes.folder);
  const own = await take(upload);
  try {
    using held = await holdRoom(uploads, final, blob.size - offset);
    void held;
    const { arrived, sum } = await receive({ file: own, mode: modes.file }, blob, offset, data);
    if (arrived < blob.size) return { offset: arrived, done: false };
    await finish(own, final, name, blob, sum);
    return { offset: arrived, done: true };
  } catch (err) {
    const failure = asSkeinError(err, final);
    // Nobody can go on with it until there is room, and it takes the last of that.
    if (isSkeinError(failure, "DISK_FULL")) await fs.rm(own, { force: true });
    throw failure;
  } finally {
    await giveBack(upload, own);
  }
}

/** @throws SkeinError BAD_REQUEST */
function uploadName(name: string, sha256: string): string {
  checkBlobName(name);
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new SkeinError("BAD_REQUEST", "an upload needs its SHA-256");
  const file = `${name.replaceAll("/", "+")}.${sha256}`;
  if (file.length <= MAX_UPLOAD_FILE_BYTES) return file;
  throw new SkeinError("BAD_REQUEST", `the name of this blob is too long to upload: ${name}`, {
    data: { blob: name },
  });
}

/** A blob whose name is its digest need not be written over: what is there is the same. */
const isContentNamed = (name: string): boolean => /\/[0-9a-f]{64}$/.test(name) && !name.startsWith("index/");

async function* stoppable(blob: BlobSource, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
  for await (const piece of blob.open(offset)) {
    signal.throwIfAborted();
    yield piece;
  }
}

/** Folder → bytes that are to come of uploads under way. What has come of them counts twice: they end soon. */
const toCome = new Map<string, number>();

/**
 * One that does not fit is refused before it fills the disk on which others write, too.
 * @throws SkeinError DISK_FULL
 */
async function holdRoom(dir: string, final: string, bytes: number): Promise<Disposable> {
  const { bavail, bsize } = await fs.statfs(dir);
  const others = toCome.get(dir) ?? 0;
  const free = bavail * bsize - others;
  if (bytes + (bytes < LARGE_BYTES ? LEFT_FREE_BYTES / 2 : LEFT_FREE_BYTES) <= free) {
    toCome.set(dir, others + bytes);
    return { [Symbol.dispose]: () => void toCome.set(dir, (toCome.get(dir) ?? 0) - bytes) };
  }
  throw new SkeinError("DISK_FULL", `${final}: ${bytes} bytes are to come, and ${free} are free`, {
    data: { path: final, bytes, free },
  });
}

/** Writes what arrives at `offset`; what was there beyond it is dropped. */
async function receive(
  { file, mode }: { readonly file: string; readonly mode: number },
  { size, sha256, inMemory = false }: UploadInfo,
  offset: number,
  data: AsyncIterable<Uint8Array>,
): Promise<{ readonly arrived: number; readonly sum: string | undefined }> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
  await using handle = await fs.open(file, flags, mode);
  const { size: have } = await handle.stat();
  if (offset > have) {
    throw new SkeinError("CONFLICT", `only ${have} bytes of the upload are here`, { data: { offset: have } });
  }
  const sum = inMemory ? undefined : createHash("sha256");
  let at = offset;
  await handle.truncate(offset);
  for await (const piece of data) {
    if (at + piece.length > size) throw new SkeinError("CHUNK_CORRUPT", "more bytes than announced");
    for (let done = 0; done < piece.length;) {
      const length = Math.min(piece.length - done, WRITE_BYTES);
      done += (await handle.write(piece, done, length, at + done)).bytesWritten;
    }
    sum?.update(piece);
    at += piece.length;
    faultPoint("depot.received");
  }
  // What came before a cut was hashed by nobody here.
  return { arrived: at, sum: offset === 0 ? (sum?.digest("hex") ?? sha256) : undefined };
}

async function finish(
  file: string,
  final: string,
  name: string,
  { sha256, prove }: UploadInfo,
  sum: string | undefined,
): Promise<void> {
  {
    await using handle = await fs.open(file, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      if ((sum ?? (await hashOf(handle))) !== sha256) throw differs(name);
      await prove?.(async ({ start, end }) => await readRange(handle, start, end));
    } catch (err) {
      await fs.rm(file, { force: true });
      throw err;
    }
    await handle.sync();
  }
  const dir = path.dirname(final);
  await makeFolder(dir);
  faultPoint("depot.checked");
  await fs.rename(file, final);
  faultPoint("depot.renamed");
  await syncDirectory(dir);
}

function differs(name: string): SkeinError {
  return new SkeinError("CHUNK_CORRUPT", `${name} arrived with other bytes than announced`, {
    data: { blob: name },
  });
}

async function readRange(handle: fs.FileHandle, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(end - start);
  let at = 0;
  while (at < buffer.length) {
    const { bytesRead } = await handle.read(buffer, at, buffer.length - at, start + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return buffer.subarray(0, at);
}

async function hashOf(handle: fs.FileHandle): Promise<string> {
  const sum = createHash("sha256");
  const options = { autoClose: false, start: 0, highWaterMark: READ_BYTES };
  for await (const piece of handle.createReadStream(options)) sum.update(piece as Buffer);
  return sum.digest("hex");
}

async function* read(
  file: string,
  name: string,
  signal: AbortSignal,
  range: ByteRange | undefined,
): AsyncIterable<Uint8Array> {
  if ((await fileStat(file)) === undefined) throw missing(name);
  let handle: fs.FileHandle;
  try {
    handle = await fs.open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (err) {
    throw errnoOf(err) === "ENOENT" ? missing(name) : asSkeinError(err, file);
  }
  try {
    const end = range?.end ?? Infinity;
    for (let at = range?.start ?? 0; at < end;) {
      signal.throwIfAborted();
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

function missing(name: string): SkeinError {
  return new SkeinError("BLOB_MISSING", `the depot has no ${name}`, { data: { blob: name } });
}

async function* listFiles(root: string, prefix: string, signal: AbortSignal): AsyncIterable<string> {
  const slash = prefix.lastIndexOf("/") + 1;
  const folder = prefix.slice(0, slash);
  if (folder !== "") checkBlobName(folder.slice(0, -1));
  const names: string[] = [];
  const walk = async (under: string): Promise<void> => {
    signal.throwIfAborted();
    for (const entry of await entriesOf(path.join(root, under))) {
      const name = under + entry.name;
      if (entry.isDirectory()) await walk(`${name}/`);
      else if (name.startsWith(prefix)) names.push(name);
    }
  };
  await walk(folder);
  yield* names.sort();
}

async function* listEntries(root: string, prefix: string, signal: AbortSignal): AsyncIterable<BlobEntry> {
  for await (const name of listFiles(root, prefix, signal)) {
    const sizeBytes = (await fileStat(path.join(root, name)))?.size;
    if (sizeBytes !== undefined) yield { name, sizeBytes };
  }
}

async function rename(from: string, to: string, name: string): Promise<void> {
  const dir = path.dirname(to);
  try {
    await makeFolder(dir);
    await fs.rename(from, to);
  } catch (err) {
    throw errnoOf(err) === "ENOENT" ? missing(name) : asSkeinError(err, from);
  }
  await syncDirectory(dir);
  await syncDirectory(path.dirname(from));
}

/** Whoever it belonged to was done with it first. */
function gone(err: unknown): undefined {
  if (errnoOf(err) !== "ENOENT") throw err;
}

async function sweep(uploads: string, before: number): Promise<number> {
  let removed = 0;
  for (const entry of await entriesOf(uploads)) {
    const file = path.join(uploads, entry.name);
    const stat = await fs.lstat(file).catch(gone);
    if (stat === undefined || stat.mtimeMs >= before || isTaken(file)) continue;
    await fs.rm(file, { force: true });
    removed += 1;
  }
  return removed;
}
