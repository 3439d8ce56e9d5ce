import fs from "node:fs/promises";
import path from "node:path";
import type { NodeDocuments } from "../../api/member-schemas.ts";
import type { Bucket } from "../../bucket/bucket.ts";
import { readCharters } from "../../bucket/entries.ts";
import type { Root } from "../../bucket/root.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { newNodeState } from "../../trust/node/node-state.ts";
import type { AppContext, StepFailure } from "../attempt/app-context.ts";
import { appLog } from "../programs/app-log.ts";
import { processGroups } from "../programs/groups.ts";
import { readHold, writeHold, type Hold } from "../plan/hold.ts";
import { unpinned } from "../node/join-bucket.ts";
import { openKept, type KeptDocuments } from "../node/kept-documents.ts";
import { namedDocuments } from "../installs/named-documents.ts";
import { nodeKeys, type NodeKeys } from "../node/node-keys.ts";
import { createNodeStore, loadNodeStore, openNodeStore, type NodeStore } from "../node/node-store.ts";
import { openRecords } from "../plan/records.ts";
import { Releases } from "../installs/releases.ts";
import { openStaged } from "../installs/staged.ts";
import { appUsers } from "../programs/users.ts";
import { AppWorker } from "../attempt/worker.ts";
import type { NearBucket } from "./near-bucket.ts";
import { noInstances, noOutbox, UNPACED } from "./stand-ins.ts";
import { rootFolder, type PackagePlace } from "./package-place.ts";

/** What opening a package needs from outside of it. */
export interface SubscriberTools {
  readonly bucket: Bucket;
  /** The same bucket's blobs, and what this machine has of them. */
  readonly near: NearBucket;
  /** Fingerprint of the first charter; null: as it was pinned here before. */
  readonly pin: Digest | null;
  readonly env: string;
  readonly paths: Paths;
  /** How the machine calls itself to scripts. */
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each line that a script prints. */
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

/** A package under its lock, with the agent's own machinery around it. */
export interface OpenPackage {
  readonly place: PackagePlace;
  readonly context: AppContext;
  readonly kept: KeptDocuments;
  readonly store: NodeStore;
  readonly worker: AppWorker;
  /** This machine's birth certificate, where it has joined the cluster. */
  readonly identity: NodeDocuments | null;
  /** Scripts and steps that failed since it was opened. */
  readonly failures: readonly StepFailure[];
  hold(): Hold | null;
  setHold(hold: Hold | null): Promise<void>;
  /** What a sync would fetch again: no gc takes it while the package is open. */
  keep(wanted: readonly ReleaseId[]): void;
}

/**
 * Opens a package; the caller has its turn (turn.ts). The first time pins the charter, for which it needs the root.
 * @throws SkeinError CHARTER_PIN, STORE_CORRUPT, KEY_UNREADABLE, and what the bucket throws
 */
export async function openPackage(
  place: PackagePlace,
  root: Root | null,
  tools: SubscriberTools,
): Promise<OpenPackage> {
  const { state } = place;
  const store = await storeOf(place, root, tools);
  const self = await selfOf(store, tools, rootFolder(place.folders.root));
  const kept = await openKept(path.join(state, "documents"), undefined, tools.log);
  const records = await openRecords(path.join(state, "apps"), undefined, tools.log);
  const staged = await openStaged(state, undefined, tools.log);
  kept.keepOnly(namedDocuments(store.state, records.all(), staged));
  const groups = processGroups(path.join(state, "groups"));
  await groups.sweep();
  const holdFile = path.join(state, "hold.json");
  let hold = await readHold(holdFile);
  let wanted: readonly ReleaseId[] = [];
  const failures: StepFailure[] = [];
  const log = appLog(place.logs, place.package.name, tools.onLine);
  const context: AppContext = {
    paths: tools.paths,
    clock: tools.clock,
    log: tools.log,
    signer: self.keys.signer,
    store,
    records,
    outbox: noOutbox,
    releases: releasesOf(place, store, kept, self, tools),
    staged,
    instances: noInstances,
    groups,
    folders: () => place.folders,
    logOf: () => log,
    pace: () => UNPACED,
    depots: () => tools.near.depots,
    cache: tools.near.cache,
    doubt: () => undefined,
    hold: () => hold,
    wanted: () => wanted,
    onFailure: (failure) => failures.push(failure),
    onNews: () => undefined,
  };
  return {
    place,
    context,
    kept,
    store,
    worker: new AppWorker(place.package.app, context),
    identity: self.documents,
    failures,
    hold: () => hold,
    async setHold(next) {
      await writeHold(holdFile, next);
      hold = next;
    },
    keep(next) {
      wanted = next;
    },
  };
}

interface Self {
  readonly keys: NodeKeys;
  readonly documents: NodeDocuments | null;
}

function releasesOf(
  place: PackagePlace,
  store: NodeStore,
  kept: KeptDocuments,
  { keys }: Self,
  { paths, clock, near, node, log }: SubscriberTools,
): Releases {
  const anonymous: Identity = { node: keys.signer.kid, name: node, labels: {}, serial: 0 };
  return new Releases({
    folders: () => place.folders,
    kept,
    // Users are the machine's: no two apps of it may ever have one, whoever placed them.
    users: appUsers(path.join(paths.lib, "state"), process.getuid?.() === 0),
    state: () => store.state,
    identity: () => store.state.identity ?? anonymous,
    now: () => clock.now(),
    filesOnly: true,
    command: undefined,
    registryUrl: () => null,
    cache: near.cache,
    log,
  });
}

async function storeOf(place: PackagePlace, root: Root | null, tools: SubscriberTools): Promise<NodeStore> {
  const { pin, bucket, clock, signal } = tools;
  const known = await openNodeStore(place.state);
  if (known !== undefined) {
    if (pin === null || pin === known.state.pin) return known;
    throw new SkeinError("CHARTER_PIN", `${place.folders.app} was pinned to another charter`, {
      hint: `If the cluster is really another one, remove ${place.own} and what it placed.`,
      data: { pinned: known.state.pin, asked: pin },
    });
  }
  if (root === null) {
    throw new SkeinError("NOT_FOUND", `nothing of ${place.package.name} was synced here yet`, {
      hint: "Run skein ftl sync first.",
      data: { package: place.package.name },
    });
  }
  if (pin === null) throw unpinned();
  const [first] = await readCharters(bucket.documents, 0, 1, signal);
  if (first === undefined)
    throw new SkeinError("CHARTER_PIN", `${bucket.name} has no charter`, { hint: INIT });
  return await createNodeStore(place.state, newNodeState(first, pin, clock.now()));
}

const INIT = "On an operator's machine: skein init --bucket BUCKET";

/** A machine that has joined the cluster is that node here too, if its keys may be read; else it has no name. */
async function selfOf(store: NodeStore, { paths }: SubscriberTools, own: string): Promise<Self> {
  const joined = await loadNodeStore(path.join(paths.lib, "state")).catch(() => undefined);
  const { ticket, enrol, label, revoke } = joined?.state.documents ?? {};
  if (joined?.state.pin === store.state.pin && ticket && enrol) {
    const keys = await nodeKeys(paths.etc).catch(() => undefined);
    if (keys !== undefined) {
      return { keys, documents: { ticket, enrol, label: label ?? null, revoke: revoke ?? null } };
    }
  }
  await fs.mkdir(own, { recursive: true, mode: 0o755 });
  return { keys: await nodeKeys(own), documents: null };
}
