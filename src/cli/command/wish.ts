import { usage } from "./grammar.ts";

const SERVER = "it runs until it is stopped, and what it will be told nobody knows";
const HERE =
  "it works on this machine: skein ftl list shows what is here, skein list --master what is ordered";
const FILE = "it writes the one file that is named, and changes nothing else";
const CACHE = "a cache is never needed, so nothing is lost by it: skein cache diff shows what is not in it";

/**
 * Verbs for which `--dry-run` makes no sense, and why. Every other one takes it: it changes nothing, or what it would
 * do is told (operator/dry-run.ts).
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
/** Of these only what is for all machines can be told before. */
const MASTERS = new Set(["jump", "jump-back", "ftl jump", "ftl jump-back"]);
/** What is said to a rollout concerns all its nodes. */
const WHOLE = new Set(["abort", "pause", "resume"]);

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
  const verb = name.replace(/^skein /, "");
  const why = MASTERS.has(verb) && master !== true ? HERE : NO_DRY_RUN[verb];
  if (dryRun === true && why !== undefined) {
    throw usage(
      `skein ${verb} has no dry run, and nothing was done: ${why}`,
      "Leave --dry-run (or SKEIN_DRY_RUN) out to do it.",
    );
  }
  if (on === undefined || !WHOLE.has(verb)) return;
  throw usage(
    `skein ${verb} is for every node of the rollout, so there is no choosing them with --on`,
    `skein ${verb} APP, without --on (or SKEIN_ON).`,
  );
}
