import { messageOf } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import { isReleaseId, type KeyId } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { loopbackHost } from "../../lib/process/loopback.ts";
import type { PortEntry } from "../../api/schemas.ts";
import { openCapabilities, type Capabilities } from "./capabilities.ts";
import { currentOf, type Records } from "../plan/records.ts";
import {
  isVisible,
  serveRegistry,
  serviceTable,
  type Caller,
  type RegistryOptions,
  type RegistryServer,
  type Service,
} from "./registry.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { instanceOf } from "../../lib/text/instance-id.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";

const BACKLOG = 512;

export interface RegistryHost extends AsyncDisposable {
  /** `uses` in a fixed order: the URL names them. */
  readonly url: (caller: Caller) => string;
  /** Reads the keeper's list anew. */
  refresh(): Promise<void>;
  setRemote(ports: readonly PortEntry[]): void;
  /** Those that somebody on this node is told of. */
  seen(ports: readonly PortEntry[]): readonly PortEntry[];
}

export interface RegistryHostOptions {
  readonly runtime: AppRuntime;
  readonly records: Records;
  readonly stateDir: string;
  readonly self: KeyId;
  readonly node: () => string;
  /** What is known of other nodes until their first table comes. Default: nothing. */
  readonly remote?: readonly PortEntry[];
  readonly log: Log;
}

/**
 * The registry on a socket that the keeper holds, so that callers wait in its queue while the agent restarts. Where
 * the keeper cannot hand descriptors on, the agent listens itself, at the same port as before.
 */
export async function openRegistryHost(options: RegistryHostOptions): Promise<RegistryHost> {
  const { runtime, self, log } = options;
  const capabilities = await openCapabilities(options.stateDir, options.log);
  const table = serviceTable(self);
  table.setRemote((options.remote ?? []).flatMap(remoteService));
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  const host = loopbackHost();
  const { callerOf } = capabilities;
  const server = await listen(runtime, capabilities, { table, callerOf, ready, log, host });
  await capabilities.keepPort(server.port);
  let rows: readonly InstanceRow[] = [];
  // Ended processes by instance: out of the table with the very event, before the keeper is asked for the rest.
  const ended = new Map<string, number>();
  const show = (): void => {
    const living = rows.filter(({ key, pid }) => ended.get(key) !== pid);
    table.setLocal(servicesOf(living, options));
  };
  const stopRecords = options.records.onChange(show);
  const stop = runtime.onEvent((event) => {
    if (event.type === "exited") {
      ended.set(event.key, event.pid);
      show();
    }
    refresh().catch((err: unknown) => {
      log.warn("the registry could not be refreshed", { "err.message": messageOf(err) });
    });
  });
  const refresh = async (): Promise<void> => {
    rows = await runtime.list();
    for (const [key, pid] of ended) {
      if (!rows.some((row) => row.key === key && row.pid === pid)) ended.delete(key);
    }
    for (const { app, environment: env, release, uses } of rows) {
      if (isReleaseId(release)) capabilities.of({ app, env, release, uses });
    }
    show();
  };
  await refresh();
  isReady();
  return {
    url: (caller) => `http://${hostPortText({ host, port: server.port })}/${capabilities.of(caller)}`,
    refresh,
    setRemote: (ports) => {
      table.setRemote(ports.flatMap(remoteService));
    },
    seen(ports) {
      const callers = [...capabilities.callers()];
      const isSeen = (service: Service): boolean =>
        service.nodeId !== self && callers.some((caller) => isVisible(service, caller));
      return ports.filter((entry) => remoteService(entry).some(isSeen));
    },
    async [Symbol.asyncDispose]() {
      stop();
      stopRecords();
      await server[Symbol.asyncDispose]();
    },
  };
}

type ServeOptions = RegistryOptions & { readonly host: string };

async function listen(
  runtime: AppRuntime,
  capabilities: Capabilities,
  options: ServeOptions,
): Promise<RegistryServer> {
  const { host } = options;
  const spec = { key: "agent/registry", protocol: "tcp", host, path: null, backlog: BACKLOG } as const;
  for (const port of new Set([capabilities.port, 0])) {
    try {
      const held = await runtime.holdOwn({ ...spec, port });
      return await serveRegistry(options, held.fd);
    } catch (err) {
      options.log.warn("the registry's socket is not held by the keeper", {
        port,
        "err.message": messageOf(err),
      });
    }
  }
  return await serveRegistry(options);
}

/** Judged instances are listed too where the address is their own: their siblings look them up while being judged. */
function servicesOf(
  rows: readonly InstanceRow[],
  { self, node, records }: Pick<RegistryHostOptions, "self" | "node" | "records">,
): readonly Service[] {
  const named = new Set<string>();
  return rows.flatMap((row): Service[] => {
    const { app, environment: env, release, process, socket, host, port, key } = row;
    if (socket === null || host === null || port === null || port === 0 || !isReleaseId(release)) return [];
    if (row.state !== "serving" && !(row.state === "judging" && isOwnPort(port))) return [];
    const name = named.has(key) ? `${process}.${socket}` : process;
    named.add(key);
    const current = row.state === "serving" && currentOf(records.get(app), env) === release;
    const { instance } = row;
    return [{ app, env, release, name, host, port, node: node(), nodeId: self, instance, current }];
  });
}

/** Ports of mode `port`: no other version answers there. */
const isOwnPort = (port: number): boolean => port >= 20_000 && port <= 29_999;

function remoteService(entry: PortEntry): readonly Service[] {
  const { app, env, release, host, port, nodeName, node, state } = entry;
  if (host === null || port === null || port === 0 || state !== "serving") return [];
  const current = entry.current === true;
  const name = nameOf(entry);
  const instance = instanceOf(entry.instance, entry);
  return [{ app, env, release, name, host, port, node: nodeName, nodeId: node, instance, current }];
}

/** Further sockets of an instance are reported under names of their own (`reports.ts`). */
function nameOf({ process, instance, socket }: PortEntry): string {
  return socket !== null && instance.endsWith(`:${socket}`) ? `${process}.${socket}` : process;
}
