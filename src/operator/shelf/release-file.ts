import fs from "node:fs";
import path from "node:path";
import { addAbortSignal, Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { directoryDepot } from "../../depot/directory/directory.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { asideOf, asSkeinError, refuseNoFolder, removeLeft, syncDirectory } from "../../lib/disk/files.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { decodeExport, encodeExport, type ExportHead } from "../../release/export/export-file.ts";
import { gatherExport, keepImport } from "../../release/export/export-release.ts";
import { seesRetired } from "../../release/upkeep/retired.ts";
import type { Release } from "../../trust/document/documents.ts";
import { openRelease } from "../../trust/orders/orders.ts";
import { announce, type Doer } from "../tell/dry-run.ts";
import { releaseDeed } from "../release/release.ts";
import { scratch } from "../source/source.ts";
import { newerChain, type Shelf } from "./shelf.ts";

export interface ExportWish {
  readonly app: string;
  /** As the shelf finds it. */
  readonly version: string;
  /** Leave out what this release of the app has; null: leave out nothing. */
  readonly from: string | null;
  /** Where it is written: a file, which is replaced when all is well, or a stream, which is left open. */
  readonly file: string | Writable;
  /** The cluster's fingerprint. */
  readonly pin: Digest;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface ReleaseFile {
  readonly app: string;
  readonly id: ReleaseId;
  readonly bytes: number;
}

/**
 * Writes a release into one file: its document, the charters that vouch for it, and its bytes.
 * @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS, CHARTER_*, DOC_*, NOT_FOUND (no folder for it), DISK_FULL, IO; whatever
 *   the depot throws
 */
export async function exportRelease(shelf: Shelf, wish: ExportWish): Promise<ReleaseFile> {
  const { app, version, from, file, signal } = wish;
  if (typeof file === "string") refuseNoFolder(file);
  await using stack = new AsyncDisposableStack();
  const staging = directoryDepot(scratch(stack));
  const charters = await shelf.charters(signal);
  const { charter } = newerChain(wish.pin, [charters], wish.clock.now());
  const check = async (word: string) => {
    const release = await shelf.find(app, word, charter, signal);
    return { release, ...openRelease(charter, release, wish.clock.now()) };
  };
  const { release, body, id } = await check(version);
  const earlier = from === null ? null : await check(from);
  const depot = seesRetired(shelf.depot);
  const blobs = await gatherExport({ tree: body, from: earlier?.body.tree ?? null, depot, staging, signal });
  const base = earlier && { release: earlier.id, tree: earlier.body.tree };
  const head: ExportHead = { charters: [...charters], release, from: base, blobs };
  const whole = new Counted(encodeExport(head, staging, signal));
  if (typeof file === "string") await writeWhole(file, whole);
  else await pipeline(whole, file, { end: false, signal });
  return { app: body.app, id, bytes: whole.bytes };
}

export interface ImportWish extends Doer {
  /** A file, or what comes as one. */
  readonly file: string | Readable;
  /** The cluster's fingerprint. */
  readonly pin: Digest;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Imported extends ReleaseFile {
  /** The shelf's depot had all of it before. */
  readonly already: boolean;
}

/**
 * Takes a release out of a file onto a shelf. Everything is proved first: the charters against the fingerprint, the
 * document against the charter, every byte against the document. Until then the shelf is not touched.
 * @throws SkeinError EXPORT_DAMAGED, EXPORT_NEEDS, CHARTER_PIN, DOC_*, DISK_FULL, IO; whatever the shelf throws
 */
export async function importRelease(shelf: Shelf, wish: ImportWish): Promise<Imported> {
  const { file, pin, clock, signal } = wish;
  await using stack = new AsyncDisposableStack();
  const folder = scratch(stack);
  const staging = directoryDepot(folder);
  const least = typeof file === "string" ? sizeOf(file) : 0;
  const there = await shelf.charters(signal);
  const prove = ({ charters, release }: ExportHead) => {
    const { charter, chain } = newerChain(pin, [there, charters], clock.now());
    return { chain, ...openRelease(charter, release, clock.now()) };
  };
  const accept = async (head: ExportHead): Promise<void> => {
    prove(head);
    refuseWithoutRoom(folder, head, least);
  };
  const source = typeof file === "string" ? fs.createReadStream(file) : addAbortSignal(signal, file);
  const whole = new Counted(source);
  const head = await decodeExport(whole, staging, accept, signal);
  const { body, id, chain } = prove(head);
  const tree: Release = body;
  announce(wish, () => releaseDeed(id, body));
  const brought = await keepImport({ tree, head, staging, depot: shelf.depot, signal });
  faultPoint("import.blobs");
  await shelf.post(head.release, chain, signal);
  return { app: body.app, id, bytes: whole.bytes, already: !brought };
}

/** The same bytes; how many there were is known when they have passed. */
class Counted implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>;
  bytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for await (const piece of this.#source) {
      this.bytes += piece.length;
      yield piece;
    }
  }
}

function sizeOf(file: string): number {
  try {
    const found = fs.statSync(file);
    if (found.isFile()) return found.size;
    throw new SkeinError("SOURCE_NOT_FOUND", `${file} is no file`, {
      hint: "Name what skein release export wrote.",
      data: { file },
    });
  } catch (err) {
    if (errnoOf(err) !== "ENOENT") throw asSkeinError(err, file);
    throw new SkeinError("SOURCE_NOT_FOUND", `there is no file ${file}`, {
      hint: "Name what skein release export wrote.",
      data: { file },
    });
  }
}

/** @throws SkeinError DISK_FULL */
function refuseWithoutRoom(folder: string, { blobs }: ExportHead, bytes: number): void {
  const needed = Math.max(
    bytes,
    blobs.reduce((sum, { size }) => sum + size, 0),
  );
  const { bavail, bsize } = fs.statfsSync(folder);
  if (needed < bavail * bsize) return;
  throw new SkeinError("DISK_FULL", `${folder} has no room for the ${needed} bytes of the release`, {
    hint: "Set TMPDIR to a folder with more room.",
    data: { path: folder, needed, free: bavail * bsize },
  });
}

/** Beside, flushed, then by rename: what is there under the name is whole. Of several at once the last one stays. */
async function writeWhole(file: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const part = asideOf(file);
  try {
    removeLeft(path.dirname(file), path.basename(file));
  } catch {
    // A folder that may be written to need not be one that may be listed.
  }
  try {
    await pipeline(Readable.from(bytes), fs.createWriteStream(part, { flags: "wx", flush: true }));
    faultPoint("export.written");
    await fs.promises.rename(part, file);
    await syncDirectory(path.dirname(path.resolve(file)));
  } catch (err) {
    await fs.promises.rm(part, { force: true });
    throw asSkeinError(err, file);
  }
}
