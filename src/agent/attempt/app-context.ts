import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import type { Nearness } from "../source/depots.ts";
import type { GcContext, RemovalFailure } from "../installs/gc.ts";
import type { Pace } from "../plan/goal.ts";
import type { Hold } from "../plan/hold.ts";
import type { Instances } from "./instances.ts";
import type { Neighbours } from "../registry/neighbours.ts";
import type { NodeStore } from "../node/node-store.ts";
import type { Outbox } from "./outbox.ts";
import type { Records } from "../plan/records.ts";
import type { StepName } from "../plan/plan.ts";

/** A step, or a removal, that did not do what it should. */
export interface StepFailure extends Omit<RemovalFailure, "step" | "release"> {
  readonly step: StepName | RemovalFailure["step"];
  /** Of which release, where it is not the one that is ordered. */
  readonly release?: ReleaseId;
}

/**
 * How soon a report is to tell of something. `now`: somebody waits for it. `soon`: how far a long step is. `later`: what
 * another report will mostly tell before.
 */
export type When = "now" | "soon" | "later";

/** What every app's worker shares. */
export interface AppContext extends GcContext {
  readonly paths: Paths;
  readonly signer: LocalSigner;
  readonly store: NodeStore;
  readonly records: Records;
  readonly outbox: Outbox;
  readonly instances: Instances;
  readonly pace: () => Pace;
  /** What releases are read from. Default: the nearest first. */
  readonly depots: (how?: Nearness) => readonly DepotReader[];
  /** What this node fetched, and keeps. Absent: it keeps nothing. */
  readonly cache?: BlobCache;
  /** Lets the app's worker look for instances that are missing, and for a lost `current`. */
  readonly doubt: (app: string) => void;
  /** Ends a hook of an order that is being taken back, and says which. Absent: nobody asks for that. */
  readonly endHook?: (app: string, order: Digest) => StepName | undefined;
  /** Knows the services on other nodes. Absent: there are none. */
  readonly neighbours?: Pick<Neighbours, "refresh">;
  /** What a person on this machine asked for in place of the order; null: nothing. */
  readonly hold?: (app: string) => Hold | null;
  /** Told of each step that failed, also of those that hold nothing up. */
  readonly onFailure?: (failure: StepFailure) => void;
  /** Told whenever something changed that a report tells of. */
  readonly onNews: (when: When) => void;
}
