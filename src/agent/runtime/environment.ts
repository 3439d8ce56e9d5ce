import { SANE_PATH } from "../programs/command.ts";
import { variableName } from "../../app/socket-variables.ts";
import { type ReleasePlan, type ProcessPlan, instanceName } from "./release-plan.ts";
import type { SocketAddress } from "./address.ts";

/** The part of an instance's environment that is the same for hooks and checks of its release. */
function releaseEnvironment(plan: ReleasePlan, node: string): Record<string, string> {
  return {
    PATH: SANE_PATH,
    LANG: "C.UTF-8",
    HOME: plan.data,
    SKEIN_DATA: plan.data,
    SKEIN_APP: plan.app,
    SKEIN_ENV: plan.environment,
    SKEIN_RELEASE: plan.release,
    SKEIN_NODE: node,
    COMMIT: plan.commit ?? plan.release,
    REPO: plan.repo,
    DRONE_ID: node,
  };
}

export interface InstanceEnvironment {
  readonly plan: ReleasePlan;
  readonly process: ProcessPlan;
  readonly index: number;
  readonly node: string;
  /** All sockets of the process, as this instance is to see them. */
  readonly sockets: readonly SocketAddress[];
  /** Names of those that are passed as fd 3, 4, ... */
  readonly passed: readonly string[];
}

/** Made from nothing: Skein's variables, over them the manifest's. LISTEN_PID is the keeper's to set. */
export function instanceEnvironment(options: InstanceEnvironment): Record<string, string> {
  const { plan, process, sockets, passed } = options;
  const name = instanceName(process.name, options.index);
  const [first] = sockets;
  const fds = Object.fromEntries(
    passed.map((socket, n) => [`SKEIN_FD_${variableName(socket)}`, String(3 + n)]),
  );
  const ports = Object.fromEntries(
    sockets
      .filter((socket) => socket.port > 0)
      .map((s) => [`SKEIN_PORT_${variableName(s.name)}`, String(s.port)]),
  );
  return {
    ...releaseEnvironment(plan, options.node),
    ...plan.env,
    ...process.env,
    ...(process.registry === null ? {} : { SKEIN_REGISTRY: process.registry }),
    SKEIN_INSTANCE: name,
    PROCESS_ID: `${plan.app}.${name}@${options.node}`,
    ...ports,
    ...fds,
    ...(first === undefined ? {} : { HOST: first.host, PORT: first.path ?? String(first.port) }),
    ...(passed.length === 0 ? {} : { LISTEN_FDS: String(passed.length), LISTEN_FDNAMES: passed.join(":") }),
  };
}
