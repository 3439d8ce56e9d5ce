import { appNameFrom } from "../app/conventions.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import { digestOf, isDigest, isReleaseId, type Digest, type ReleaseId } from "../lib/text/ids.ts";
import { appName, asText, envName, text } from "../trust/document/fields.ts";

/**
 * Where each document of a cluster without a hub lies in its bucket, and what people call it there
 * (docs/formats/bucket.md). Names sort as their documents follow each other. All pure.
 */
export const ROOT_NAME = "root.json";
export const CHARTERS = "charters/";
export const RELEASES = "releases/";
export const ORDERS = "orders/";

const VERSION_DIGITS = 10;
const EPOCH_DIGITS = 10;
/** The largest safe integer has 16. */
const SEQ_DIGITS = 16;
const REV_ID_CHARS = 8;
/** Of a file's name on any disk. */
const MOST_NAME_CHARS = 255;
const MOST_APP_CHARS = 39;

export function charterName(version: number): string {
  return `${CHARTERS}${padded(version, VERSION_DIGITS)}.json`;
}

export function charterVersionOf(name: string): number | undefined {
  const digits = /^charters\/(\d{10})\.json$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** A release as its name tells of it: when it was made (UTC, to the millisecond) and what it is. */
export interface ReleasePlace {
  readonly app: string;
  /** `20261128031502917` */
  readonly stamp: string;
  readonly id: ReleaseId;
}

export function releasePlace(app: string, createdMs: number, id: ReleaseId): ReleasePlace {
  const stamp = new Date(createdMs).toISOString().replaceAll(/\D/g, "");
  return { app, stamp, id };
}

export function releaseName({ app, stamp, id }: ReleasePlace): string {
  return `${RELEASES}${app}/${stamp}-${id}.json`;
}

export function releasePlaceOf(name: string): ReleasePlace | undefined {
  const [, app = "", stamp = "", id = ""] = /^releases\/([^/]+)\/(\d{17})-([^/]+)\.json$/.exec(name) ?? [];
  return appName.safeParse(app).success && isReleaseId(id) ? { app, stamp, id } : undefined;
}

/** How people call a release of a package: `20261128031502917-3f9c2ab1`. Sorts by time and stands for the release. */
export function revisionOf({ stamp, id }: Pick<ReleasePlace, "stamp" | "id">): string {
  return `${stamp}-${id.slice(0, REV_ID_CHARS)}`;
}

/** An order as its name tells of it. `digest` is null where the store saw to it that the serial has one order only. */
export interface OrderPlace {
  readonly app: string;
  readonly env: string;
  readonly epoch: number;
  readonly seq: number;
  readonly digest: Digest | null;
}

export function orderName({ app, env, epoch, seq, digest }: OrderPlace): string {
  const serial = `${padded(epoch, EPOCH_DIGITS)}-${padded(seq, SEQ_DIGITS)}`;
  return `${ORDERS}${app}/${env}/${serial}${digest === null ? "" : `.${digest}`}.json`;
}

const ORDER = /^orders\/([^/]+)\/([^/]+)\/(\d{10})-(\d{16})(?:\.([^/.]+))?\.json$/;

export function orderPlaceOf(name: string): OrderPlace | undefined {
  const [, app = "", env = "", epoch = "", seq = "", digest] = ORDER.exec(name) ?? [];
  const isNamed = appName.safeParse(app).success && envName.safeParse(env).success;
  if (!isNamed || (digest !== undefined && !isDigest(digest))) return undefined;
  if (Number(seq) > Number.MAX_SAFE_INTEGER) return undefined; // no order can have it
  return { app, env, epoch: Number(epoch), seq: Number(seq), digest: digest ?? null };
}

/** Negative where `a` is older. Of two with one serial the one with the lower digest counts as newer. */
export function compareOrders(a: OrderPlace, b: OrderPlace): number {
  const serial = a.epoch - b.epoch || a.seq - b.seq;
  if (serial !== 0) return serial;
  const [left, right] = [a.digest ?? "", b.digest ?? ""];
  return left === right ? 0 : left < right ? 1 : -1;
}

/** A package as a person spells it, and the app that it is. */
export interface Package {
  /** `my_site` */
  readonly name: string;
  /** `my-site`: what documents call it. */
  readonly app: string;
}

/** The package of a file that is spooled: its name up to the first dot. @throws SkeinError USAGE */
export function packageOfFile(fileName: string): Package {
  return packageNamed(fileName.split(".")[0] ?? "");
}

const TOLD_APART_CHARS = 8;

/**
 * Two packages are two apps: where more than case and the kind of its dashes is lost, the app's name ends with the
 * beginning of a digest.
 * @throws SkeinError USAGE when nothing of the name could be an app's, or a terminal would not show it
 */
export function packageNamed(name: string): Package {
  const composed = name.normalize("NFC");
  const nearest = appNameFrom(composed);
  if (nearest === "" || !text(MOST_NAME_CHARS).safeParse(name).success) {
    throw new SkeinError("USAGE", `'${asText(name, MOST_NAME_CHARS)}' is no name of a package`, {
      hint: "A package's name has a letter in it, is one line, and goes up to the first dot.",
      data: { package: name },
    });
  }
  const spelled = name.toLowerCase().replaceAll("_", "-");
  if (appName.safeParse(spelled).success) return { name, app: spelled };
  const begin = nearest.slice(0, MOST_APP_CHARS - TOLD_APART_CHARS - 1).replace(/-+$/, "");
  return { name, app: `${begin}-${digestOf(composed).slice(0, TOLD_APART_CHARS)}` };
}

/** A revision as a person names it: its package, and REV or any beginning of a release's id. */
export interface RevisionWord {
  readonly package: Package;
  readonly revision: string;
}

/** `my_site.20261128031502917-3f9c2ab1`, or `my-site@3f9c2ab1`. @throws SkeinError USAGE */
export function revisionWord(word: string): RevisionWord {
  const [, name = "", revision = ""] = /^([^.@]+)[.@]([0-9a-f-]{4,50})$/.exec(word) ?? [];
  if (revision !== "") return { package: packageNamed(name), revision };
  throw new SkeinError("USAGE", `${word} is no revision`, {
    hint: "Write it as spool prints it: PACKAGE.REVISION; skein ftl list PACKAGE shows them.",
    data: { revision: word },
  });
}

/** Does the person's word mean this release? */
export function isMeant(revision: string, place: Pick<ReleasePlace, "stamp" | "id">): boolean {
  return `${place.stamp}-${place.id}`.startsWith(revision) || place.id.startsWith(revision);
}

const padded = (n: number, digits: number): string => String(n).padStart(digits, "0");
