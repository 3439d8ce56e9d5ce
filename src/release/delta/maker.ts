/**
 * A program of its own that makes deltas in a hub's depot, so that the hub's loop stays free and its memory small: one
 * line of JSON comes in, one goes out. A failure goes to stderr and ends it with 1. A signal ends it at once, also amid
 * a large file: its scratch files have no names, and what it stores is there whole or not at all.
 */
import os from "node:os";
import { text } from "node:stream/consumers";
import { openDepot } from "../../depot/open-depot.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import type { PublishedTree } from "../tree/published.ts";
import { encodeInWorkers } from "./encode-workers.ts";
import { publishDeltas } from "./publish-deltas.ts";

export interface MakerTask {
  /** The depot's address. */
  readonly depot: string;
  /** A folder for what is being made. */
  readonly scratch: string;
  readonly to: PublishedTree;
  readonly from: readonly PublishedTree[];
}

/** Below everything that serves. */
const NICE = 10;

try {
  os.setPriority(NICE);
  const { depot: address, scratch, to, from } = JSON.parse(await text(process.stdin)) as MakerTask;
  using opened = await openDepot(address, process.env);
  const made = await publishDeltas({
    depot: opened.depot,
    to,
    from,
    encoder: encodeInWorkers,
    scratch,
    signal: new AbortController().signal,
  });
  process.stdout.write(`${JSON.stringify(made)}\n`);
} catch (err) {
  process.stderr.write(`${messageOf(err)}\n`);
  process.exitCode = 1;
}
