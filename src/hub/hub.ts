/** All parts of a running hub, put together once. */
import type { HubInfo } from "../api/schemas.ts";
import type { Charters } from "./charters.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Commands } from "./commands.ts";
import type { Core } from "./core.ts";
import type { Deltas } from "./deltas.ts";
import type { Rollouts } from "./gates.ts";
import type { GitRepos } from "./git-repos.ts";
import type { Layouts } from "./layout.ts";
import type { Nodes } from "./nodes.ts";
import type { Orders } from "./orders.ts";
import type { Peers } from "./peers.ts";
import type { PortTable } from "./port-table.ts";
import type { Presence } from "./presence.ts";
import type { Receipts } from "./receipts.ts";
import type { Releases } from "./releases.ts";
import type { WantedDesk } from "./wanted.ts";

export interface Hub {
  readonly core: Core;
  readonly charters: Charters;
  readonly nodes: Nodes;
  readonly presence: Presence;
  readonly peers: Peers;
  readonly releases: Releases;
  readonly layouts: Layouts;
  readonly deltas: Deltas;
  readonly orders: Orders;
  readonly receipts: Receipts;
  readonly ports: PortTable;
  readonly catchUp: CatchUp;
  readonly commands: Commands;
  readonly wanted: WantedDesk;
  readonly rollouts: Rollouts;
  readonly git: GitRepos;
  info(): Promise<HubInfo>;
}
