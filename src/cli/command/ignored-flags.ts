import { usage } from "./grammar.ts";

const SERVER = "it runs until it is stopped, and what it will be told nobody knows";
const HERE =
  "it works on this machine: skein ftl list shows what is here, skein list --master what is ordered";
const FILE = "it writes the one file that is named, and changes nothing else";
const CACHE = "a cache is never needed, so nothing is lost by it: skein cache diff shows what is not in it";

/**
 * Verbs for which `--dry-run` makes no sense, and why. Every other one takes it: it changes nothing, or what it would
 * do is told (operator/tell/dry-run.ts).
 */
const NO_DRY_RUN: Readonly<Record<string, string>> = {
  init: "it makes this machine's key and charter, which are random: there is nothing to tell before",
  up: SERVER,
  hub: SERVER,
  agent: SERVER,
  "agent run": SERVER,
  keeper: SERVER,
  demo: "it is a play on a cluster of its own, and nothing else is changed",
  "hub backup": FILE,
  "hub restore": "what is in a backup is found out by putting it in its place",
  "release export": FILE,
  "release presign": FILE,
  sync: HERE,
  "ftl sync": HERE,
  "ftl import": "each revision is ordered by what the one before became; begun anew, it does nothing twice",
  "cache get": FILE,
  "cache put": CACHE,
  "cache update": CACHE,
  "cache repair": CACHE,
  "cache persist": CACHE,
};
const verbOf = (name: string): string => name.replace(/^skein /, "");

/** Whether a command runs until it is stopped, whatever time its callers give to others. */
export const isServer = (name: string): boolean => NO_DRY_RUN[verbOf(name)] === SERVER;

/** Of these only what is for all machines can be told before. */
const MASTERS = new Set(["jump", "jump-back", "ftl jump", "ftl jump-back"]);
/** What is said to a rollout concerns all its nodes. */
const WHOLE = new Set(["abort", "pause", "resume"]);
/** A bucket has a release for all machines, or for none. */
const PURGES = new Set(["purge", "ftl purge"]);

interface Wish {
  readonly dryRun?: boolean | undefined;
  readonly on?: string | undefined;
  readonly master?: boolean | undefined;
}

/**
 * A flag that every command takes, and that this one would pass over, is refused where that would do more than was
 * asked for.
 * @param name the command's own, as it is typed
 * @throws SkeinError USAGE
 */
export function refuseIgnored(name: string, { dryRun, on, master }: Wish): void {
  const verb = verbOf(name);
  const why = MASTERS.has(verb) && master !== true ? HERE : NO_DRY_RUN[verb];
  if (dryRun === true && why !== undefined) {
    throw usage(
      `skein ${verb} has no dry run, and nothing was done: ${why}`,
      "Leave --dry-run (or SKEIN_DRY_RUN) out to do it.",
    );
  }
  const choosing = on === undefined ? undefined : whyNobodyIsChosen(verb, master === true);
  if (choosing === undefined) return;
  throw usage(`skein ${verb} is ${choosing.for}, so there is no choosing nodes with --on`, choosing.instead);
}

function whyNobodyIsChosen(
  verb: string,
  master: boolean,
): { readonly for: string; readonly instead: string } | undefined {
  const without = "without --on (or SKEIN_ON)";
  if (WHOLE.has(verb))
    return { for: "for every node of the rollout", instead: `skein ${verb} APP, ${without}.` };
  if (MASTERS.has(verb) && !master)
    return {
      for: "about this machine",
      instead: `Add --master to order it for those nodes, or type it ${without}.`,
    };
  if (PURGES.has(verb) && master)
    return {
      for: "for every machine of the bucket",
      instead: `skein ${verb} --master PACKAGE.REVISION, ${without}.`,
    };
  return undefined;
}
