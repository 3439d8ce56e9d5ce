import type { Membership, NodeDocuments } from "../../api/member-schemas.ts";
import type { PortEntry, Report, Reported, Wanted } from "../../api/schemas.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { PeerHints } from "../peers/peer-hints.ts";

/** What a source says is wanted. A hub says more of it. */
export type Offered = Omit<Wanted, "identity"> & {
  /** null: the source knows nobody by name. */
  readonly identity: NodeDocuments | null;
};

/** The whole port table as it was at one moment. */
export interface PortTable {
  readonly ports: readonly PortEntry[];
  /** Of two tables that came since the source was opened the newer one has the higher. */
  readonly revision: number;
}

/** Commands that are answered at once, each for as long as it likes: a source may hand over as many as it likes. */
export const MOST_COMMANDS = 64;

/**
 * What an agent converges from: signed documents and the blobs they lead to. A source is never trusted; it may be
 * slow, stale or gone, and can only delay. All calls end when `signal` aborts.
 */
export interface Source {
  /** For messages. */
  readonly name: string;
  /** Blobs of releases, tried in this order. */
  readonly depots: readonly DepotReader[];
  /** Absent: nobody tells of peers, and none are asked. */
  readonly peers?: PeerHints;
  /** Whether gates are given here: then nothing starts without one. */
  readonly paced: boolean;
  /** What this node should run; undefined when within `waitMs` nothing but `etag` came. */
  wanted(etag: string | undefined, waitMs: number, signal: AbortSignal): Promise<Offered | undefined>;
  /** Says what this node does; the answer tells which receipts need not be sent again. */
  report(report: Report, signal: AbortSignal): Promise<Reported>;
  /** What this node is to keep of members that changed after a revision. Absent: nobody tells. */
  membership?(after: number, signal: AbortSignal): Promise<Membership>;
  /** The port table, each time it changed. Throws when it cannot be reached. */
  ports(signal: AbortSignal): AsyncIterable<PortTable>;
  /** Answers a command with lines of JSON, the last of which is `{"type": "result", ...}`. */
  answer(command: Digest, lines: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}
