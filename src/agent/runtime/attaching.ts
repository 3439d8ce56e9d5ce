import { closeUnused, stop } from "./clearing.ts";
import type { Place } from "./instance-spec.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { instanceKey, instanceName } from "./release-plan.ts";
import { InstanceWatch, untilTaken } from "./readiness.ts";
import { startInstance, type StartRequest, type Started } from "./starter.ts";
import { isLive, readStock, type Held, type Stock } from "./stock.ts";
import type { Warning } from "./warning.ts";

export interface AttachOutcome {
  readonly warnings: readonly Warning[];
}

/**
 * Brings one instance into service, from whatever it is now: judged and waiting at its gate, judged privately
 * (started again on the public socket), serving already (left alone), or not there (started).
 * @throws SkeinError SOCKET_NOT_TAKEN, APP_EXITED, START_FAILED
 */
export async function attachInstance(
  link: KeeperLink,
  place: Place,
  request: StartRequest,
  signal: AbortSignal,
): Promise<AttachOutcome> {
  const key = instanceKey(request.plan, request.process.name, request.index);
  using watch = new InstanceWatch(link, key);
  const { instances, sockets } = await readStock(link);
  const held = instances.find((one) => one.view.spec.key === key);
  if (held !== undefined && isLive(held)) {
    const ending = held.view.state === "stopping";
    if (held.view.attached && !ending) return { warnings: [] };
    if (held.meta.style !== "socket" && !ending)
      return await openGate(link, held, { request, sockets, watch, signal });
  }
  const startAnew = async (): Promise<Started> => {
    if (held !== undefined && isLive(held)) await stop(link, held.view.spec);
    return await startInstance(link, place, request);
  };
  const started = await link.ends.during([key], startAnew, "start");
  const unseen = await untilTaken({ started, watch }, signal);
  if (started.style === "socket") await closeUnused(link, new Set([request.plan.app]));
  return { warnings: unseen ? [unseenWarning(key, request)] : [] };
}

interface Opening {
  readonly request: StartRequest;
  /** What the keeper holds. */
  readonly sockets: Stock["sockets"];
  readonly watch: InstanceWatch;
  readonly signal: AbortSignal;
}

async function openGate(
  link: KeeperLink,
  held: Held,
  { request, sockets, watch, signal }: Opening,
): Promise<AttachOutcome> {
  const { key } = held.view.spec;
  const view = await link.call("attach", { key });
  if (held.meta.style !== "node") return { warnings: [] };
  for (const line of view.status) watch.said.add(line);
  const inodes = new Map(
    Object.entries(held.meta.held).flatMap(([name, socket]) => {
      const found = sockets.find((one) => one.key === socket);
      return found === undefined ? [] : [[name, found.inode] as const];
    }),
  );
  const addresses = held.meta.told.filter((address) => inodes.has(address.name));
  const started: Started = {
    key,
    request,
    style: "node",
    pid: view.pid,
    log: { file: view.spec.log.file, from: held.meta.logFrom ?? 0 },
    env: view.spec.env,
    addresses,
    inodes,
  };
  const unseen = await untilTaken({ started, watch }, signal);
  return { warnings: unseen ? [unseenWarning(key, request)] : [] };
}

function unseenWarning(key: string, { plan, process, index }: StartRequest): Warning {
  const name = `${plan.app} ${instanceName(process.name, index)}`;
  const message = `${name} holds its socket and lives, but it cannot be seen waiting on it`;
  return { code: "GATE_UNSEEN", message, data: { instance: key } };
}
