import path from "node:path";
import { runAgent } from "../../agent/agent.ts";
import type { NearOptions } from "../../agent/source/depots.ts";
import { loadNodeStore } from "../../agent/node/node-store.ts";
import { shutDown } from "../../keeper/client.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { configIfThere, readCharters } from "../identity/home.ts";
import { hubHere, serveHub } from "./hub-server.ts";
import { initCluster } from "./init.ts";
import { invite } from "../nodes/nodes.ts";
import { openOperator } from "../identity/operator.ts";

export interface UpOptions {
  readonly paths: Paths;
  readonly listen: { readonly host: string; readonly port: number };
  /** How the node was told to be called. */
  readonly name: string | undefined;
  /** How it is called where nothing is told. */
  readonly nameHere: string;
  readonly address: () => string;
  readonly bind: string;
  readonly near?: NearOptions;
  readonly version: string;
  readonly log: Log;
  /** Told the hub's address and the fingerprint once both serve. */
  readonly ready: (facts: {
    readonly hub: string;
    readonly node: string;
    readonly pin: string;
    readonly made: boolean;
  }) => void;
  readonly signal: AbortSignal;
}

/**
 * A hub and one agent on this machine, from an empty folder on. Ends with `signal`; what ran is stopped then, and
 * comes back with the next `up`.
 * @throws SkeinError USAGE where the node has another name than the one told, and what hub, init and agent throw
 */
export async function up(options: UpOptions): Promise<void> {
  const { paths, listen, log, version, signal } = options;
  const joined = await loadNodeStore(path.join(paths.lib, "state"));
  const known = joined?.state.identity?.name;
  if (known !== undefined) refuseOther(known, options.name);
  const name = known ?? options.name ?? options.nameHere;
  const before = await configIfThere(paths);
  const { pin } = await initCluster({
    paths,
    hubs: [await hubHere(paths, hostPortText(listen))],
    clock: systemClock,
  });
  // The agent ends first: it has news for the hub.
  const hubEnd = new AbortController();
  await using hub = await serveHub({
    paths,
    listen,
    charters: await readCharters(paths),
    log: log.with({ from: "hub" }),
    version,
    signal: hubEnd.signal,
  });
  const join = joined === undefined ? await ticket(options, name) : undefined;
  options.ready({ hub: hub.address, node: name, pin, made: before === undefined });
  try {
    await runAgent({
      paths,
      name,
      address: options.address,
      bind: options.bind,
      ...(options.near === undefined ? {} : { near: options.near }),
      join,
      version,
      log: log.with({ from: "agent" }),
      clock: systemClock,
      signal,
    });
  } finally {
    await shutDown(paths.run); // nothing is left behind on a machine where somebody only tried it
  }
}

/** The name that it got when it joined is its name. */
function refuseOther(known: string, told: string | undefined): void {
  if (told === undefined || told === known) return;
  throw new SkeinError("USAGE", `this machine is node ${known} already, and no node ${told}`, {
    hint: "Leave --name out; or set SKEIN_HOME to another folder, for another cluster.",
    data: { node: known, told },
  });
}

async function ticket({ paths, signal }: UpOptions, name: string): Promise<string> {
  using operator = await openOperator({ paths, signal });
  const wish = { name, labels: {}, validMs: 10 * 60_000, replace: null };
  return (await invite(operator, wish, signal)).line;
}
