import type { ExitView, InstanceState } from "../../keeper/protocol.ts";
import type { Protocol } from "../../app/manifest.ts";
import type { SocketAddress } from "./address.ts";
import { instanceName } from "./release-plan.ts";
import { isTableOnly, type Held, type Stock } from "./stock.ts";

/** `judging` (no client sees it), `serving`, `draining`, `waiting` (crashed, restart due), `stopped`, `failed`. */
type RowState = "judging" | "serving" | "draining" | "waiting" | "stopped" | "failed";

/** One socket of one instance; an instance without sockets has one row with `socket` null. */
export interface InstanceRow {
  readonly key: string;
  readonly app: string;
  readonly environment: string;
  readonly release: string;
  readonly generation: number;
  readonly commit: string | null;
  readonly process: string;
  /** `web.1` */
  readonly instance: string;
  /** Services of other apps that it may look up. */
  readonly uses: readonly string[];
  readonly socket: string | null;
  readonly protocol: Protocol | null;
  /** What other machines are told. */
  readonly host: string | null;
  readonly port: number | null;
  readonly path: string | null;
  /** Where this very instance answers checks, apart from others on a shared socket as far as can be. */
  readonly checked: SocketAddress | null;
  /** It has ports of its own: whoever wants it looks it up. */
  readonly tableOnly: boolean;
  readonly pid: number;
  readonly state: RowState;
  readonly since: string;
  /** Since it was started by request. */
  readonly crashes: number;
  /** How its last process ended, if one did. */
  readonly exit: ExitView | null;
  readonly unenforced: readonly string[];
  /** Where in its log its own lines begin, in bytes; undefined when an older agent started it. */
  readonly logFrom: number | undefined;
}

/** @param address the node's own: it may be another one than when an instance started */
export function rowsOf(stock: Stock, address: string): InstanceRow[] {
  return stock.instances.flatMap((held): InstanceRow[] => {
    const common = commonOf(held);
    if (held.meta.told.length === 0) {
      return [{ ...common, socket: null, protocol: null, host: null, port: null, path: null, checked: null }];
    }
    return held.meta.told.map(({ name, protocol, port, path }) => ({
      ...common,
      socket: name,
      protocol,
      host: address,
      port,
      path,
      checked: held.meta.checked.find((one) => one.name === name) ?? null,
    }));
  });
}

type Common = Omit<InstanceRow, "socket" | "protocol" | "host" | "port" | "path" | "checked">;

function commonOf({ view, meta }: Held): Common {
  return {
    key: view.spec.key,
    app: meta.app,
    environment: meta.environment,
    release: meta.release,
    generation: meta.generation,
    commit: meta.commit,
    process: meta.process,
    instance: instanceName(meta.process, meta.index),
    uses: meta.uses ?? [],
    tableOnly: isTableOnly(meta),
    logFrom: meta.logFrom,
    pid: view.pid,
    state: stateOf(view.state, view.attached),
    since: view.since,
    crashes: view.crashes,
    exit: view.exit,
    unenforced: view.unenforced,
  };
}

const STATES: Readonly<Record<InstanceState, RowState>> = {
  running: "serving",
  stopping: "draining",
  waiting: "waiting",
  stopped: "stopped",
  exited: "failed",
  failed: "failed",
};

function stateOf(state: InstanceState, attached: boolean): RowState {
  return state === "running" && !attached ? "judging" : STATES[state];
}
