import type { HubClient } from "../../api/hub-client.ts";
import type { ReturnPost } from "../../api/member-schemas.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { WHOLE_BYTES } from "../../depot/peers/proof.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import type { KeptDocuments } from "../node/kept-documents.ts";
import { comingBack } from "./coming-back.ts";
import { portTables } from "./port-tables.ts";
import { withRosters } from "./rosters.ts";
import type { PeerHints } from "../peers/peer-hints.ts";
import type { Source } from "./source.ts";

/**
 * A hub, through its typed client over pinned TLS.
 * @param options.boot this agent's nonce: it tells the hub at once when another live agent has the same key
 * @param options.charterVersion of the charter in force, at any time
 * @param options.kept the rosters that this node has
 * @param options.papers what a hub is told that does not know this node
 */
export function hubSource(
  client: HubClient,
  depot: DepotReader,
  options: {
    readonly node: KeyId;
    readonly boot: string;
    readonly charterVersion: () => number;
    readonly kept: Pick<KeptDocuments, "roster">;
    readonly papers: () => ReturnPost | undefined;
  },
): Source {
  const { node, boot, charterVersion, kept, papers } = options;
  const known = comingBack(client, papers);
  return {
    get name() {
      return client.name;
    },
    depots: [depot],
    peers: hintsOf(client),
    paced: true,
    async wanted(etag, waitMs, signal) {
      const wanted = await known(async () => await client.wanted(etag, waitMs, signal, boot));
      if (wanted === undefined) return undefined;
      return await withRosters(
        wanted,
        async (digest) => (await kept.roster(digest)) ?? (await client.roster(digest, signal)),
      );
    },
    report: async (report, signal) => await known(async () => await client.report(report, signal)),
    membership: async (after, signal) => await client.call("membership", { query: { after }, signal }),
    ports: (signal) => portTables(client, charterVersion, signal),
    answer: async (command, lines, signal) => {
      await client.answerCommand(command, node, lines, signal);
    },
  };
}

function hintsOf(client: HubClient): PeerHints {
  return {
    async list(etag, signal) {
      const { etag: now, peers } = await client.call("peers", { query: { etag }, signal });
      return peers === null ? undefined : { etag: now, peers };
    },
    listsMembers: true,
    documents: async (node, signal) => await client.nodeDocuments(node, signal),
    proof: async (name, signal) => await client.provenBlob(name, WHOLE_BYTES, signal),
  };
}
