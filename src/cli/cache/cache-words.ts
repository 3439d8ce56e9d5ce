import { revisionWord, type RevisionWord } from "../../bucket/layout.ts";
import { momentFlag, usage } from "../command/grammar.ts";

export interface CacheGcFlags {
  readonly count?: string;
  readonly older?: string;
}

export interface CacheGcWords {
  readonly count?: number;
  /** In ms since the epoch. */
  readonly before?: number;
}

/** `count N` and `older DATE`, as words or with dashes. All pure. @throws SkeinError USAGE */
export function cacheGcWords(words: readonly string[], flags: CacheGcFlags, now: number): CacheGcWords {
  const given = pairsOf(words, new Map<string, string>(Object.entries(flags)));
  const [count, older] = [given.get("count"), given.get("older")];
  if (count === undefined && older === undefined) {
    throw usage("what may go?", "skein cache gc count 3 keeps three; older 3d; skein cache flush: all.");
  }
  if (count !== undefined && !/^\d{1,6}$/.test(count))
    throw usage(`${count} is no number of releases`, "skein cache gc count 3");
  return {
    ...(count === undefined ? {} : { count: Number(count) }),
    ...(older === undefined ? {} : { before: momentFlag(older, now) }),
  };
}

function pairsOf(words: readonly string[], given: Map<string, string>): ReadonlyMap<string, string> {
  for (let at = 0; at < words.length; at += 2) {
    const [what = "", value] = words.slice(at, at + 2);
    if (what !== "count" && what !== "older")
      throw usage(`${what} is neither count nor older`, "skein cache gc count 3, or older 3d.");
    if (value === undefined) throw usage(`${what} of what?`, "skein cache gc count 3, or older 3d.");
    if ((given.get(what) ?? value) !== value) throw usage(`${what} is given twice`, "Leave one of them out.");
    given.set(what, value);
  }
  return given;
}

const SPOOLED = /^[^.@/]+\.\d{17}-[0-9a-f]{8}$/;

/**
 * The revision in a bucket that `put` is given: `PACKAGE.REVISION`, as spool prints it; where SKEIN_BUCKET is set, also
 * a release as a hub's is named. @throws SkeinError USAGE
 */
export function revisionMeant(words: readonly string[], hasBucket: boolean): RevisionWord | undefined {
  const [first = ".", ...others] = words;
  if (others.length === 0 && SPOOLED.test(first)) return revisionWord(first);
  const subject = hasBucket ? cacheSubject(words) : undefined;
  return subject?.kind === "release" ? revisionWord(`${subject.app}@${subject.version}`) : undefined;
}

/** What `put` is given: a release of an app, or a folder or file. */
export type CacheSubject =
  | { readonly kind: "release"; readonly app: string; readonly version: string }
  | { readonly kind: "path"; readonly path: string };

/** `APP@RELEASE`, `APP VERSION`; else a path, the folder here where there is none. @throws SkeinError USAGE */
export function cacheSubject(words: readonly string[]): CacheSubject {
  const [first = ".", second] = words;
  if (words.length > 2)
    throw usage(`too many words: ${words.join(" ")}`, "skein cache put [PATH | APP VERSION]");
  if (second !== undefined) return { kind: "release", app: first, version: second };
  const [, app = "", version = ""] = /^([a-z][a-z0-9-]{0,38})@([0-9a-f]{4,64})$/.exec(first) ?? [];
  return version === "" ? { kind: "path", path: first } : { kind: "release", app, version };
}
