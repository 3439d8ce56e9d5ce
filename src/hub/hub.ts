/** All parts of a running hub, put together once. */
import type { HubInfo } from "../api/schemas.ts";
import type { Charters } from "./cluster/charters.ts";
import type { Changes } from "./cluster/changes.ts";
import type { CatchUp } from "./cluster/catch-up.ts";
import type { Commands } from "./commands/commands.ts";
import type { Core } from "./records/core.ts";
import type { Admissions } from "./depot/admission.ts";
import type { Along } from "./depot/along.ts";
import type { Deltas } from "./depot/deltas.ts";
import type { RecentBlobs } from "./depot/recent-blobs.ts";
import type { Rollouts } from "./orders/gates.ts";
import type { GitRepos } from "./git/git-repos.ts";
import type { Layouts } from "./rollouts/layout.ts";
import type { Nodes } from "./cluster/nodes.ts";
import type { Reminders } from "./cluster/reminders.ts";
import type { Orders } from "./orders/orders.ts";
import type { Peers } from "./reporting/peers.ts";
import type { PortTable } from "./reporting/port-table.ts";
import type { Presence } from "./cluster/presence.ts";
import type { Receipts } from "./orders/receipts.ts";
import type { Releases } from "./orders/releases.ts";
import type { WantedDesk } from "./wanted/wanted.ts";

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
