import type { HubClient } from "../../api/hub-client.ts";
import type { DepotReader } from "../../depot/depot.ts";
import { WHOLE_BYTES } from "../../depot/peers/proof.ts";
import type { KeyId } from "../../lib/ids.ts";
import { portTables } from "./port-tables.ts";
import type { PeerHints, Source } from "./source.ts";

/**
 * A hub, through its typed client over pinned TLS.
 * @param options.boot this agent's nonce: it tells the hub at once when another live agent has the same key
 * @param options.charterVersion of the charter in force, at any time
 */
export function hubSource(
  client: HubClient,
  depot: DepotReader,
  options: { readonly node: KeyId; readonly boot: string; readonly charterVersion: () => number },
): Source {
  const { node, boot, charterVersion } = options;
  return {
    get name() {
      return client.name;
    },
    depots: [depot],
    peers: hintsOf(client),
    paced: true,
    wanted: async (etag, waitMs, signal) => await client.wanted(etag, waitMs, signal, boot),
    report: async (report, signal) => await client.report(report, signal),
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
