import path from "node:path";
import type { Identity } from "../trust/members/identity.ts";
import { appLogs } from "./programs/app-log.ts";
import type { AppContext } from "./attempt/app-context.ts";
import type { NearDepots } from "./source/depots.ts";
import { appFolders, type AppFolders } from "./installs/folders.ts";
import { processGroups } from "./programs/groups.ts";
import { runtimeInstances } from "./attempt/instances.ts";
import { openKept, type KeptDocuments } from "./node/kept-documents.ts";
import type { NodeKeys } from "./node/node-keys.ts";
import type { NodeStore } from "./node/node-store.ts";
import { knownBefore } from "./registry/neighbours.ts";
import type { OpenNodeOptions } from "./node/open-node.ts";
import { openOutbox } from "./attempt/outbox.ts";
import { openRemembered, type Remembered } from "./node/remembered-members.ts";
import { openRecords } from "./plan/records.ts";
import { openRegistryHost, type RegistryHost } from "./registry/registry-host.ts";
import { Releases, type ReleasesOptions } from "./installs/releases.ts";
import type { WriteFile } from "./node/reserve.ts";
import type { AppRuntime } from "./runtime/runtime.ts";
import { selfOf } from "./node/self.ts";
import { Spares, type SparesOptions } from "./installs/spares.ts";
import { openStaged } from "./installs/staged.ts";
import { appUsers } from "./programs/users.ts";

/** What an agent is told of its surroundings. */
type PartsOptions = Pick<OpenNodeOptions, "paths" | "name" | "begin" | "clock" | "log"> &
  Pick<ReleasesOptions, "leastSpareFiles"> & {
    /** Runs in place of every service release's own processes. */
    readonly command?: readonly string[] | undefined;
  };

/** What is open before the parts are. */
interface Opened {
  readonly stateDir: string;
  readonly keys: NodeKeys;
  readonly store: NodeStore;
  readonly runtime: AppRuntime;
  readonly near: NearDepots;
  /** For what must be written also when the disk is full. */
  readonly write: WriteFile;
}

/** What an agent's loops work with. */
export interface AgentParts extends Omit<Opened, "stateDir" | "write"> {
  readonly kept: KeptDocuments;
  readonly remembered: Remembered;
  /** To be disposed of. */
  readonly registry: RegistryHost;
  /** But for what the loops themselves give the workers. */
  readonly context: Omit<AppContext, "pace" | "depots" | "cache" | "doubt" | "neighbours" | "onNews">;
}

/** Opens what a node has on its disk, and puts together what works on it. Nothing runs yet but the local registry. */
export async function openParts(options: PartsOptions, opened: Opened): Promise<AgentParts> {
  const { stateDir, keys, store, runtime, near, write } = opened;
  const { paths, clock, log } = options;
  const groups = processGroups(path.join(paths.run, "groups"));
  await groups.sweep();
  const kept = await openKept(path.join(stateDir, "documents"), write, log);
  const records = await openRecords(path.join(stateDir, "apps"), write, log);
  const staged = await openStaged(stateDir, write, log);
  const outbox = await openOutbox(path.join(stateDir, "receipts"), write, records, log);
  const remembered = await openRemembered(stateDir, write);
  const identity = (): Identity => selfOf(store, keys, options.begin === undefined ? null : options.name);
  const node = (): string => identity().name;
  const remote = await knownBefore(paths.run, log);
  const self = keys.signer.kid;
  // The last that is waited for: what fails before leaves nothing open.
  const registry = await openRegistryHost({ runtime, records, stateDir, self, node, remote, log });
  const folders = (app: string): AppFolders => appFolders(paths, app);
  const wishOf: SparesOptions["wishOf"] = async (app, release) => await releases.spareWish(app, release);
  const spares = new Spares({ clock, log, records, folders, wishOf });
  const releases = new Releases({
    folders,
    kept,
    users: appUsers(stateDir, process.getuid?.() === 0, path.join(paths.lib, "apps")),
    state: () => store.state,
    identity,
    now: () => clock.now(),
    command: options.command,
    registryUrl: registry.url,
    cache: near.cache,
    spares,
    leastSpareFiles: options.leastSpareFiles,
    log,
  });
  const context = {
    paths,
    clock,
    log,
    signer: keys.signer,
    store,
    records,
    outbox,
    releases,
    spares,
    staged,
    instances: runtimeInstances(runtime),
    groups,
    folders,
    logOf: appLogs(paths.log),
  };
  return { keys, store, runtime, near, kept, remembered, registry, context };
}
