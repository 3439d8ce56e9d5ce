import { listedHubs, type HubAddress } from "../../api/hub-address.ts";
import { HubClient } from "../../api/hub-client.ts";
import type { ReturnPost } from "../../api/member-schemas.ts";
import type { Charter } from "../../trust/document/documents.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { hubDepot } from "./hub-depot.ts";
import { firstHub } from "../node/join.ts";
import type { KeptDocuments } from "../node/kept-documents.ts";
import type { NodeKeys } from "../node/node-keys.ts";
import { MOST_COMMANDS, type Source } from "./source.ts";
import { hubSource } from "./source-hub.ts";

/** Nothing that a node says for itself waits until somebody has seen enough of its logs. */
const MOST_SOCKETS = 16 + MOST_COMMANDS;

/** A source that knows by which hubs it was made, so that a new charter makes a new one. */
interface LinkedSource extends Source {
  readonly madeFor: string;
  readonly client: HubClient;
}

interface HubLinkOptions {
  readonly hub?: HubAddress | undefined;
  readonly name: string;
  readonly paths: Paths;
  /** This agent's nonce. */
  readonly boot: string;
  /** Version of the charter in force, at any time. */
  readonly charterVersion: () => number;
  readonly kept: Pick<KeptDocuments, "roster">;
  /** What a hub is told that does not know this node. */
  readonly papers: () => ReturnPost | undefined;
}

/**
 * The hub source for the charter in force: the hubs it lists, and the ones given on the command line. The same source
 * as before, unless the list changed.
 * @throws SkeinError HUB_UNREACHABLE when none is known
 */
export async function hubFor(
  charter: Charter,
  keys: NodeKeys,
  options: HubLinkOptions,
  before: Source | undefined,
): Promise<Source> {
  const hubs = await hubsOf(charter, options);
  const madeFor = JSON.stringify(hubs);
  if (before !== undefined && isLinked(before)) {
    if (before.madeFor === madeFor) return before;
    before.client.close();
  }
  if (hubs.length === 0)
    throw new SkeinError("HUB_UNREACHABLE", "the charter lists no hub, and none was given");
  const identity = tlsIdentity(keys.signer.privateKey, options.name);
  const client = new HubClient({ hubs, identity, maxSockets: MOST_SOCKETS });
  const { boot, charterVersion, kept, papers } = options;
  const own = { node: keys.signer.kid, boot, charterVersion, kept, papers };
  const source = hubSource(client, hubDepot(client), own);
  return Object.assign(source, { madeFor, client }) satisfies LinkedSource;
}

async function hubsOf(
  charter: Charter,
  { hub, paths }: { readonly hub?: HubAddress | undefined; readonly paths: Paths },
): Promise<readonly HubAddress[]> {
  const first = await firstHub(paths.etc);
  // The ticket's hub counts only while the charter still lists its key.
  const known = first !== undefined && Object.hasOwn(charter.hubs, first.spki) ? [first] : [];
  const all = [...(hub === undefined ? [] : [hub]), ...known, ...listedHubs(charter)];
  return all.filter((one, n) => all.findIndex((other) => sameHub(one, other)) === n);
}

const sameHub = (a: HubAddress, b: HubAddress): boolean => a.spki === b.spki && a.address === b.address;

function isLinked(source: Source): source is LinkedSource {
  return "madeFor" in source && "client" in source;
}
