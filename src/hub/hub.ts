import path from "node:path";
import type { HubInfo } from "../api/schemas.ts";
import type { Digest } from "../lib/text/ids.ts";
import type { Envelope } from "../trust/document/envelope.ts";
import { CatchUp } from "./cluster/catch-up.ts";
import { Changes } from "./cluster/changes.ts";
import { Charters } from "./cluster/charters.ts";
import { Commands } from "./commands/commands.ts";
import type { Core } from "./records/core.ts";
import { Admissions } from "./depot/admission.ts";
import { Along } from "./depot/along.ts";
import { Deltas } from "./depot/deltas.ts";
import { RecentBlobs } from "./depot/recent-blobs.ts";
import { GitRepos } from "./git/git-repos.ts";
import type { PlaceLimits } from "./git/git-places.ts";
import { Layouts } from "./rollouts/layout.ts";
import { Nodes } from "./cluster/nodes.ts";
import { Orders } from "./orders/orders.ts";
import { Peers } from "./reporting/peers.ts";
import { PortTable } from "./reporting/port-table.ts";
import { Presence } from "./cluster/presence.ts";
import { Receipts } from "./orders/receipts.ts";
import { Releases } from "./orders/releases.ts";
import { startRollouts } from "./rollouts/rollouts.ts";
import { Reminders } from "./cluster/reminders.ts";
import { WantedDesk } from "./wanted/wanted.ts";
import type { Rollouts } from "./orders/gates.ts";
import { lookAtDepot } from "./depot/depot-upkeep.ts";

/** All parts of a running hub, put together once. */
export interface Hub {
  readonly core: Core;
  readonly charters: Charters;
  readonly nodes: Nodes;
  readonly changes: Changes;
  readonly reminders: Reminders;
  readonly presence: Presence;
  readonly peers: Peers;
  readonly releases: Releases;
  readonly layouts: Layouts;
  readonly admissions: Admissions;
  readonly deltas: Deltas;
  readonly along: Along;
  readonly recent: RecentBlobs;
  readonly orders: Orders;
  readonly receipts: Receipts;
  readonly ports: PortTable;
  readonly catchUp: CatchUp;
  readonly commands: Commands;
  readonly wanted: WantedDesk;
  readonly rollouts: Rollouts;
  readonly git: GitRepos;
  info(): HubInfo;
}

export interface OpenHubOptions {
  /** The charter chain to begin with when the store has none; checked against the store when it has one. */
  readonly charters?: readonly Envelope[];
  /** Digest of the first charter; another one is refused. Default: a hub without a charter takes the first it is sent. */
  readonly pin?: Digest;
  /** Who may have a git run, and for how long others wait. */
  readonly gits?: PlaceLimits;
}

/** @throws SkeinError CHARTER_PIN, DOC_*, STORE_*, WRONG_CLUSTER */
export async function openHub(core: Core, options: OpenHubOptions): Promise<Hub> {
  const { charters, nodes, catchUp } = await openCluster(core, options);
  const changes = new Changes(core, charters, nodes);
  const presence = new Presence(core, nodes);
  const releases = new Releases(core, charters);
  const orders = new Orders(core, charters, releases);
  const receipts = new Receipts(core, charters, orders);
  const commands = new Commands(core, charters, presence);
  const recent = new RecentBlobs(core.depot);
  const layouts = new Layouts({ core: { ...core, depot: recent.trees }, nodes, releases, orders });
  const rollouts = startRollouts({ core, orders, nodes, presence, layoutOf: layouts.of });
  const wanted = new WantedDesk({
    core,
    charters,
    nodes,
    changes,
    orders,
    releases,
    receipts,
    presence,
    commands,
    catchUp,
    gates: rollouts,
  });
  commands.onNews = (node) => wanted.wake(node);
  const ports = new PortTable(core, nodes, presence, {
    orders,
    // A restored hub does not know yet what it had given to whom: the table stays as the nodes say.
    names: (identity, place) => catchUp.on || wanted.ordersFor(identity, place).length > 0,
  });
  const peers = new Peers({ core, charters, nodes, orders, presence });
  return {
    core,
    charters,
    nodes,
    changes,
    reminders: new Reminders(core, { charters, nodes, changes, catchUp }),
    presence,
    peers,
    releases,
    layouts,
    admissions: new Admissions({ core, charters, releases }),
    deltas: new Deltas(core, { releases, orders, presence, peers, trees: recent.trees }),
    recent,
    along: new Along({ core, orders, releases, presence, peers }),
    orders,
    receipts,
    ports,
    catchUp,
    commands,
    wanted,
    rollouts,
    git: await GitRepos.open(path.join(core.paths.lib, "git"), core.log, options.gits),
    info: () => infoOf(core, charters, catchUp),
  };
}

/** Whose hub it is, and what of that it knows. */
async function openCluster(
  core: Core,
  options: OpenHubOptions,
): Promise<Pick<Hub, "charters" | "nodes" | "catchUp">> {
  const charters = new Charters(core, options.pin);
  await charters.begin(options.charters ?? []);
  const nodes = new Nodes(core, charters);
  const catchUp = new CatchUp(core, nodes);
  await catchUp.begin();
  await lookAtDepot(core, charters);
  return { charters, nodes, catchUp };
}

function infoOf(core: Core, charters: Charters, catchUp: CatchUp): HubInfo {
  const charter = charters.current;
  return {
    cluster: charter?.cluster ?? null,
    incarnation: core.store.incarnation,
    version: core.version,
    charterVersion: charter?.version ?? 0,
    catchingUp: catchUp.on,
  };
}
