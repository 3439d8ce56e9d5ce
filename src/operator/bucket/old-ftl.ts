import { packageNamed, type Package } from "../../bucket/layout.ts";
import { isSkeinError } from "../../lib/errors.ts";

/** One revision in a bucket of FTL's: `my_site.2014061252143ab.tar.gz`. */
export interface OldRevision {
  readonly package: Package;
  /** `2014061252143ab`, or an older form that says no time. */
  readonly revision: string;
  /** What the file is called in the bucket. */
  readonly file: string;
  /** When it was spooled, in ms since the epoch; null where the name does not tell. */
  readonly madeMs: number | null;
}

/** What FTL's versions kept beside revisions: which one is active, and which one was before. */
const MARKS = new Set(["rev", "current", "previous"]);
const NAME = /^([^.]+)\.([A-Za-z0-9_-]+)((?:\.[A-Za-z0-9]+)*)$/;

/** The revisions that names in an FTL bucket tell of, oldest first, by package. Anything else is passed over. Pure. */
export function oldRevisions(names: readonly string[]): ReadonlyMap<string, readonly OldRevision[]> {
  const found = new Map<string, OldRevision[]>();
  for (const file of names) {
    const [, name = "", revision = "", suffix = ""] = NAME.exec(file) ?? [];
    if (name === "" || (MARKS.has(revision) && suffix === "")) continue;
    const named = packageIfAny(name);
    if (named === undefined) continue;
    const all = found.get(name) ?? [];
    all.push({ package: named, revision, file, madeMs: timeIn(revision) });
    found.set(name, all);
  }
  for (const all of found.values()) all.sort((a, b) => (a.madeMs ?? 0) - (b.madeMs ?? 0) || compare(a, b));
  return found;
}

/** The revision that a mark's text means: with its package or without. */
export function markedRevision(name: string, text: string): string | undefined {
  const revision = text.trim().replace(new RegExp(`^${RegExp.escape(name)}\\.`), "");
  return revision === "" ? undefined : revision.split(".")[0];
}

/** `YYYYMMDD`, the second of the day in five digits, and two characters of a digest. */
function timeIn(revision: string): number | null {
  const [, year = "", month = "", day = "", second = ""] =
    /^(\d{4})(\d{2})(\d{2})(\d{5})[0-9a-zA-Z]{2}$/.exec(revision) ?? [];
  if (second === "") return null;
  const midnight = Date.parse(`${year}-${month}-${day}T00:00:00.000Z`);
  return Number.isFinite(midnight) && Number(second) < 86_400 ? midnight + Number(second) * 1000 : null;
}

const compare = (a: OldRevision, b: OldRevision): number => (a.revision < b.revision ? -1 : 1);

function packageIfAny(name: string): Package | undefined {
  try {
    return packageNamed(name);
  } catch (err) {
    if (isSkeinError(err, "USAGE")) return undefined;
    throw err;
  }
}
