/**
 * A hub: one process that keeps the cluster's documents, paces rollouts and relays. It holds no authority: whatever it
 * serves, nodes and operators verify themselves. Stopping it at any moment loses nothing that it answered for.
 */
import https from "node:https";
import type { ReceivingDepot } from "../depot/seam/depot.ts";
import { Traffic, type TrafficLimits } from "../depot/traffic/traffic.ts";
import { systemClock, type Clock } from "../lib/time/clock.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import { hostPortText } from "../lib/text/host-port.ts";
import { runningClock } from "../lib/time/own-time.ts";
import type { Digest } from "../lib/text/ids.ts";
import type { Log } from "../lib/process/log.ts";
import type { Paths } from "../lib/disk/paths.ts";
import type { Store } from "../store/store.ts";
import type { Charter } from "../trust/document/documents.ts";
import type { LocalSigner } from "../trust/keys/keys.ts";
import { serverTlsOptions, tlsIdentity } from "../trust/connection/tls.ts";
import type { Core } from "./records/core.ts";
import { collectQuietly, sweepQuietly } from "./depot/depot-upkeep.ts";
import { openHub, type Hub, type OpenHubOptions } from "./hub.ts";
import { answerCallers, type HubPlace, type AnswerOptions } from "./answer-callers.ts";
import { Lanes } from "./records/lanes.ts";
import { Mirror } from "./records/mirror.ts";
import { forgetOld } from "./old-records.ts";

export interface HubOptions extends OpenHubOptions, Omit<AnswerOptions, "listen"> {
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
  readonly log: Log;
  /** Closes the hub. */
  readonly signal: AbortSignal;
  readonly version: string;
  readonly clock?: Clock;
  /** Time that nobody sets, without that in which the hub was stopped. Default: `clock` where one is given. */
  readonly lived?: Clock;
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

const UPLOADS_SWEPT_EACH_MS = 3_600_000;
const DEPOT_COLLECTED_EACH_MS = 6 * 3_600_000;

/** @throws SkeinError PORT_TAKEN, CHARTER_PIN, DOC_*, STORE_* */
export async function startHub(options: HubOptions): Promise<RunningHub> {
  options.signal.throwIfAborted();
  const stop = new AbortController();
  try {
    const core = await makeCore(options, stop);
    const hub = await openHub(core, options);
    // git ends its side of a push before it reads the answer.
    const tls = { ...serverTlsOptions(core.identity), allowHalfOpen: true };
    const server = https.createServer({ ...tls, maxHeaderSize: 32_768 });
    const at = typeof options.listen === "function" ? options.listen(hub.charters.current) : options.listen;
    const port = await answerCallers(server, hub, { ...options, listen: at });
    const run = hub.presence.run();
    const sweeping = setInterval(
      () => void sweepQuietly(core),
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
    return {
      address: hostPortText({ host: at.host, port }),
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
