import type { HubClient } from "../../api/hub-client.ts";
import type { PortEntry } from "../../api/schemas.ts";
import type { DepotReader } from "../../depot/depot.ts";
import { WHOLE_BYTES } from "../../depot/peers/proof.ts";
import type { KeyId } from "../../lib/ids.ts";
import type { PeerHints, Source } from "./source.ts";

/** Changes of the table that come within this time are given as one. */
const GATHER_MS = 20;

/**
 * A hub, through its typed client over pinned TLS.
 * @param boot this agent's nonce: it tells the hub at once when another live agent has the same key
 */
export function hubSource(client: HubClient, depot: DepotReader, node: KeyId, boot: string): Source {
  return {
    get name() {
      return client.name;
    },
    depots: [depot],
    peers: hintsOf(client),
    paced: true,
    wanted: async (etag, waitMs, signal) => await client.wanted(etag, waitMs, signal, boot),
    report: async (report, signal) => await client.report(report, signal),
    ports: (signal) => portTables(client, signal),
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
    documents: async (node, signal) => await client.nodeDocuments(node, signal),
    proof: async (name, signal) => await client.provenBlob(name, WHOLE_BYTES, signal),
  };
}

/** The table at first, then again after each burst of changes. */
async function* portTables(client: HubClient, signal: AbortSignal): AsyncGenerator<readonly PortEntry[]> {
  const first = await client.ports({}, signal);
  yield first.ports;
  for await (const event of client.watch(signal, { from: first.revision + 1, prefix: "ports" })) {
    if (event.type !== "port") continue;
    await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    yield (await client.ports({}, signal)).ports;
  }
}
