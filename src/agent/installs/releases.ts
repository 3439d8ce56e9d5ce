import path from "node:path";
import type { Manifest } from "../../app/manifest.ts";
import { refuseBlocked } from "../../app/writable.ts";
import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { settleMemoryAfter } from "../../lib/memory/settle-memory.ts";
import type { ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { isUnder } from "../../release/install/install-plan.ts";
import { addSources, type InstallProgress } from "../../release/install/install-progress.ts";
import { install, type Installed } from "../../release/install/install.ts";
import { listInstalls, openRecord } from "../../release/record/install-record.ts";
import { measureInstall, type Measured } from "../../release/install/measure.ts";
import { mendInstall, type Mending } from "../../release/install/mend.ts";
import type { SpareWish } from "../../release/install/spare.ts";
import { stageAgain } from "../../release/install/stage-again.ts";
import { verifyInstall, type Difference } from "../../release/install/verify-install.ts";
import type { Release } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { mayRunAsRoot } from "../../trust/node/node-orders.ts";
import { effectiveNow, orderOf, type NodeState } from "../../trust/node/node-state.ts";
import { releaseOf } from "../../trust/orders/orders.ts";
import { appUser } from "../programs/app-user.ts";
import type { RunAs } from "../programs/command.ts";
import {
  isFolderHere,
  makeAppFolders,
  readCurrent,
  refuseUnreachable,
  writableTargets,
  type AppFolders,
} from "./folders.ts";
import type { KeptDocuments } from "../node/kept-documents.ts";
import { InstalledManifests, type ManifestRules } from "./installed-manifests.ts";
import { loadedRelease, type LoadedRelease } from "./loaded-release.ts";
import { withRoom } from "./make-room.ts";
import type { Caller } from "../registry/registry.ts";
import { ReleaseLanes } from "./release-lanes.ts";
import type { Spares } from "./spares.ts";
import { tellStuck } from "./tell-stuck.ts";
import { acceptedRelease, type WantedRelease } from "./accepted-release.ts";
import type { AppUsers } from "../programs/users.ts";

export interface ReleasesOptions extends ManifestRules {
  readonly folders: (app: string) => AppFolders;
  readonly kept: KeptDocuments;
  readonly users: AppUsers;
  readonly state: () => NodeState;
  readonly identity: () => Identity;
  readonly now: () => number;
  readonly registryUrl: (caller: Caller) => string | null;
  /** Gives way where the disk is full. Absent: nothing does. */
  readonly cache?: BlobCache;
  /** Prepares installs. Absent: nobody does. */
  readonly spares?: Spares | undefined;
  /** A release of fewer files has no spare. Default 2000. */
  readonly leastSpareFiles?: number | undefined;
  readonly log: Log;
}

export interface FetchOptions {
  readonly depots: readonly DepotReader[];
  /** Fetch everything, and use nothing that this machine has of it. */
  readonly full: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: InstallProgress) => void;
}

/** Puts releases down on this node, and says how to run them. */
export class Releases {
  /** Who works on which release's files. */
  readonly lanes = new ReleaseLanes();
  readonly #options: ReleasesOptions;
  readonly #manifests: InstalledManifests;

  constructor(options: ReleasesOptions) {
    this.#options = options;
    this.#manifests = new InstalledManifests(options, () => options.identity().name);
  }

  /**
   * Fetches and installs a release; goes on where an earlier try was cut. Whoever asks for one that is being installed
   * waits for that.
   * @throws SkeinError ORDER_UNKNOWN_RELEASE, and what `install` throws
   */
  async ensure(
    name: AppEnv,
    id: ReleaseId,
    depots: readonly DepotReader[],
    signal: AbortSignal,
    onProgress: (progress: InstallProgress) => void,
  ): Promise<Installed> {
    const work = async (tell: typeof onProgress): Promise<Installed> =>
      await this.#filling(
        name,
        async () => await this.#install(name, id, { depots, signal, full: false, onProgress: tell }),
      );
    return await this.lanes.alone(name.app, id, work, { signal, onProgress });
  }

  /**
   * Makes an install what its release says again, while it is in use; installs it where it is not here, or where nobody
   * can tell any more what is: its one difference is then the path "" that was missing, and whatever runs from it runs
   * in a folder that is no more. `full`: every file is fetched and replaced.
   * @throws SkeinError ORDER_UNKNOWN_RELEASE, and what `mendInstall` and `install` throw
   */
  async mend(name: AppEnv, id: ReleaseId, how: FetchOptions): Promise<Mending> {
    const { revs } = this.#options.folders(name.app);
    const once = async (tell: FetchOptions["onProgress"]): Promise<Mending> => {
      if (!isFolderHere(path.join(revs, id)) || writableOf(revs, id) === undefined) {
        const { files, bytesFetched, sources } = await this.#install(name, id, { ...how, onProgress: tell });
        return { differences: [{ path: "", reason: "missing" }], files, shared: 0, bytesFetched, sources };
      }
      const tree = await this.document(name, id);
      return await mendInstall({ ...how, release: id, tree, revs, onProgress: tell });
    };
    const work = async (tell: FetchOptions["onProgress"]): Promise<Mending> =>
      await this.#filling(name, async () => await once(tell));
    try {
      return await this.lanes.alone(name.app, id, work, how);
    } finally {
      this.#manifests.forget(path.join(revs, id));
    }
  }

  /**
   * What installing a release would cost here; its document need not be known yet.
   * @throws SkeinError ORDER_UNKNOWN_RELEASE, and what `measureInstall` throws
   */
  async measure(
    { app }: AppEnv,
    id: ReleaseId,
    document: Envelope,
    depots: readonly DepotReader[],
    signal: AbortSignal,
  ): Promise<Measured> {
    const { users, folders } = this.#options;
    const tree = this.#signed({ app, id }, document);
    const link = (await users.of(app)) !== undefined;
    return await measureInstall({ release: id, tree, depots, revs: folders(app).revs, link, signal });
  }

  /** How the files here differ from what was signed. @throws SkeinError RELEASE_NOT_FOUND, ORDER_UNKNOWN_RELEASE */
  async differences(name: AppEnv, id: ReleaseId, signal: AbortSignal): Promise<readonly Difference[]> {
    const { tree } = await this.document(name, id);
    const { revs } = this.#options.folders(name.app);
    const work = async (): Promise<readonly Difference[]> => await verifyInstall(revs, id, tree, signal);
    return await this.lanes.alone(name.app, id, work, { signal });
  }

  /** Work that fills the disk: what can gives way to it. */
  async #filling<T>({ app }: AppEnv, work: () => Promise<T>): Promise<T> {
    const { cache, spares, folders } = this.#options;
    const roomy = async (): Promise<T> => await withRoom(work, { cache, spares, dir: folders(app).revs });
    return spares === undefined ? await roomy() : await spares.without(roomy);
  }

  async #install(name: AppEnv, id: ReleaseId, how: FetchOptions): Promise<Installed> {
    const document = await this.document(name, id);
    const folders = this.#options.folders(name.app);
    if (!(await this.isInstalled(name.app, id))) {
      this.#signed({ app: name.app, id }, await this.#options.kept.release(id));
      if (how.depots.length === 0)
        throw new SkeinError("HUB_UNREACHABLE", "nobody has answered yet who has the release");
    }
    const automatic = await this.#options.users.of(name.app);
    await makeAppFolders(folders, automatic);
    const tree = { tree: document.tree, rows: document.rows, since: document.since };
    const link = automatic !== undefined;
    const { onProgress, ...from } = how;
    const onStuck = tellStuck(this.#options.log, name.app);
    const options = { ...from, release: id, tree, revs: folders.revs, link, onStuck };
    const guess = await this.#writable(name, folders, await readCurrent(folders));
    const first = await install({ ...options, writable: guess, onProgress });
    if (!first.already) settleMemoryAfter(first.files);
    await this.#refuseBlocked(name, folders, id);
    const writable = await this.#writable(name, folders, id);
    const laid = writableOf(folders.revs, id);
    if (laid === undefined || sameKeys(laid, writable)) return first;
    // The manifest is in the tree, so which folders it wants linked is known only now; the next release guesses right.
    stageAgain(folders.revs, id, [...laid.keys(), ...writable.keys()]);
    const second = await install({ ...options, writable });
    const bytesFetched = first.bytesFetched + second.bytesFetched;
    return { ...first, already: false, bytesFetched, sources: addSources(first.sources, second.sources) };
  }

  /**
   * Keeps the signed document of a release that no order brought.
   * @throws SkeinError ORDER_UNKNOWN_RELEASE when it is not the release's, or nobody may have signed it
   */
  async learn({ app }: AppEnv, id: ReleaseId, document: Envelope): Promise<void> {
    this.#signed({ app, id }, document);
    await this.#options.kept.putRelease(id, document);
  }

  /** What the spare of an app's current release is to be; undefined where releases share no files. */
  async spareWish(
    name: AppEnv,
    release: ReleaseId,
  ): Promise<(SpareWish & { readonly freeDisk: number }) | undefined> {
    if ((await this.#options.users.of(name.app)) === undefined) return undefined;
    const { freeDisk } = (await this.load(name, release)).manifest.keep;
    const { folders, leastSpareFiles: leastFiles } = this.#options;
    const wish = { revs: folders(name.app).revs, release, freeDisk };
    return leastFiles === undefined ? wish : { ...wish, leastFiles };
  }

  /** Is it here in full? */
  async isInstalled(app: string, id: ReleaseId): Promise<boolean> {
    return (await listInstalls(this.#options.folders(app).revs)).includes(id);
  }

  /** @throws SkeinError ORDER_UNKNOWN_RELEASE, MANIFEST_INVALID, MANIFEST_LATER, NEEDS_AGENT, USER_REFUSED, NOT_AUTHORISED */
  async load(name: AppEnv, id: ReleaseId): Promise<LoadedRelease> {
    const document = await this.document(name, id);
    const { identity, registryUrl } = this.#options;
    const folders = this.#options.folders(name.app);
    const dir = path.join(folders.revs, id);
    const manifest = await this.#manifests.of(name, dir);
    const user = await this.#user(name, id, manifest);
    if (user !== undefined) refuseUnreachable(dir);
    return loadedRelease({ name, id, document, manifest, user, dir, folders, self: identity(), registryUrl });
  }

  /** The signed document of a release that was taken in. @throws SkeinError ORDER_UNKNOWN_RELEASE */
  async document({ app }: AppEnv, id: ReleaseId): Promise<Release> {
    const { kept, state } = this.#options;
    return acceptedRelease(state(), { app, id }, await kept.release(id), this.#now());
  }

  /** @throws SkeinError ORDER_UNKNOWN_RELEASE where nobody in the charter in force stands for it */
  #signed(wanted: WantedRelease, document: Envelope | undefined): Release {
    return releaseOf(this.#options.state().charter, wanted, [document], this.#now()).body;
  }

  /** What was taken in stays good on a machine whose clock is set back, or wrong yet after its start. */
  #now(): number {
    return effectiveNow(this.#options.state(), { now: this.#options.now() });
  }

  async #writable(
    name: AppEnv,
    folders: AppFolders,
    id: ReleaseId | null,
  ): Promise<ReadonlyMap<string, string>> {
    if (id === null || !(await this.isInstalled(name.app, id))) return new Map();
    const manifest = await this.#manifests.of(name, path.join(folders.revs, id));
    if (manifest.writable.length === 0) return new Map();
    return await writableTargets(folders, manifest.writable);
  }

  /** @throws SkeinError MANIFEST_INVALID where the manifest of what was installed just now asks for what cannot be laid */
  async #refuseBlocked(name: AppEnv, folders: AppFolders, id: ReleaseId): Promise<void> {
    const { writable } = await this.#manifests.of(name, path.join(folders.revs, id));
    using record = openRecord(folders.revs, id);
    if (record === undefined || writable.every((at) => isUnder(at, record.writable))) return;
    refuseBlocked({ app: name.app, writable }, record.rows());
  }

  async #user(name: AppEnv, id: ReleaseId, manifest: Manifest): Promise<RunAs | undefined> {
    return await appUser(manifest.user, name.app, this.#options.users, this.#mayRoot(name, id));
  }

  /**
   * Did a signer of an order that names this very release, as what is to run, beside it or to go back to, have the right
   * to run it as root? The right of whoever ordered another release of the app says nothing of this one.
   */
  #mayRoot({ app, env }: AppEnv, id: ReleaseId): boolean {
    const { charter, apps } = this.#options.state();
    const held = apps[`${app}/${env}`];
    return [held?.head, held?.standing, held?.prior].some((order) => {
      if (!order) return false;
      const { release, beside, fallback } = orderOf(order);
      return [release, ...beside, fallback].includes(id) && mayRunAsRoot(charter, order, this.#now());
    });
  }
}

/** The links that an install laid; undefined when it has no record. */
function writableOf(revs: string, id: ReleaseId): ReadonlyMap<string, string> | undefined {
  using record = openRecord(revs, id);
  return record?.writable;
}

function sameKeys(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}
