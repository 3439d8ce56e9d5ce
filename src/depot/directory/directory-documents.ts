import { constants } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { systemClock } from "../../lib/time/clock.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { asSkeinError, syncDirectory, writeFileAtomic } from "../../lib/disk/files.ts";
import { digestOf } from "../../lib/text/ids.ts";
import {
  checkDocumentName,
  checkDocumentSize,
  documentConflict,
  type DocumentEntry,
  type DocumentStore,
} from "../seam/documents.ts";
import { entriesOf, fileStat, makeFolder } from "./folder-files.ts";
import { lockFolder } from "./folder-lock.ts";

/**
 * Documents as files under a folder, each under its own name; an etag is the content's digest. Writers of all
 * processes take turns (folder-lock.ts), readers never wait: a document appears by rename. `.lock` and `.aside` are
 * the store's own.
 */
export function directoryDocuments(root: string): DocumentStore {
  const name = `dir:${root}`;
  const fileOf = (document: string): string => {
    checkDocumentName(document);
    return path.join(root, document);
  };
  return {
    name,
    conditional: true,
    async read(document, etag, signal) {
      const file = fileOf(document);
      signal.throwIfAborted();
      const bytes = await readDocument(file, document);
      if (bytes === undefined) return undefined;
      const own = digestOf(bytes);
      return own === etag ? "same" : { bytes, etag: own };
    },
    async write(document, bytes, condition, signal) {
      const file = fileOf(document);
      checkDocumentSize(document, bytes.length);
      await makeFolder(path.dirname(file));
      using _turn = await lockFolder(root, systemClock, signal);
      if (condition.if !== undefined) {
        const there = await readDocument(file, document);
        const etag = there === undefined ? null : digestOf(there);
        if (etag !== condition.if) throw documentConflict(name, document);
      }
      faultPoint("documents.compared");
      const aside = path.join(root, ".aside");
      // What a killed writer left: who has the turn is the only one to write here.
      await fs.rm(aside, { force: true });
      await writeFileAtomic(file, bytes, 0o644, aside);
      faultPoint("documents.written");
      return digestOf(bytes);
    },
    list: (prefix, signal) => listDocuments(root, prefix, signal),
    async delete(document, signal) {
      const file = fileOf(document);
      if ((await fileStat(file)) === undefined) return;
      using _turn = await lockFolder(root, systemClock, signal);
      await fs.rm(file, { force: true });
      await syncDirectory(path.dirname(file));
    },
  };
}

async function readDocument(file: string, document: string): Promise<Buffer | undefined> {
  if ((await fileStat(file)) === undefined) return undefined;
  try {
    await using handle = await fs.open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    checkDocumentSize(document, (await handle.stat()).size);
    return await handle.readFile();
  } catch (err) {
    if (errnoOf(err) === "ENOENT") return undefined;
    throw asSkeinError(err, file);
  }
}

async function* listDocuments(
  root: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<DocumentEntry, void> {
  const under = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  if (under !== "") checkDocumentName(under.slice(0, -1));
  const names: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    signal.throwIfAborted();
    for (const entry of await entriesOf(path.join(root, folder))) {
      if (entry.name.startsWith(".")) continue;
      const name = folder + entry.name;
      if (entry.isDirectory()) await walk(`${name}/`);
      else if (entry.isFile() && name.startsWith(prefix)) names.push(name);
    }
  };
  await walk(under);
  for (const name of names.sort()) {
    signal.throwIfAborted();
    const stat = await fileStat(path.join(root, name));
    if (stat !== undefined) yield { name, sizeBytes: stat.size, modifiedMs: stat.mtimeMs };
  }
}
