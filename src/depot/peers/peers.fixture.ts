import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { blobCache } from "../cache/blob-cache.ts";
import { cached, type CachedDepot, type PieceRange } from "../cache/cached.ts";
import type { ByteRange, DepotReader } from "../seam/depot.ts";
import { PeerClient, type PeerPlace } from "./peer-client.ts";
import { servePeers, type PeerServerOptions } from "./peer-server.ts";
import { Forest } from "./picking.ts";
import { proveBlob } from "./proof.ts";
import { Standing } from "./standing.ts";
import { Swarm, type PeerGift, type PeerNet } from "./swarm.ts";

/** A hub's depot of one blob, which counts what it gives. */
export interface Origin extends DepotReader {
  readonly bytes: Buffer;
  given: number;
  isGone: boolean;
  /** The same without being counted, for who makes proofs. */
  readonly quiet: DepotReader;
}

export const BLOB = "packs/a";

export function origin(size: number): Origin {
  const bytes = randomBytes(size);
  const shared = {
    kind: "hub",
    name: "hub",
    has: async (names: readonly string[]) => new Set(names.filter((name) => name === BLOB)),
    async *list() {
      yield BLOB;
    },
  } as const;
  const made: Origin = {
    ...shared,
    quiet: {
      ...shared,
      async *get() {
        yield bytes;
      },
    },
    bytes,
    given: 0,
    isGone: false,
    async *get(name, signal, range?: ByteRange) {
      const { start = 0, end = size } = range ?? {};
      if (name !== BLOB) throw new SkeinError("BLOB_MISSING", `no ${name}`);
      for (let at = start; at < Math.min(end, size); at += 65_536) {
        signal.throwIfAborted();
        if (made.isGone) throw new SkeinError("HUB_UNREACHABLE", "the hub is gone");
        const piece = Buffer.from(bytes.subarray(at, Math.min(at + 65_536, end)));
        made.given += piece.length;
        yield piece;
      }
    },
  };
  return made;
}

export interface TestPeer {
  readonly name: string;
  readonly depot: CachedDepot;
  readonly swarm: Swarm;
  readonly standing: Standing;
  readonly by: Map<string, number>;
  readonly place: PeerPlace;
  /** Asks another one over the wire. */
  ask(other: TestPeer, want: PieceRange, signal: AbortSignal): Promise<PeerGift>;
  /** Reads the whole blob, or a range of it. */
  read(range?: ByteRange): Promise<Buffer>;
  stop(): Promise<void>;
}

export interface SwarmOptionsForTests {
  readonly proofs?: boolean;
  /** In place of what an honest peer does. */
  readonly give?: (
    peer: number,
    want: PieceRange,
    honest: PeerServerOptions["give"],
  ) => PeerServerOptions["give"];
  readonly admits?: PeerServerOptions["admits"];
}

/** Peers in this process, each with its own cache, key and TLS server, before one origin. */
export async function swarmOf(
  t: TestContext,
  count: number,
  far: DepotReader & Pick<Origin, "bytes" | "quiet">,
  options: SwarmOptionsForTests = {},
): Promise<TestPeer[]> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-peers-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const keys = Array.from({ length: count }, () => generateSigner());
  const names = keys.map(({ kid }) => String(kid));
  const places = new Map<string, PeerPlace>();
  const forest = new Forest(names);
  const proof = proveBlob(far.quiet, BLOB, t.signal);
  const peers: TestPeer[] = [];
  for (const [n, key] of keys.entries()) {
    const name = String(key.kid);
    const identity = tlsIdentity(key.privateKey, "peer");
    const client = new PeerClient(identity);
    const net: PeerNet = {
      self: name,
      forest: async () => forest,
      proof: async () => (options.proofs === false ? undefined : await proof),
      ask: async (node, want, how) => {
        const place = places.get(node);
        if (place === undefined) throw new SkeinError("HUB_UNREACHABLE", "not there yet");
        return await client.ask(node, place, want, how);
      },
    };
    const standing = new Standing(() => performance.now());
    const near = blobCache({ dir: path.join(dir, String(n)), maxBytes: 2 ** 30, now: () => Date.now() });
    const swarm = new Swarm({ net, near, origin: far, standing });
    const honest: PeerServerOptions["give"] = async (want, held, signal) =>
      await swarm.give(want, held, signal);
    const server = await servePeers({
      identity,
      host: "127.0.0.1",
      port: 0,
      admits: options.admits ?? (async (node) => names.includes(node)),
      give: async (want, held, signal) =>
        await (options.give?.(n, want, honest) ?? honest)(want, held, signal),
    });
    const place = { host: "127.0.0.1", port: server.port, spki: identity.spki };
    places.set(name, place);
    const by = new Map<string, number>();
    const depot = cached({ near, far, pieces: swarm });
    const counted = depot.counted((kind, bytes) => by.set(kind, (by.get(kind) ?? 0) + bytes));
    const stop = async (): Promise<void> => {
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    };
    atEnd(t, stop);
    peers.push({
      name,
      depot,
      swarm,
      standing,
      by,
      place,
      stop,
      ask: async (other, want, signal) =>
        await client.ask(other.name, other.place, want, { held: false, patienceMs: () => 5000, signal }),
      async read(range = { start: 0, end: far.bytes.length }) {
        const pieces: Uint8Array[] = [];
        for await (const piece of counted.get(BLOB, t.signal, range)) pieces.push(piece);
        return Buffer.concat(pieces);
      },
    });
  }
  return peers;
}
