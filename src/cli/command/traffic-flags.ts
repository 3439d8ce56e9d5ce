import { Option, type Command } from "commander";
import type { NearOptions } from "../../agent/source/depots.ts";
import type { TrafficLimits } from "../../depot/traffic/traffic.ts";
import { parseSizeBytes } from "../../lib/text/units.ts";
import { usage } from "./grammar.ts";

/** What a server may use of its line for blobs. */
export interface LimitFlags {
  readonly limitRate?: string;
  readonly limitDown?: string;
  readonly limitUp?: string;
  readonly limitTransfers?: string;
}

/** What a node keeps, and whom it serves. */
export interface NearFlags extends LimitFlags {
  readonly cacheSize?: string;
  readonly peerPort?: string;
}

/** The flags of `NearFlags`, as commander and units call them. */
export const NEAR_FLAGS = {
  limitRate: "limit-rate",
  limitDown: "limit-down",
  limitUp: "limit-up",
  limitTransfers: "limit-transfers",
  cacheSize: "cache-size",
  peerPort: "peer-port",
} as const satisfies Record<keyof NearFlags, string>;

export function limitOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--limit-rate <size>", "most bytes of releases a second, each way, such as 5MB").env(
        "SKEIN_LIMIT_RATE",
      ),
    )
    .addOption(new Option("--limit-down <size>", "the same for what comes in").env("SKEIN_LIMIT_DOWN"))
    .addOption(new Option("--limit-up <size>", "the same for what goes out").env("SKEIN_LIMIT_UP"))
    .addOption(
      new Option("--limit-transfers <count>", "most transfers at a time; others wait").env(
        "SKEIN_LIMIT_TRANSFERS",
      ),
    );
}

export function cacheSizeOption(command: Command): Command {
  return command.addOption(
    new Option(
      "--cache-size <size>",
      "most that the cache takes, such as 2GiB; 0: none (default: 5 % of the disk, at most 4GiB)",
    ).env("SKEIN_CACHE_SIZE"),
  );
}

export function nearOptions(command: Command): Command {
  return cacheSizeOption(limitOptions(command)).addOption(
    new Option(
      "--peer-port <port>",
      "where other nodes fetch from this one; off: nowhere (default: any)",
    ).env("SKEIN_PEER_PORT"),
  );
}

/** For a verb that fetches, and gives nothing to anybody. */
export function fetchOptions(command: Command): Command {
  const size = "most bytes of releases that come in a second, such as 5MB";
  const transfers = "most transfers at a time; others wait";
  return cacheSizeOption(command)
    .addOption(new Option("--limit-down <size>", size).env("SKEIN_LIMIT_DOWN"))
    .addOption(new Option("--limit-transfers <count>", transfers).env("SKEIN_LIMIT_TRANSFERS"));
}

const variableOf = (flag: string): string => `SKEIN_${flag.toUpperCase().replaceAll("-", "_")}`;

/** What the variables of these flags say, for a verb without them. */
export function nearVariables(env: Readonly<Record<string, string | undefined>>): NearFlags {
  const named = Object.entries(NEAR_FLAGS).flatMap(([key, flag]) => {
    const value = env[variableOf(flag)] ?? "";
    return value === "" ? [] : [[key, value]];
  });
  return Object.fromEntries(named) as NearFlags;
}

/** The variables that say the same. */
export function variablesOf(flags: NearFlags): Record<string, string> {
  const named = Object.entries(NEAR_FLAGS) as [keyof NearFlags, string][];
  return Object.fromEntries(
    named.flatMap(([key, flag]) => (flags[key] === undefined ? [] : [[variableOf(flag), flags[key]]])),
  );
}

/** @throws SkeinError USAGE */
export function limitsOf({ limitRate, limitDown, limitUp, limitTransfers }: LimitFlags): TrafficLimits {
  const rate = (flag: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : rateOf(flag, text);
  const both = rate("--limit-rate", limitRate);
  return {
    downPerSec: rate("--limit-down", limitDown) ?? both,
    upPerSec: rate("--limit-up", limitUp) ?? both,
    atOnce: limitTransfers === undefined ? undefined : countOf(limitTransfers),
  };
}

/** @throws SkeinError USAGE */
export function nearOf(flags: NearFlags): NearOptions {
  const { peerPort } = flags;
  return {
    cacheBytes: cacheBytesOf(flags),
    peerPort: peerPort === undefined ? undefined : peerPortOf(peerPort),
    limits: limitsOf(flags),
  };
}

function rateOf(flag: string, text: string): number {
  const bytes = parseSizeBytes(text.replace(/\/s$/, ""));
  if (bytes !== undefined && bytes > 0) return bytes;
  throw usage(
    `${flag} ${text} is no rate`,
    "Write bytes a second with their unit, for example 5MB or 512KiB.",
  );
}

function countOf(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw usage(`--limit-transfers ${text} is no count`, "Write a number from 1 on, for example 4.");
}

/** @throws SkeinError USAGE */
export function cacheBytesOf({ cacheSize: text }: Pick<NearFlags, "cacheSize">): number | undefined {
  if (text === undefined) return undefined;
  const bytes = text === "0" ? 0 : parseSizeBytes(text);
  if (bytes !== undefined) return bytes;
  throw usage(`--cache-size ${text} is no size`, "Write it with its unit, for example 2GiB, or 0 for none.");
}

function peerPortOf(text: string): number | null {
  if (text === "off") return null;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw usage(`--peer-port ${text} is no port`, "Write a number up to 65535, 0 for any, or off.");
}
