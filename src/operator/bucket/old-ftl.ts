import { packageNamed, ROOT_NAME, type Package } from "../../bucket/layout.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { ftlTime } from "./ftl-archive.ts";

/** One revision in a bucket of FTL's: `my_site.2014061252143ab.tar.gz`. */
export interface OldRevision {
  readonly package: Package;
  /** `2014061252143ab`, or as older versions wrote it: `054aR4G0L`. */
  readonly revision: string;
  /** What the file is called in the bucket. */
  readonly file: string;
  /** When it was spooled, in ms since the epoch; null where the name does not tell. */
  readonly madeMs: number | null;
}

/** What FTL's versions kept beside revisions: which one is active, and which one was before. */
const MARKS = new Set(["rev", "current", "previous"]);
const NAME = /^([^.]+)\.([\w~-]+)((?:\..*)?)$/;
/** What `spool --layout ftl` wrote: it is known already. So is the root beside it. */
const OURS = /^\d{17}-[0-9a-f]{8}$/;

/** The revisions that names in an FTL bucket tell of, oldest first, by package. Anything else is passed over. Pure. */
export function oldRevisions(names: readonly string[]): ReadonlyMap<string, readonly OldRevision[]> {
  const found = Map.groupBy(
    names.flatMap((file) => oldRevision(file) ?? []),
    (one) => one.package.name,
  );
  for (const all of found.values()) all.sort(compare);
  return found;
}

const compare = (a: OldRevision, b: OldRevision): number =>
  (a.madeMs ?? 0) - (b.madeMs ?? 0) || (a.revision < b.revision ? -1 : 1);

function oldRevision(file: string): OldRevision | undefined {
  const [, name = "", revision = "", suffix = ""] = NAME.exec(file) ?? [];
  const isMark = MARKS.has(revision) && suffix === "";
  if (name === "" || isMark || OURS.test(revision) || file === ROOT_NAME) return undefined;
  const named = packageIfAny(name);
  return named && { package: named, revision, file, madeMs: ftlTime(revision) };
}

/** The revision that a mark's text means: with its package or without. */
export function markedRevision(name: string, text: string): string | undefined {
  const revision = text.trim().replace(new RegExp(`^${RegExp.escape(name)}\\.`), "");
  return revision === "" ? undefined : revision.split(".")[0];
}

function packageIfAny(name: string): Package | undefined {
  try {
    return packageNamed(name);
  } catch (err) {
    if (isSkeinError(err, "USAGE")) return undefined;
    throw err;
  }
}
