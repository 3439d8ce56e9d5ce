/** What every part of the hub works with. */
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import type { ReceivingDepot } from "../../depot/seam/depot.ts";
import type { Traffic } from "../../depot/traffic/traffic.ts";
import type { Compare, Op, Store } from "../../store/store.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import type { TlsIdentity } from "../../trust/connection/tls.ts";
import type { Mirror } from "./mirror.ts";
import type { Lanes } from "./lanes.ts";

export interface Core {
  readonly store: Store;
  readonly depot: ReceivingDepot;
  /** Holds blobs on their way in and out to the hub's limits. */
  readonly traffic: Traffic;
  readonly paths: Paths;
  readonly mirror: Mirror;
  readonly signer: LocalSigner;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  /** Time that nobody sets, without that in which this process was stopped: for whatever others would have done in it. */
  readonly lived: Clock;
  readonly log: Log;
  readonly version: string;
  /** Ends with the hub. */
  readonly signal: AbortSignal;
  readonly lanes: Lanes;
}

export const put = (key: string, value: unknown, lease?: number): Op => ({
  op: "put",
  key,
  value: JSON.stringify(value),
  ...(lease === undefined ? {} : { lease }),
});

/** The key is as it was when `modRevision` was read; 0: it is not there. */
export const unchanged = (key: string, modRevision: number): Compare => ({
  key,
  target: "modRevision",
  op: "=",
  value: modRevision,
});

/** What a node says is written one after the other. */
export const nodeLane = (node: KeyId): string => `node ${node}`;

/** Below the store's bound of 128 operations. */
const OPS_AT_ONCE = 100;

/** Writes in one transaction, where it is not too much for one, in this order; waits until the mirror shows it. */
export async function write(core: Pick<Core, "store" | "mirror">, ops: readonly Op[]): Promise<void> {
  for (let at = 0; at < ops.length; at += OPS_AT_ONCE) {
    const { revision } = await core.store.txn({ compare: [], then: ops.slice(at, at + OPS_AT_ONCE) });
    await core.mirror.reached(revision);
  }
}

/** Writes under conditions and waits until the mirror shows it. @throws SkeinError CONFLICT */
export async function commit(core: Core, compare: readonly Compare[], then: readonly Op[]): Promise<void> {
  const { succeeded, revision } = await core.store.txn({ compare, then });
  if (!succeeded) throw new SkeinError("CONFLICT", "somebody else changed the same thing first");
  await core.mirror.reached(revision);
}
