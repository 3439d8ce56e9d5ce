import type { HubAddress } from "../../api/hub-address.ts";
import type { Question } from "../../api/hub-caller.ts";
import { HubClient } from "../../api/hub-client.ts";
import type { Patience } from "../../api/hub-line.ts";
import { systemClock, type Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import type { Chain } from "../../trust/charter/chain.ts";
import { nextCharter, openChain } from "../../trust/charter/charter.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import type { Signer } from "../../trust/keys/keys.ts";
import { signerIn, type Doer } from "../tell/dry-run.ts";
import { keepCharter, noteReached, readCharters, readConfig, type OperatorConfig } from "./home.ts";
import { hubsFor, patienceWith, signerFor } from "./signer-and-hubs.ts";
import { openSession } from "./session.ts";

/** An operator at work: an identity, the current charter, and a connection to a hub. */
export interface Operator extends Doer, Disposable {
  readonly paths: Paths;
  readonly config: OperatorConfig;
  readonly pin: Digest;
  readonly charter: Charter;
  /** The charters before it, newest first: what others signed by them stands, whoever was dropped since. */
  readonly earlier: readonly Charter[];
  readonly signer: Signer;
  readonly client: HubClient;
  readonly clock: Clock;
}

/** The charter in force and those before it. */
export const chainOf = ({ charter, earlier }: Pick<Operator, "charter" | "earlier">): Chain => [
  charter,
  ...earlier,
];

export interface OpenOptions extends Doer {
  readonly paths: Paths;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /** Asked before the charter's hubs. */
  readonly hub?: HubAddress;
  /** What will be asked next: the hub is asked for it with its charters, in one request. Default: nothing. */
  readonly ahead?: readonly Question[] | undefined;
  /** A hub that was reached before and does not answer is asked again for a while, which is told. Default: it is not. */
  readonly onWait?: Patience["onWait"];
}

/** An identity, and a line to its hubs on which nothing was said yet. */
export interface Caller extends Pick<Operator, "config" | "signer" | "client"> {
  /** The newest charter that this machine knows. */
  readonly known: Charter;
}

/**
 * Opens the identity of this machine, and begins to open the line to a hub.
 * @throws SkeinError NO_CLUSTER, KEY_UNREADABLE, NO_HUB
 */
export async function openCaller(options: Omit<OpenOptions, "ahead">): Promise<Caller> {
  const { paths, dryRun, onWait, clock = systemClock } = options;
  const config = await readConfig(paths);
  const signer = await signerFor(paths, config);
  const chain = openChain(await readCharters(paths), config.pin, clock.now()).body;
  const hubs = hubsFor(config, chain, options.hub);
  if (hubs.length === 0) {
    throw new SkeinError("NO_HUB", "the charter lists no hub, and this command asks one");
  }
  const { identity, document } = await openSession(paths, config.cluster, signer, clock);
  const patience = await patienceWith(paths, clock, onWait);
  const client = new HubClient({
    hubs,
    identity,
    session: document,
    clock,
    thrifty: true,
    asksOnly: dryRun !== undefined,
    ...patience,
  });
  client.connect();
  return { config, signer, client, known: chain };
}

/**
 * Opens the identity of this machine and brings its charter up to date from a hub.
 * @throws SkeinError NO_CLUSTER, KEY_UNREADABLE, NO_HUB, HUB_UNREACHABLE, PIN_MISMATCH, CHARTER_*
 */
export async function openOperator(options: OpenOptions, caller = openCaller(options)): Promise<Operator> {
  const { paths, signal, dryRun, ahead = [], clock = systemClock } = options;
  const { config, signer, client, known: before } = await caller;
  try {
    if (ahead.length > 0) client.together([chartersAfter(before), ...ahead], signal);
    const charter = await newestCharter(paths, client, before, clock, signal);
    await noteReached(paths);
    const known = (await readCharters(paths)).map((one) => readUnverified(one, "charter.1"));
    return {
      paths,
      config,
      pin: config.pin,
      charter,
      earlier: known.filter(({ version }) => version < charter.version).toReversed(),
      signer: signerIn(options, signer),
      client,
      clock,
      dryRun,
      [Symbol.dispose]: () => client.close(),
    };
  } catch (err) {
    client.close();
    throw err;
  }
}

const chartersAfter = ({ version }: Charter): Question => ({ name: "charters", query: { after: version } });

async function newestCharter(
  paths: Paths,
  client: HubClient,
  known: Charter,
  clock: Clock,
  signal: AbortSignal,
): Promise<Charter> {
  let charter = known;
  for (const envelope of await client.charters(known.version, signal)) {
    charter = nextCharter(charter, envelope, clock.now()).body;
    await keepCharter(paths, charter.version, envelope);
  }
  return charter;
}

/**
 * A hub that has no charter yet, or that of `cluster`.
 * @throws SkeinError WRONG_CLUSTER
 */
export async function refuseTaken(
  client: HubClient,
  cluster: string | null,
  signal: AbortSignal,
): Promise<void> {
  const info = await client.hub(signal);
  if (info.charterVersion === 0 || info.cluster === cluster) return;
  throw new SkeinError(
    "WRONG_CLUSTER",
    `${client.name} serves cluster ${info.cluster?.slice(0, 8) ?? "?"} already`,
    {
      hint: "Ask its operator to let you in, or start another hub.",
      data: { cluster: info.cluster, own: cluster },
    },
  );
}

/** Gives the cluster's hub its first charter, where it has none. Idempotent. */
export async function offerCharter(client: HubClient, charter: Envelope, signal: AbortSignal): Promise<void> {
  const { charterVersion } = await client.hub(signal);
  if (charterVersion === 0) await client.postCharter(charter, signal);
}
