import type { SkeinError } from "../../lib/errors.ts";
import { usage } from "./grammar.ts";

/** Of the verbs that change something, those that `--dry-run` makes say what they would. */
const TELL = new Set(["deploy", "gc", "purge", "ftl purge", "cache gc"]);
/** They change nothing, with the flag or without. */
const READ = new Set(
  (
    "list, status, releases, show, ports, ports watch, check, verify, logs, plan, watch, node ls, node show, drift, " +
    "compare-checksums, cache ls, cache diff, ftl list, validate, completion, version"
  ).split(", "),
);
/** What is said to a rollout concerns all its nodes. */
const WHOLE = new Set(["abort", "pause", "resume"]);

interface Wish {
  readonly dryRun?: boolean | undefined;
  readonly on?: string | undefined;
}

/**
 * A flag that every command takes, and that this one would pass over, is refused where that would do more than was
 * asked for.
 * @param name the command's own, as it is typed
 * @throws SkeinError USAGE
 */
export function refuseIgnored(name: string, { dryRun, on }: Wish): void {
  const verb = name.replace(/^skein /, "");
  if (dryRun === true && !TELL.has(verb) && !READ.has(verb)) throw noDryRun(verb);
  if (on === undefined || !WHOLE.has(verb)) return;
  throw usage(
    `skein ${verb} is for every node of the rollout, so there is no choosing them with --on`,
    `skein ${verb} APP, without --on (or SKEIN_ON).`,
  );
}

/** @returns what to throw where a verb was told to do nothing, and cannot */
export const noDryRun = (verb: string): SkeinError =>
  usage(
    `skein ${verb} cannot only say what it would do: nothing was done`,
    "Leave --dry-run (or SKEIN_DRY_RUN) out to do it. deploy, gc, purge and cache gc take it.",
  );
