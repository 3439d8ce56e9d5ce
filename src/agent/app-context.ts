import type { BlobCache } from "../depot/cache/blob-cache.ts";
import type { DepotReader } from "../depot/depot.ts";
import type { Clock } from "../lib/clock.ts";
import type { ErrorCode } from "../lib/errors.ts";
import type { Digest, ReleaseId } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import type { Paths } from "../lib/paths.ts";
import type { LocalSigner } from "../trust/keys.ts";
import type { AppLog } from "./programs/app-log.ts";
import type { Nearness } from "./source/depots.ts";
import type { AppFolders } from "./installs/folders.ts";
import type { Pace } from "./attempt/goal.ts";
import type { Groups } from "./programs/groups.ts";
import type { Hold } from "./attempt/hold.ts";
import type { Instances } from "./attempt/instances.ts";
import type { Neighbours } from "./registry/neighbours.ts";
import type { NodeStore } from "./node/node-store.ts";
import type { Outbox } from "./attempt/receipts.ts";
import type { Records } from "./attempt/records.ts";
import type { When } from "./reporting/report-loop.ts";
import type { Releases } from "./installs/releases.ts";
import type { Spares } from "./installs/spares.ts";
import type { Staged } from "./installs/staged.ts";
import type { StepName } from "./attempt/plan.ts";

/** A step, or a hook, that did not do what it should. */
export interface StepFailure {
  readonly app: string;
  readonly step: StepName | "pre-remove" | "gc";
  /** Of which release, where it is not the one that is ordered. */
  readonly release?: ReleaseId;
  readonly code: ErrorCode;
  readonly message: string;
  /** The last lines of what was run. */
  readonly lines: readonly string[];
}

/** What every app's worker shares. */
export interface AppContext {
  readonly paths: Paths;
  readonly clock: Clock;
  readonly log: Log;
  readonly signer: LocalSigner;
  readonly store: NodeStore;
  readonly records: Records;
  readonly outbox: Outbox;
  readonly releases: Releases;
  readonly staged: Staged;
  readonly instances: Instances;
  readonly groups: Groups;
  readonly folders: (app: string) => AppFolders;
  readonly logOf: (app: string) => AppLog;
  readonly pace: () => Pace;
  /** What releases are read from. Default: the nearest first. */
  readonly depots: (how?: Nearness) => readonly DepotReader[];
  /** What this node fetched, and keeps. Absent: it keeps nothing. */
  readonly cache?: BlobCache;
  /** Prepares next installs while nothing is to be done. Absent: nobody does. */
  readonly spares?: Spares;
  /** Lets the app's worker look for instances that are missing, and for a lost `current`. */
  readonly doubt: (app: string) => void;
  /** Ends a hook of an order that is being taken back, and says which. Absent: nobody asks for that. */
  readonly endHook?: (app: string, order: Digest) => StepName | undefined;
  /** Knows the services on other nodes. Absent: there are none. */
  readonly neighbours?: Pick<Neighbours, "refresh">;
  /** What a person on this machine asked for in place of the order; null: nothing. */
  readonly hold?: (app: string) => Hold | null;
  /** Releases that are to be here beside those that orders name: no gc takes them. Absent: there are none. */
  readonly wanted?: () => Iterable<ReleaseId>;
  /** Told of each step that failed, also of those that hold nothing up. */
  readonly onFailure?: (failure: StepFailure) => void;
  /** Told whenever something changed that a report tells of. */
  readonly onNews: (when: When) => void;
}
