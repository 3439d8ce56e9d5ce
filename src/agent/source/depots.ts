import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import { cached, type PieceRange } from "../../depot/cache/cached.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import type { PeerAnswer, Swarm } from "../../depot/peers/swarm.ts";
import { Traffic, type TrafficLimits } from "../../depot/traffic/traffic.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import type { NodeStore } from "../node/node-store.ts";
import { PeerLink } from "../peers/peer-link.ts";
import { nodeCache } from "./node-cache.ts";
import type { Source } from "./source.ts";

/** What a node reads from before it asks its source, and what it gives to others. */
export interface NearOptions {
  /** Most that the cache of blobs takes on the disk; 0: none. Default: a twentieth of the disk, at most 4 GiB. */
  readonly cacheBytes?: number | undefined;
  /** Where peers are served; 0: any free port; null: nowhere, and none are asked. Default 0. */
  readonly peerPort?: number | null | undefined;
  /** Of what comes from depots and peers, and what goes to peers. Default: none. */
  readonly limits?: TrafficLimits | undefined;
}

/** `near`: the nearest first. `anew`: all from afar, and into the cache, in place of what it holds. `far`: past the cache. */
export type Nearness = "near" | "anew" | "far";

interface NodeParts {
  readonly options: {
    readonly paths: Paths;
    readonly clock: Clock;
    readonly log: Log;
    readonly name: string;
    readonly address: () => string;
    readonly bind: string;
    readonly near?: NearOptions | undefined;
  };
  readonly signer: LocalSigner;
  readonly store: NodeStore;
}

interface Made {
  /** The depot itself, within the limits. */
  readonly far: DepotReader;
  readonly readers: readonly DepotReader[];
  readonly swarm: Swarm | undefined;
}

/** Pieces of a stream that go to the cache while more come. */
export const BEHIND = 4;

/**
 * What this node reads blobs from, the nearest first: its cache, its peers, then where its source says they are. Every
 * depot of the source comes twice: through cache and peers, and then once more past them, for what was found damaged.
 */
export class NearDepots implements AsyncDisposable {
  readonly cache: BlobCache;
  /** Where it is told about depots and peers from; undefined: nowhere yet. */
  source: () => Source | undefined = () => undefined;
  readonly #traffic: Traffic;
  #link: PeerLink | undefined;
  readonly #made = new WeakMap<DepotReader, Made>();

  private constructor({ options: { paths, clock, log, near = {} } }: NodeParts) {
    this.#traffic = new Traffic(near.limits ?? {}, clock);
    this.cache = nodeCache({ paths, cacheBytes: near.cacheBytes, clock, log });
  }

  /** Begins to serve peers. @throws SkeinError PORT_TAKEN where a port was asked for by its number */
  static async open(parts: NodeParts): Promise<NearDepots> {
    const made = new NearDepots(parts);
    const { signer, store, options } = parts;
    const { name, address, bind, clock, near = {} } = options;
    const { peerPort = 0 } = near;
    if (peerPort === null) return made;
    made.#link = await PeerLink.open({
      signer,
      identity: tlsIdentity(signer.privateKey, name),
      state: () => store.state,
      hints: () => made.source()?.peers,
      address,
      bind,
      port: peerPort,
      give: async (want, held, signal) => await made.#give(want, held, signal),
      traffic: made.#traffic,
      clock,
    });
    return made;
  }

  /** What others are told of where this node serves peers now; null: nowhere. */
  async endpoint(): Promise<Envelope | null> {
    return (await this.#link?.endpoint()) ?? null;
  }

  readers(how: Nearness = "near"): readonly DepotReader[] {
    const made = (this.source()?.depots ?? []).map((far) => this.#of(far));
    if (how === "far") return made.map(({ far }) => far);
    if (how === "anew") return made.map(({ far }) => cached({ near: blind(this.cache), far }));
    return made.flatMap(({ readers }) => readers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link?.[Symbol.asyncDispose]();
  }

  async #give(want: PieceRange, held: boolean, signal: AbortSignal): Promise<PeerAnswer> {
    const [far] = this.source()?.depots ?? [];
    const swarm = far === undefined ? undefined : this.#of(far).swarm;
    if (swarm !== undefined) return await swarm.give(want, held, signal);
    throw new SkeinError("BLOB_MISSING", "this node has nowhere to read from yet");
  }

  #of(depot: DepotReader): Made {
    const known = this.#made.get(depot);
    if (known !== undefined) return known;
    const far = this.#traffic.reading(depot);
    const swarm = this.#link?.swarm(far, this.cache);
    const near = cached({ near: this.cache, far, pieces: swarm, behind: BEHIND });
    const made = { far, readers: [near, near.mending], swarm };
    this.#made.set(depot, made);
    return made;
  }
}

/** A cache that is written to and not read. */
function blind(cache: BlobCache): BlobCache {
  return {
    dir: cache.dir,
    maxBytes: cache.maxBytes,
    read: async () => undefined,
    peek: async () => undefined,
    gapEnd: async (_name, _start, end) => end,
    write: async (...what) => await cache.write(...what),
    drop: async (...what) => await cache.drop(...what),
    check: async (...what) => await cache.check(...what),
    blobs: async () => await cache.blobs(),
    shrinkTo: async (bytes) => await cache.shrinkTo(bytes),
    giveWay: async (bytes) => await cache.giveWay(bytes),
  };
}
