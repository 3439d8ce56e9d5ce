import type { Bucket } from "../../bucket/bucket.ts";
import { lookAgain, type Seen } from "../../bucket/looking.ts";
import { rootText } from "../../bucket/root.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { digestOf } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { SaidOnce } from "../../lib/process/said-once.ts";
import { seesRetired } from "../../release/upkeep/retired.ts";
import { digestOfEnvelope } from "../../trust/document/envelope.ts";
import { bucketOffer, type Looked, type Wish } from "./bucket-offer.ts";
import type { NodeStore } from "../node/node-store.ts";
import type { Offered, Source } from "./source.ts";

export interface BucketSourceOptions {
  readonly bucket: Bucket;
  /** Which apps and environments this node takes orders of. */
  readonly wish: Wish;
  /** Time between two looks at the root, in ms; each is up to a quarter shorter or longer. Default 30 000. */
  readonly everyMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

const EVERY_MS = 30_000;

/**
 * A bucket in a hub's place. A look that finds nothing new is one conditional request. Nobody paces: an order begins
 * here at a moment of this node's own within its `spread`. Nobody collects receipts or knows of others' ports either.
 */
export function bucketSource(store: NodeStore, options: BucketSourceOptions): Source {
  const { bucket, clock, log, everyMs = EVERY_MS } = options;
  const memory: Memory = { said: new SaidOnce(), looked: {} };
  let seen: Seen | undefined;
  return {
    name: bucket.name,
    depots: [seesRetired(bucket.depot)],
    paced: false,
    async wanted(etag, _waitMs, signal) {
      if (etag !== undefined) await clock.sleep(everyMs * (0.75 + Math.random() / 2), signal);
      const now = await lookAgain(bucket.documents, seen, clock.now(), signal);
      const isListed = now.listedMs !== seen?.listedMs;
      const isKnown = now.isSame && !isListed && etag === digestOf(rootText(now.root));
      const offer = isKnown ? undefined : await offered(now, store, options, memory, signal);
      // Only now: what could not be read is asked for again.
      seen = now;
      return offer;
    },
    report: async ({ receipts, at }) =>
      Promise.resolve({
        receipts: receipts.map(digestOfEnvelope),
        catchingUp: false,
        duplicate: false,
        hubTime: at,
      }),
    async *ports(signal) {
      yield { ports: [], revision: 0 };
      // An abort that was before says so to no listener any more.
      if (signal.aborted) return;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    },
    async answer(command, lines) {
      for await (const _line of lines) continue;
      log.warn("a command was answered to nobody", { command });
    },
  };
}

interface Memory {
  /** Troubles that were logged. */
  readonly said: SaidOnce;
  /** A new label counts from the next order on, or from a start of the agent. */
  looked: Looked;
}

async function offered(
  seen: Seen,
  store: NodeStore,
  { bucket, wish, log, clock }: BucketSourceOptions,
  memory: Memory,
  signal: AbortSignal,
): Promise<Offered> {
  const { said, looked } = memory;
  const look = { wish, looked, now: clock.now(), signal };
  const offer = await bucketOffer(bucket.documents, seen, store.state, look);
  memory.looked = offer.looked;
  for (const { code, message } of offer.troubles) {
    if (said.isNews(message, clock.now())) log.error(message, { "err.code": code });
  }
  return {
    etag: digestOf(rootText(seen.root)),
    incarnation: "bucket",
    catchingUp: false,
    duplicate: false,
    charters: [...offer.charters],
    identity: null,
    apps: [...offer.apps],
    commands: [],
  };
}
