import fs from "node:fs";
import path from "node:path";
import type { Listen } from "../../app/manifest.ts";
import type { InstanceView, SocketSpec } from "../../keeper/protocol.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import { reachable, type SocketAddress } from "./address.ts";
import {
  instanceSpec,
  logFileOf,
  privateSocket,
  publicSocket,
  appOfSocket,
  type Phase,
  type Place,
  type SpecInput,
} from "./instance-spec.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { instanceKey, instanceName, type ProcessPlan, type ReleasePlan } from "./release-plan.ts";
import { styleOf, type Style } from "./handover-style.ts";

/** What an instance is started with. */
export interface StartRequest {
  readonly plan: ReleasePlan;
  readonly process: ProcessPlan;
  readonly index: number;
  readonly phase: Phase;
  /** Serves from the start: gate open, restarts on. */
  readonly attached: boolean;
  /** Ports that turned out to be taken. */
  readonly avoid?: readonly number[];
}

export interface Started {
  readonly key: string;
  readonly request: StartRequest;
  readonly style: Style;
  readonly pid: number;
  readonly env: Readonly<Record<string, string>>;
  /** Where it writes, and where in it its own words begin. */
  readonly log: { readonly file: string; readonly from: number };
  /** Where it is reached in its phase, in the manifest's order. */
  readonly addresses: readonly SocketAddress[];
  /** Inodes of the held sockets that it is to wait on in its phase, by name. */
  readonly inodes: ReadonlyMap<string, number>;
}

interface Sockets {
  seen: SocketAddress[];
  reached: SocketAddress[];
  checked: SocketAddress[];
  told: SocketAddress[];
  passed: { name: string; key: string }[];
  probes: string[];
  held: Record<string, string>;
  inodes: Map<string, number>;
}

/**
 * Opens what the instance needs and starts it through the keeper.
 * @throws SkeinError HANDOVER_REFUSED, PORT_TAKEN, START_FAILED, USER_REFUSED
 */
export async function startInstance(link: KeeperLink, place: Place, request: StartRequest): Promise<Started> {
  const { plan, process, index } = request;
  const { hello } = await link.client();
  const style = styleOf(process, plan.dir, hello.ffi);
  const key = instanceKey(plan, process.name, index);
  const sockets: Sockets = {
    seen: [],
    reached: [],
    checked: [],
    told: [],
    passed: [],
    probes: [],
    held: {},
    inodes: new Map(),
  };
  for (const [name, listen] of Object.entries(process.listen)) {
    if (isHeld(listen, style)) await openHeld(link, place, { request, style, key, name, listen, sockets });
    else await chooseOwn(link, place, { request, style, key, name, listen, sockets });
  }
  const file = logFileOf(place, plan.app, instanceName(process.name, index));
  const logFrom = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const input: SpecInput = { ...request, place, style, ...sockets, logFrom };
  const spec = instanceSpec(input);
  const view: InstanceView = await link.call("start", { instance: spec });
  const { inodes, reached: addresses } = sockets;
  const log = { file, from: logFrom };
  return { key, request, style, pid: view.pid, env: spec.env, log, addresses, inodes };
}

function isHeld(listen: Listen, style: Style): boolean {
  if (style === "own" || style === "gap" || listen.handover === "port") return false;
  return listen.port !== null || listen.path !== null;
}

interface Opening {
  readonly request: StartRequest;
  readonly style: Style;
  readonly key: string;
  readonly name: string;
  readonly listen: Listen;
  readonly sockets: Sockets;
}

/** Whose a port is that cannot be had, where it is another app of this node. */
async function heldByApp(link: KeeperLink, open: SocketSpec, err: unknown): Promise<SkeinError | undefined> {
  if (!isSkeinError(err, "PORT_TAKEN")) return undefined;
  const { sockets } = await link.call("list", {});
  const holder = sockets.find(
    ({ port, path, protocol }) => path === null && port === open.port && protocol === open.protocol,
  );
  const app = holder === undefined ? undefined : appOfSocket(holder.key);
  if (app === undefined) return undefined;
  return new SkeinError("PORT_TAKEN", `the app ${app} of this node has ${hostPortText(open)}`, {
    data: { ...err.data, app },
    cause: err,
  });
}

async function openHeld(link: KeeperLink, place: Place, opening: Opening): Promise<void> {
  const { request, style, key, name, listen, sockets } = opening;
  const open = publicSocket(request.plan.app, listen, place);
  if (open.path !== null) makeSocketFolder(path.dirname(open.path));
  const publicView = await link.call("listen", { socket: open }).catch(async (err: unknown) => {
    throw (await heldByApp(link, open, err)) ?? err;
  });
  sockets.held[name] = publicView.key;
  const publicAddress = addressOf(name, listen, place.bind, publicView.port, publicView.path);
  sockets.told.push({ ...publicAddress, host: place.address() });
  if (style === "socket" && request.phase === "public") {
    sockets.passed.push({ name, key: publicView.key });
    sockets.seen.push(publicAddress);
    sockets.reached.push({ ...publicAddress, host: reachable(place.bind) });
    sockets.checked.push({ ...publicAddress, host: reachable(place.bind) });
    sockets.inodes.set(name, publicView.inode);
    return;
  }
  const hidden = privateSocket(key, name, listen, place);
  if (hidden.path !== null) makeSocketFolder(path.dirname(hidden.path));
  const view = await link.call("listen", { socket: hidden });
  const privateAddress = addressOf(name, listen, hidden.host, view.port, view.path);
  if (style === "socket") {
    sockets.passed.push({ name, key: view.key });
    sockets.seen.push(privateAddress);
  } else {
    sockets.passed.push({ name, key: publicView.key });
    sockets.probes.push(view.key);
    sockets.seen.push(publicAddress);
  }
  sockets.checked.push(privateAddress);
  const serves = request.phase === "public";
  sockets.reached.push(serves ? { ...publicAddress, host: reachable(place.bind) } : privateAddress);
  sockets.inodes.set(name, serves ? publicView.inode : view.inode);
}

async function chooseOwn(link: KeeperLink, place: Place, opening: Opening): Promise<void> {
  const { request, key, name, listen, sockets } = opening;
  const file = listen.path === null ? null : path.join(place.run, request.plan.app, listen.path);
  if (file !== null) makeSocketFolder(path.dirname(file));
  const port =
    listen.protocol === "unix"
      ? 0
      : (fixedPort(opening) ?? (await lockPort(link, place, key, name, request)));
  const address = addressOf(name, listen, place.bind, port, file);
  sockets.seen.push(address);
  sockets.reached.push({ ...address, host: reachable(place.bind) });
  sockets.checked.push({ ...address, host: reachable(place.bind) });
  sockets.told.push({ ...address, host: place.address() });
}

/** Only in mode `gap` does an instance bind the manifest's own port. */
function fixedPort({ style, listen }: Opening): number | undefined {
  return style === "gap" && listen.handover === "gap" ? (listen.port ?? undefined) : undefined;
}

async function lockPort(
  link: KeeperLink,
  place: Place,
  key: string,
  name: string,
  request: StartRequest,
): Promise<number> {
  const avoid = request.avoid ?? [];
  const { port } = await link.call("lockPort", { key: `${key}|${name}`, host: place.bind, avoid });
  return port;
}

function addressOf(
  name: string,
  listen: Listen,
  host: string,
  port: number,
  path: string | null,
): SocketAddress {
  return { name, protocol: listen.protocol, host, port, path };
}

function makeSocketFolder(folder: string): void {
  fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
}
