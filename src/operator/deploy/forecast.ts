import { type ReleaseId, appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { formatBytes } from "../../lib/text/units.ts";
import type { Release } from "../../trust/document/documents.ts";
import { ask } from "../ask/ask.ts";
import { numberOf } from "../ask/commands.ts";
import { namesOf } from "../tell/names-of.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { documentOf } from "../release/release.ts";

/** What a node says that placing a release would cost it, in bytes. */
export interface Forecast {
  readonly already: boolean;
  readonly fetchBytes: number;
  /** It may cost less. */
  readonly atMost: boolean;
  readonly diskBytes: number;
  readonly freeBytes: number;
  /** What its gc would free now. */
  readonly gcReleases: number;
  readonly gcBytes: number;
}

const FORECAST_MS = 5 * 60_000;

export interface ForecastWish {
  readonly app: string;
  readonly env: string;
  readonly release: ReleaseId;
  readonly nodes: readonly KnownNode[];
}

/**
 * Asks the present ones of these nodes; who does not answer, or cannot tell, is not in the map. By node name. Of what
 * nobody vouches for any more none can tell.
 */
export async function forecast(
  operator: Operator,
  { app, env, release, nodes }: ForecastWish,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Forecast>> {
  const { document, droppedBuilder } = await documentOf(operator, app, release, signal);
  if (droppedBuilder !== undefined) return new Map();
  const args = { release, document: JSON.stringify(document) };
  const wish = { kind: "forecast", app, env, args, nodes, validMs: FORECAST_MS };
  const found = new Map<string, Forecast>();
  for (const { node, outcome, lines } of await ask(operator, wish, signal)) {
    const line = lines.find(({ type }) => type === "forecast");
    if (outcome !== "ok" || line === undefined) continue;
    found.set(node, {
      already: line["already"] === true,
      fetchBytes: numberOf(line, "fetchBytes"),
      atMost: line["atMost"] === true,
      diskBytes: numberOf(line, "diskBytes"),
      freeBytes: numberOf(line, "freeBytes"),
      gcReleases: numberOf(line, "gcReleases"),
      gcBytes: numberOf(line, "gcBytes"),
    });
  }
  return found;
}

/** Per file, for its last block and its place in folders. */
const PER_FILE_BYTES = 8192;

/**
 * Refuses a deployment that does not fit, before anything is signed. Nodes that report far more room than a release can
 * take are not asked.
 * @throws SkeinError DISK_FULL naming the nodes, and what each lacks
 */
export async function refuseUnfitting(
  operator: Operator,
  wish: ForecastWish & {
    readonly size: Pick<Release, "files" | "bytes">;
    /** Settles when the hub has the release; else it has it. */
    readonly posted?: Promise<void>;
  },
  signal: AbortSignal,
): Promise<void> {
  const { app, release, size } = wish;
  const most = size.bytes + size.files * PER_FILE_BYTES;
  const doubtful = wish.nodes.filter((node) => node.present && (node.roomBytes ?? Infinity) < most);
  if (doubtful.length === 0) return;
  await wish.posted;
  const answers = await forecast(operator, { ...wish, nodes: doubtful }, signal);
  const full = [...answers].filter(([, { diskBytes, freeBytes }]) => diskBytes > freeBytes);
  if (full.length === 0) return;
  const lines = full.map(
    ([node, one]) =>
      `${node}: needs ${formatBytes(one.diskBytes)}, ${formatBytes(one.freeBytes)} are free, gc would free ${formatBytes(one.gcBytes)}`,
  );
  throw new SkeinError(
    "DISK_FULL",
    `${shortRelease(app, release)} does not fit on ${namesOf(full.map(([node]) => node))}`,
    {
      hint: `Free space there (skein gc ${appAsTyped(app, wish.env)} --count 1), or deploy to other nodes (--on).`,
      data: { app, release, nodes: full.map(([node]) => node), lines },
    },
  );
}
