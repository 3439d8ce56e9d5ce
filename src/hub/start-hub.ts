/**
 * A hub: one process that keeps the cluster's documents, paces rollouts and relays. It holds no authority: whatever it
 * serves, nodes and operators verify themselves. Stopping it at any moment loses nothing that it answered for.
 */
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { HubInfo } from "../api/schemas.ts";
import type { ReceivingDepot } from "../depot/seam/depot.ts";
import { Traffic, type TrafficLimits } from "../depot/traffic/traffic.ts";
import { systemClock, type Clock } from "../lib/clock.ts";
import { SkeinError } from "../lib/errors.ts";
import { runningClock } from "../lib/own-time.ts";
import type { Digest } from "../lib/ids.ts";
import { listening } from "../lib/listening.ts";
import type { Log } from "../lib/log.ts";
import type { Paths } from "../lib/paths.ts";
import type { Store } from "../store/store.ts";
import type { Charter } from "../trust/document/documents.ts";
import type { Envelope } from "../trust/document/envelope.ts";
import type { LocalSigner } from "../trust/keys/keys.ts";
import { serverTlsOptions, tlsIdentity } from "../trust/connection/tls.ts";
import { AnonymousRate } from "./http/anonymous-rate.ts";
import { Callers } from "./http/caller.ts";
import { CatchUp } from "./cluster/catch-up.ts";
import { Changes } from "./cluster/changes.ts";
import { Charters } from "./cluster/charters.ts";
import { Commands } from "./commands/commands.ts";
import type { Core } from "./records/core.ts";
import { Admissions } from "./depot/admission.ts";
import { Along } from "./depot/along.ts";
import { Deltas } from "./depot/deltas.ts";
import { RecentBlobs } from "./depot/recent-blobs.ts";
import { claimBucket, collectQuietly, whereReached } from "./depot/depot-upkeep.ts";
import { GitRepos } from "./git/git-repos.ts";
import type { PlaceLimits } from "./git/places.ts";
import { upgradeListener } from "./git-endpoint.ts";
import { handlersOf } from "./handlers.ts";
import type { Hub } from "./hub.ts";
import { keys } from "./records/keys.ts";
import { Lanes } from "./records/lanes.ts";
import { Layouts } from "./rollouts/layout.ts";
import { Mirror } from "./records/mirror.ts";
import { Nodes } from "./cluster/nodes.ts";
import { forgetOld } from "./old-records.ts";
import { Orders } from "./orders/orders.ts";
import { Peers } from "./reporting/peers.ts";
import { PortTable } from "./reporting/port-table.ts";
import { Presence } from "./cluster/presence.ts";
import { Receipts } from "./orders/receipts.ts";
import { Releases } from "./orders/releases.ts";
import { startRollouts } from "./rollouts/rollouts.ts";
import { Reminders } from "./cluster/reminders.ts";
import { requestListener, type RouterParts } from "./http/router.ts";
import { Members } from "./http/members.ts";
import { Strangers } from "./http/strangers.ts";
import { WantedDesk } from "./wanted/wanted.ts";

/** Where a hub listens. Port 0: any free one. */
interface HubPlace {
  readonly host: string;
  readonly port: number;
}

export interface HubOptions {
  /** Closed by the caller, after the hub. */
  readonly store: Store;
  readonly depot: ReceivingDepot;
  /** Of blobs that come and go. Default: none. */
  readonly limits?: TrafficLimits | undefined;
  readonly paths: Paths;
  /** A function is asked once the hub knows its charter. */
  readonly listen: HubPlace | ((charter: Charter | undefined) => HubPlace);
  /** The hub's own key (`etc/hub.key`): the charter's `hubs` pin it. */
  readonly key: LocalSigner;
  /** The charter chain to begin with when the store has none; checked against the store when it has one. */
  readonly charters?: readonly Envelope[];
  /** Digest of the first charter; another one is refused. Default: a hub without a charter takes the first it is sent. */
  readonly pin?: Digest;
  readonly log: Log;
  /** Closes the hub. */
  readonly signal: AbortSignal;
  readonly version: string;
  readonly clock?: Clock;
  /** Time that nobody sets, without that in which the hub was stopped. Default: `clock` where one is given. */
  readonly lived?: Clock;
  /** Requests a second that one address may make without an identity. Default 20. */
  readonly anonymousPerSec?: number;
  /** How long a connection may stay without a request by anybody known, in ms. Default 30 000. */
  readonly strangerMs?: number;
  /** Who may have a git run, and for how long others wait. */
  readonly gits?: PlaceLimits;
  /** How often uploads that nobody goes on with are looked for, in ms. Default: an hour. */
  readonly uploadsSweptEachMs?: number;
  /** How often old records are looked for, and in the depot what no kept release needs, in ms. Default: six hours. */
  readonly depotCollectedEachMs?: number;
}

export interface RunningHub extends AsyncDisposable {
  /** `host:port` that it listens on. */
  readonly address: string;
  readonly port: number;
  readonly spki: Digest;
  /** For what runs in the same process. */
  readonly hub: Hub;
  close(): Promise<void>;
}

/** Longer than the longest poll (120 s): idle beyond that is a dead peer. */
const SOCKET_IDLE_MS = 180_000;
const STRANGER_MS = 30_000;
const MAX_CONNECTIONS = 20_000;
const UPLOADS_KEPT_MS = 24 * 3_600_000;
const UPLOADS_SWEPT_EACH_MS = 3_600_000;
const DEPOT_COLLECTED_EACH_MS = 6 * 3_600_000;

/** @throws SkeinError PORT_TAKEN, CHARTER_PIN, DOC_*, STORE_* */
export async function startHub(options: HubOptions): Promise<RunningHub> {
  options.signal.throwIfAborted();
  const stop = new AbortController();
  try {
    const core = await makeCore(options, stop);
    const hub = await assemble(core, options);
    // git ends its side of a push before it reads the answer.
    const tls = { ...serverTlsOptions(core.identity), allowHalfOpen: true };
    const server = https.createServer({ ...tls, maxHeaderSize: 32_768 });
    const at = typeof options.listen === "function" ? options.listen(hub.charters.current) : options.listen;
    const port = await serve(server, hub, { ...options, listen: at });
    const run = hub.presence.run();
    const sweeping = setInterval(
      () => void sweepUploads(core),
      options.uploadsSweptEachMs ?? UPLOADS_SWEPT_EACH_MS,
    );
    sweeping.unref();
    const collecting = setInterval(
      () => void forgetOld(hub).then(async () => await collectQuietly(hub)),
      options.depotCollectedEachMs ?? DEPOT_COLLECTED_EACH_MS,
    );
    collecting.unref();
    const close = async (): Promise<void> => {
      stop.abort(new SkeinError("INTERRUPTED", "the hub stops"));
      clearInterval(sweeping);
      clearInterval(collecting);
      server.close();
      server.closeAllConnections();
      await hub.git.close();
      await run;
      await hub.rollouts[Symbol.asyncDispose]();
      await hub.deltas[Symbol.asyncDispose]();
    };
    options.signal.addEventListener("abort", () => void close(), { once: true });
    options.log.info("hub", {
      address: at.host,
      port,
      spki: core.identity.spki,
      store: core.store.incarnation,
    });
    const host = at.host.includes(":") ? `[${at.host}]` : at.host;
    return {
      address: `${host}:${port}`,
      port,
      spki: core.identity.spki,
      hub,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (err) {
    stop.abort();
    throw err;
  }
}

async function makeCore(options: HubOptions, stop: AbortController): Promise<Core> {
  const { store, depot, paths, key, log, version } = options;
  const failed = (err: unknown): void => {
    if (!stop.signal.aborted) log.error("the hub lost sight of its store", { err: String(err) });
  };
  return {
    store,
    depot,
    paths,
    mirror: await Mirror.follow(store, stop.signal, failed),
    signer: key,
    identity: tlsIdentity(key.privateKey, "skein-hub"),
    traffic: new Traffic(options.limits ?? {}, options.clock ?? systemClock),
    clock: options.clock ?? systemClock,
    lived: options.lived ?? options.clock ?? runningClock,
    log,
    version,
    signal: stop.signal,
    lanes: new Lanes(),
  };
}

async function assemble(core: Core, options: HubOptions): Promise<Hub> {
  const charters = await chartersOf(core, options);
  const nodes = new Nodes(core, charters);
  const catchUp = new CatchUp(core, nodes);
  await catchUp.begin();
  await lookAtDepot(core, charters);
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

async function chartersOf(core: Core, options: HubOptions): Promise<Charters> {
  const charters = new Charters(core, options.pin);
  await charters.begin(options.charters ?? []);
  return charters;
}

async function lookAtDepot(core: Core, { current }: Charters): Promise<void> {
  await whereReached(core, async () => {
    if (current !== undefined) await claimBucket(core, current.cluster);
    await core.depot.sweepUploads(UPLOADS_KEPT_MS, core.clock.now(), core.signal);
  });
}

/** A file that vanishes under it, or a disk that fails, is met again in the next round. */
async function sweepUploads(core: Core): Promise<void> {
  try {
    await core.depot.sweepUploads(UPLOADS_KEPT_MS, core.clock.now(), core.signal);
  } catch (err) {
    core.log.warn("unfinished uploads could not be swept", { err: String(err) });
  }
}

async function serve(
  server: https.Server,
  hub: Hub,
  options: HubOptions & { readonly listen: HubPlace },
): Promise<number> {
  const { core, charters, nodes } = hub;
  const known = {
    charter: () => charters.current,
    membership: (node: Parameters<Nodes["membership"]>[0]) => nodes.membership(node),
  };
  const callers = new Callers(known, core.clock);
  const rate = new AnonymousRate(core.clock, options.anonymousPerSec);
  const strangers = new Strangers(options.strangerMs ?? STRANGER_MS);
  const members = new Members((key) => {
    const isOperator = Object.hasOwn(charters.current?.operators ?? {}, key);
    return isOperator || nodes.membership(key) === "member";
  });
  core.mirror.onChange((changed) => {
    if (changed.some((key) => key.startsWith(keys.charters) || key.endsWith("/revoke"))) members.changed();
  });
  server.on("secureConnection", (socket) => strangers.came(socket, socket.remoteAddress ?? ""));
  const parts: RouterParts = {
    handlers: handlersOf(hub),
    callerOf: (req) => {
      const caller = callers.of(req);
      if (caller.role !== "anonymous") {
        strangers.known(req.socket);
        members.came(caller.kid, req.socket);
      }
      if (caller.role === "node") hub.presence.connected(caller.kid, req.socket);
      return caller;
    },
    held: (caller) => (tag) => (caller.role === "node" ? hub.wanted.told.named(caller.kid, tag) : undefined),
    strangerCame: (req) => rate.take(req.socket.remoteAddress ?? ""),
    failed: (req, err) =>
      core.log.error("a request failed", { method: req.method, url: req.url, err: String(err) }),
    signal: core.signal,
  };
  server.on("request", requestListener(parts));
  server.on("upgrade", upgradeListener(hub, parts));
  server.maxConnections = MAX_CONNECTIONS;
  // Uploads and streams may take as long as they move; what stands still is ended by the socket's own time limit.
  server.requestTimeout = 0;
  server.setTimeout(SOCKET_IDLE_MS);
  // Longer than clients keep an idle connection (50 s): else a request could be sent into one that just ended.
  server.keepAliveTimeout = 65_000;
  await listening("the hub", server, options.listen);
  return (server.address() as AddressInfo).port;
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
