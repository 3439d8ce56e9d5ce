import fs from "node:fs";
import path from "node:path";
import { errnoOf, isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { asideDir, installsDir, releaseIn, toldFile } from "../record/install-record.ts";
import { removeTree } from "./remove-tree.ts";

/**
 * What nothing can be done about: an immutable file, somebody else's folder, a broken sector. It makes way for what is
 * to have its name, holds up nothing else, and is told once.
 */

/** Told of what stays. */
export type OnStuck = (failure: SkeinError) => void;

/** Of a file or folder that the system lets nobody remove or change; a full or a read-only disk is another matter. */
const STUCK = ["EPERM", "EACCES", "EBUSY", "EIO", "EUCLEAN", "ENOTEMPTY"];

/** Is it about a file that stays as it is, whatever is done? */
export function isStuck(err: unknown): boolean {
  const errno = isSkeinError(err, "IO") ? String(err.data["errno"]) : errnoOf(err);
  return errno !== undefined && STUCK.includes(errno);
}

/**
 * Removes one of a release's folders beside the records. What stays of it makes way, where it can, and goes with the
 * release whose name it has. Never throws: it is in nobody's way.
 * @returns whether the name is free
 */
export function clearAway(dir: string, onStuck: OnStuck = () => undefined): boolean {
  const stays = removed(dir);
  if (stays === undefined) return true;
  const installs = path.dirname(dir);
  const id = releaseIn(path.basename(dir));
  const aside =
    id === undefined || isSkeinError(stays, "MOUNTED") ? dir : asideDir(path.dirname(installs), id);
  const isFree = aside !== dir && moved(dir, aside);
  const failure = isFree ? elsewhere(stays, dir, aside) : stays;
  if (id === undefined || isNews(path.dirname(installs), id, failure)) onStuck(failure);
  return isFree;
}

/** As a rename, where one can be made. @returns whether it was */
export function moved(from: string, to: string): boolean {
  try {
    fs.renameSync(from, to);
    return true;
  } catch (err) {
    if (isStuck(err)) return false;
    throw err;
  }
}

/** What is told of a release is noted beside its record. @returns false where it is noted already */
export function isNews(revs: string, release: ReleaseId, { message }: SkeinError): boolean {
  const file = toldFile(revs, release);
  try {
    if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === message) return false;
    if (fs.existsSync(installsDir(revs))) fs.writeFileSync(file, message, { mode: 0o600 });
  } catch {
    // Then it is told again.
  }
  return true;
}

/** @returns why it is not */
function removed(dir: string): SkeinError | undefined {
  try {
    removeTree(dir);
    return undefined;
  } catch (err) {
    return err instanceof SkeinError ? err : new SkeinError("IO", `${dir} cannot be removed`, { cause: err });
  }
}

/** The same of a folder that has another name now. */
function elsewhere(failure: SkeinError, from: string, to: string): SkeinError {
  const { code, message, hint, data, cause } = failure;
  const place = String(data["path"]).replace(from, to);
  return new SkeinError(code, message.replace(from, to), { hint, data: { ...data, path: place }, cause });
}
