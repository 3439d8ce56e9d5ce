import * as z from "zod";
import type { PrunableDepot } from "../../depot/seam/depot.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { bytesBlob, readBlob } from "../fetch/blobs.ts";

/**
 * What collections of a depot leave for the next one, in the depot itself, so that anybody may go on:
 *
 * - `upkeep/RUN`: what run RUN found unreferenced, and when it was done;
 * - `retired/RUN/NAME`: blob NAME, which run RUN took out of use.
 *
 * Unsigned and never trusted with more than delay: what it leads to is looked at again before anything is deleted.
 */
export interface Run {
  readonly id: string;
  /** When its last blob had been taken out of use, in ms since the epoch. */
  readonly doneMs: number;
  /** Unreferenced then, and left where they were. */
  readonly noted: readonly string[];
}

export interface Retired {
  /** The run that took it out of use. */
  readonly run: string;
  /** What it was called. */
  readonly name: string;
  readonly sizeBytes: number;
}

/** Where a depot keeps what releases consist of. */
export const FOLDERS = ["deltas/", "index/", "packs/", "rows/", "since/"] as const;
const OWN = /^(?:(?:index|packs|rows|since)\/[0-9a-f]{64}|deltas\/[0-9a-f]{64}\.[0-9a-f]{64})$/;

/** Nothing else is looked at: whoever laid it there has it. */
export const isOwn = (name: string): boolean => OWN.test(name);

const LEDGER = "upkeep/";
const RETIRED = "retired/";
const MAX_LEDGER_BYTES = 256 * 2 ** 20;

const schema = z.strictObject({
  format: z.literal(1),
  done: z.int().nonnegative(),
  noted: z.array(z.string().max(200)),
});

/** @param random 8 hex digits; sorts by time */
export function runId(nowMs: number, random: string): string {
  return `${String(nowMs).padStart(15, "0")}-${random}`;
}

/** When a run began, in ms since the epoch. */
export const begunMs = (run: string): number => Number(run.slice(0, 15));

export const retiredName = ({ run, name }: Pick<Retired, "run" | "name">): string =>
  `${RETIRED}${run}/${name}`;

/** Earlier runs, oldest first. One that cannot be read is passed over: it only delays. */
export async function readRuns(depot: PrunableDepot, signal: AbortSignal): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const name of depot.list(LEDGER, signal)) {
    const run = await readRun(depot, name, signal);
    if (run !== undefined) runs.push(run);
  }
  return runs;
}

async function readRun(depot: PrunableDepot, name: string, signal: AbortSignal): Promise<Run | undefined> {
  try {
    return parse(name.slice(LEDGER.length), await readBlob(depot, name, MAX_LEDGER_BYTES, signal));
  } catch (err) {
    // Another collection was done with it, or it is none of ours.
    if (isSkeinError(err, "BLOB_MISSING", "PACK_CORRUPT", "BAD_REQUEST")) return undefined;
    throw err;
  }
}

export async function writeRun(depot: PrunableDepot, run: Run, signal: AbortSignal): Promise<void> {
  const text = JSON.stringify({ format: 1, done: run.doneMs, noted: run.noted });
  await depot.put(LEDGER + run.id, bytesBlob(Buffer.from(`${text}\n`)), signal);
}

export async function forgetRun(depot: PrunableDepot, id: string, signal: AbortSignal): Promise<void> {
  await depot.delete(LEDGER + id, signal);
}

export async function* retiredIn(depot: PrunableDepot, signal: AbortSignal): AsyncGenerator<Retired, void> {
  for await (const { name, sizeBytes } of depot.entries(RETIRED, signal)) {
    const [, run = "", original = ""] = /^retired\/([^/]+)\/(.+)$/.exec(name) ?? [];
    if (isOwn(original)) yield { run, name: original, sizeBytes };
  }
}

function parse(id: string, bytes: Buffer): Run | undefined {
  try {
    const { done, noted } = schema.parse(JSON.parse(bytes.toString("utf8")));
    return { id, doneMs: done, noted };
  } catch {
    return undefined;
  }
}
