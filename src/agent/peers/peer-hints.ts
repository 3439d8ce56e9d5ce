import type { NodeDocuments } from "../../api/member-schemas.ts";
import type { ProvenBlob } from "../../depot/peers/proof.ts";
import type { KeyId } from "../../lib/text/ids.ts";

/** What a source tells of other nodes that may have the same blobs. Nothing of it is believed unproved. */
export interface PeerHints {
  /** Nodes and where they say they listen (`host:port`); undefined: the same as `etag` stood for. */
  list(etag: string | undefined, signal: AbortSignal): Promise<PeerList | undefined>;
  /** Whether who was revoked is left out of the list. */
  readonly listsMembers: boolean;
  /** What proves a node's identity. @throws SkeinError NODE_NOT_FOUND */
  documents(node: KeyId, signal: AbortSignal): Promise<NodeDocuments>;
  /** What a blob's pieces hash to, with the bytes of a small one; undefined where nobody says. */
  proof(name: string, signal: AbortSignal): Promise<ProvenBlob | undefined>;
}

interface PeerList {
  readonly etag: string;
  readonly peers: readonly { readonly node: string; readonly address: string }[];
}
