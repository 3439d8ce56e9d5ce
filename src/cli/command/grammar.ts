import path from "node:path";
import { SkeinError } from "../../lib/errors/errors.ts";
import { parseDurationMs } from "../../lib/text/units.ts";

/** What the words after a verb mean. One reading each; where two are possible both are printed. All pure. */

const APP = /^[a-z][a-z0-9-]{0,38}$/;

export interface DeployWords {
  readonly app: string | null;
  readonly version: string | null;
  readonly selector: string | null;
  readonly from: string | null;
}

/** Flags that say what a word may say, too. */
export interface WordFlags {
  readonly app?: string | undefined;
  readonly on?: string | undefined;
  readonly version?: string | undefined;
  readonly from?: string | undefined;
}

/** No word: the manifest here. One: an app (or a path). Two: app, version. Three: app, selector, version. Hints name `verb`. */
export function deployWords(words: readonly string[], flags: WordFlags, verb = "deploy"): DeployWords {
  const [first, second, third] = words;
  if (words.length > 3) {
    throw usage(`too many words: ${words.join(" ")}`, `skein ${verb} [APP [[SELECTOR] VERSION]]`);
  }
  const isPath = first !== undefined && !APP.test(first) && looksLikePath(first);
  const app = once("app", isPath ? undefined : first, flags.app);
  const version = once("version", third ?? second, flags.version);
  const selector = once("selector", third === undefined ? undefined : second, flags.on);
  const from = once("source", isPath ? first : undefined, flags.from);
  refuseMismatch({ app, version, selector, from }, verb);
  return { app, version, selector, from: from === null ? null : path.resolve(from) };
}

/** @throws SkeinError USAGE for what no app can be called */
export function appNamed(word: string): string {
  if (APP.test(word)) return word;
  throw usage(`'${word}' is no app's name`, "An app's name has a-z, 0-9 and -.");
}

/** The same of an environment. */
export function envNamed(word: string): string {
  if (APP.test(word)) return word;
  throw usage(`'${word}' is no environment's name`, "Its name has a-z, 0-9 and -: --env prod.");
}

/** The app that a word or `--app` names, where either does. @throws SkeinError USAGE */
export function appWord(word: string | null | undefined, flag: string | undefined): string | undefined {
  const named = word ?? flag;
  if (named === undefined) return undefined;
  if (flag !== undefined && named !== flag)
    throw usage(`the app is given twice: ${named} and ${flag}`, "Leave one of them out.");
  return appNamed(named);
}

function refuseMismatch({ app, version, from }: DeployWords, verb: string): void {
  if (app !== null && !APP.test(app)) {
    throw usage(
      `'${app}' is no app's name`,
      `It has a-z, 0-9 and -. A version goes with its flag: skein ${verb} --version ${app}; a folder or file is named as a path: ./${app}`,
    );
  }
  if (from !== null && version !== null) {
    throw usage("a source that is taken as it is has no version", `skein ${verb} --from ${from}`);
  }
  if (version !== null && app === null) {
    throw usage(`${version} is a version of which app?`, `skein ${verb} APP ${version}`);
  }
}

const looksLikePath = (word: string): boolean => word.includes("/") || word.includes(".");

/** A word and a flag that say the same thing twice must agree. */
function once(what: string, word: string | undefined, flag: string | undefined): string | null {
  if (word === undefined || flag === undefined || word === flag) return word ?? flag ?? null;
  throw usage(`the ${what} is given twice: ${word} and ${flag}`, `Leave one of them out.`);
}

/** What `start`, `stop` and `restart` act on. */
export type Subject =
  | { readonly kind: "app"; readonly app: string | null; readonly release: string | null }
  | { readonly kind: "instance"; readonly instance: string; readonly process: string; readonly node: string };

/** Nothing: the manifest's app. `APP`, `APP@RELEASE`, or an instance such as `web.1@node`. */
export function subject(word: string | undefined, appFlag: string | undefined): Subject {
  if (word === undefined) return { kind: "app", app: appFlag ?? null, release: null };
  const instance = /^([a-z][a-z0-9_-]*\.\d+)@([a-z0-9.-]+)$/.exec(word);
  const [, name, node] = instance ?? [];
  if (name !== undefined && node !== undefined) {
    return { kind: "instance", instance: name, process: name.replace(/\.\d+$/, ""), node };
  }
  const [app = "", release] = word.split("@");
  if (!APP.test(app) || word.split("@").length > 2 || release === "") {
    throw usage(
      `${word} is neither APP, APP@RELEASE nor an instance`,
      "For example: shop, shop@3f9c2ab1, web.1@node1.",
    );
  }
  return { kind: "app", app: once("app", app, appFlag), release: release ?? null };
}

/** What `list` shows. */
export type Listing =
  | { readonly kind: "all" }
  | { readonly kind: "nodes" }
  | { readonly kind: "versions" }
  | { readonly kind: "word"; readonly word: string };

export function listing(word: string | undefined): Listing {
  if (word === undefined) return { kind: "all" };
  return word === "nodes" || word === "versions" ? { kind: word } : { kind: "word", word };
}

/** An app and a selector may both be written as one word: then it must be told which. */
export function appOrSelector(
  word: string,
  known: { readonly apps: readonly string[]; readonly names: readonly string[] },
): "app" | "selector" {
  const isApp = known.apps.includes(word);
  const isSelector = known.names.includes(word) || !APP.test(word);
  if (isApp && isSelector) {
    throw new SkeinError("AMBIGUOUS", `${word} is both an app and a node or label`, {
      hint: `Type skein releases ${word} for the app, or skein node ls ${word} for the nodes.`,
      data: { word },
    });
  }
  return isApp ? "app" : "selector";
}

/** `role=web`, `role=` or `role-` (takes it away), `canary` (is `canary=true`). */
export function labelWords(words: readonly string[]): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const word of words) {
    const [, key = "", sign, value = ""] = /^([^=]+?)(=|-$|$)(.*)$/.exec(word) ?? [];
    if (key === "") throw usage(`${word} is no label`, "Write role=web, canary, or role- to take it away.");
    if (sign === "-" || (sign === "=" && value === "")) changes[key] = null;
    else changes[key] = sign === "=" ? value : "true";
  }
  return changes;
}

const DAY_MS = 86_400_000;
/** A hundred years; what is much longer no date can tell. */
const LONGEST_MS = 36_500 * DAY_MS;

/** A flag's duration in ms. */
export function durationFlag(text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms <= LONGEST_MS) return ms;
  if (ms !== undefined) throw usage(`${text} is over a hundred years`, "Write less, for example 30d.");
  throw usage(`${text} is no duration`, "Write it with its unit, for example 30s, 10m or 1h30m.");
}

/** How often something is looked at again, in ms: without any pause that would be one request after the other. */
export function everyFlag(text: string): number {
  const ms = durationFlag(text);
  if (ms >= 100) return ms;
  throw usage(`--every ${text} is no pause`, "Write 100ms or more, for example 30s.");
}

/** A relative (`3d`) or absolute (`2026-11-20`) moment in ms since the epoch. */
export function momentFlag(text: string, now: number): number {
  const isAgo = parseDurationMs(text) !== undefined;
  const at = isAgo ? now - durationFlag(text) : dateMs(text);
  // Where the day begins earlier than in UTC, today's date is some hours ahead.
  if (at > now + DAY_MS) throw usage(`${text} is still to come`, "Write a date that has passed, or 3d.");
  if (Number.isFinite(at)) return at;
  throw usage(`${text} is no time`, "Write how long ago (3d), or a date (2026-11-20).");
}

const DATE = /^(\d{4}-\d\d-\d\d)([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** NaN for what is none. What else JavaScript takes for a date (3, shop 5) nobody means as one; 31 February is none. */
function dateMs(text: string): number {
  const day = DATE.exec(text)?.[1];
  if (day === undefined) return Number.NaN;
  const midnight = new Date(day);
  const isInCalendar = Number.isFinite(midnight.getTime()) && midnight.toISOString().startsWith(day);
  return isInCalendar ? Date.parse(text) : Number.NaN;
}

/** `4`, `25%`: at least something of either. */
export function amountFlag(text: string): number | string {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  if (/^(100(\.0{1,3})?|[1-9]?\d(\.\d{1,3})?)%$/.test(text) && Number.parseFloat(text) > 0) return text;
  throw usage(`${text} is no number of nodes, and no share of them`, "Write for example 2, or 25%.");
}

export interface GcWords {
  readonly app: string | null;
  readonly count: string | null;
  readonly older: string | null;
}

/** `gc shop count 3 older 3d`: the dashes of --count and --older may be left out. */
export function gcWords(
  words: readonly string[],
  flags: { readonly app?: string | undefined; readonly count?: string; readonly older?: string },
): GcWords {
  const said: { app?: string; count?: string; older?: string } = {};
  const put = (what: keyof typeof said, value: string | undefined): void => {
    if (value === undefined)
      throw usage(`${what} what?`, `skein gc ${what} ${what === "count" ? "3" : "3d"}`);
    if (said[what] !== undefined)
      throw usage(`the ${what} is given twice: ${said[what]} and ${value}`, "Leave one out.");
    said[what] = value;
  };
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === "count" || word === "older") put(word, words[++i]);
    else put("app", word);
  }
  return {
    app: once("app", said.app, flags.app),
    count: once("count", said.count, flags.count),
    older: once("age", said.older, flags.older),
  };
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `7400`, `:7400`, `10.0.0.1:7400`, `[::1]:7400`. */
export function hostPort(text: string, host: string): HostPort {
  const [, given = "", digits = ""] = /^(?:(\[[0-9a-fA-F:.]+\]|[^:\s]*):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === "" || port > 65_535)
    throw usage(`${text} is no address`, "Write HOST:PORT, for example 0.0.0.0:7400.");
  return { host: given === "" ? host : given.replace(/^\[|\]$/g, ""), port };
}

export function usage(message: string, hint: string): SkeinError {
  return new SkeinError("USAGE", message, { hint });
}
