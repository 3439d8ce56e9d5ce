/** What is promised beside the bytes of an update: memory, limits, many receivers. */
import fs from "node:fs/promises";
import path from "node:path";
import type { Figure } from "../bench.ts";
import { simulate } from "../../src/depot/peers/simulation.fixture.ts";
import { compared, GOALS, limited } from "./figures.ts";
import { writeLargeTree } from "./large-tree.ts";
import type { Ours } from "./ours.ts";
import type { Pair } from "./pairs.ts";
import type { Field } from "./peer.ts";
import type { PairCosts } from "./round.ts";

/** The release that runs is ordered again. */
export async function* unchanged(pair: Pair, ours: Ours): AsyncGenerator<Figure> {
  const fresh = await ours.publish(pair.name, pair.new);
  await using nodes = await ours.receivers(1);
  await nodes.receive(fresh);
  const before = (await ours.requests()).length;
  const cost = await nodes.receive(fresh);
  const requests = (await ours.requests()).length - before;
  yield limited("nothing changed: bytes", cost.bytes, GOALS.unchangedBytes);
  yield limited("nothing changed: requests", requests, GOALS.unchangedRequests);
}

/** Most memory of any one process, with a release of 1 GiB. */
export async function* largeRelease(ours: Ours, field: Field): AsyncGenerator<Figure> {
  const tree = path.join(field.dir, "large");
  await writeLargeTree(tree);
  const large = await ours.publish("large", tree);
  yield limited("release of 1 GiB: publisher's peak memory, MiB", large.peakMib, GOALS.publisherMib);
  await using nodes = await ours.receivers(1);
  await nodes.receive(large);
  yield limited("release of 1 GiB: receiver's peak memory, MiB", nodes.peakMib(), GOALS.receiverMib);
  await fs.rm(tree, { recursive: true });
}

/** How a tree lands against unpacking all of it; `most` is a part of that time. */
export function landing(
  { pair, first, ours, peers }: PairCosts,
  what: "first" | "update",
  most: number,
): Figure {
  const peer = peers.get("tar.zst")?.wallMs ?? Number.NaN;
  const name = what === "first" ? `first copy of the tree of ${pair.name}` : `${pair.name} (${pair.about})`;
  const cost = what === "first" ? first : ours;
  const peerName = "curl | zstd -d | tar x; sync -f";
  return compared({ name: `${name}: wall ms to land`, ours: cost.wallMs, peer, peerName, most });
}

/** Of a full frame of 1514 bytes. */
const PAYLOAD_SHARE = 1448 / 1514;
/** What 500KB is: slow enough that what an order takes besides is a hundredth of the time. */
const LIMIT_BYTES_PER_S = 500_000;

/**
 * A receiver that may take 500 kB a second: what was sent to it, by the time until it had all. Part of that time would
 * tell of its kernel's buffers, which fill at once and empty at the end.
 */
export async function* rateLimit(pair: Pair, ours: Ours): AsyncGenerator<Figure> {
  const fresh = await ours.publish(pair.name, pair.new);
  await using nodes = await ours.receivers(1, { SKEIN_LIMIT_DOWN: "500KB" });
  const { sent, wallMs } = await nodes.receive(fresh);
  const rate = (1000 * PAYLOAD_SHARE * sent) / wallMs;
  const ratio = rate / LIMIT_BYTES_PER_S;
  yield {
    ...compared({
      name: "a receiver limited to 500 kB/s: bytes a second, less TCP's share",
      ours: rate,
      peer: LIMIT_BYTES_PER_S,
      peerName: "the limit",
    }),
    goal: `ratio within ${GOALS.limitOff} of 1`,
    met: Math.abs(ratio - 1) <= GOALS.limitOff,
  };
}

const SIMULATED_NODES = 100;
/** 24 MB: a blob worth asking peers for. */
const SIMULATED_PIECES = 90;

/** Over the code by which nodes pick whom to ask. */
export function simulated(): Figure {
  const copies = (nodes: number): number => simulate({ nodes, pieces: SIMULATED_PIECES }).copies;
  return compared({
    name: `${SIMULATED_NODES} simulated receivers: copies that leave the sender`,
    ours: copies(SIMULATED_NODES),
    peer: copies(1),
    peerName: "ours with one receiver",
    most: GOALS.manySimulated,
  });
}
