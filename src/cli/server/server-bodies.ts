import { readFile } from "node:fs/promises";
import path from "node:path";
import { listedHubs, type HubAddress } from "../../api/hub-address.ts";
import { HubClient } from "../../api/hub-client.ts";
import { isInBucket } from "../../depot/open-depot.ts";
import { KEEPER_NODE_FLAGS, shutDown } from "../../keeper/client.ts";
import { kernel } from "../../keeper/ffi.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import { jsonLog, silentLog, type Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { programFile } from "../../lib/process/program.ts";
import { settleMemory } from "../../lib/memory/settle-memory.ts";
import type { HubBucket } from "../../operator/server/hub-server.ts";
import { configIfThere, operatorDir, parseHub, readCharters } from "../../operator/identity/home.ts";
import { initCluster, type Initialised } from "../../operator/server/init.ts";
import { offerCharter, refuseTaken } from "../../operator/identity/operator.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { parseEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { ephemeralIdentity } from "../../trust/connection/tls.ts";
import type { Context, Result } from "../command/context.ts";
import { first, hasBucket } from "../command/has-bucket.ts";
import { hostPort, usage, type HostPort } from "../command/grammar.ts";
import type { Io } from "../terminal/io.ts";
import { warningsOf } from "../terminal/warnings.ts";
import type { AgentFlags, HubFlags, UpFlags } from "./server-flags.ts";
import type { InitFlags } from "../command/verb-flags.ts";
import { cacheBytesOf, limitsOf, nearOf } from "../command/traffic-flags.ts";
import { refuseStandard } from "../command/standard-streams.ts";
import { pinTold } from "./pin-told.ts";
import {
  addresses,
  addressHere,
  DEFAULT_PORT,
  everywhere,
  listedFor,
  listedPlace,
  LOOPBACK,
  refuseNowhere,
} from "./places.ts";
import { openToApps } from "../command/file-modes.ts";
import { nodeNameHere, refuseNodeName } from "../command/node-name.ts";
import { VERSION } from "../command/version.ts";

/** Where `init` expects the hub to be when nothing is said. */
const HUB_HERE = `${LOOPBACK}:${DEFAULT_PORT}`;

/** Loaded only where a hub is meant: an agent would keep all of it in its memory. */
const hubServer = async () => await import("../../operator/server/hub-server.ts");

/** Servers log JSON lines to stderr; `--quiet` keeps them to themselves. */
const logOf = ({ io }: Context): Log => (io.quiet ? silentLog : jsonLog((line) => io.raw(line)));

/** FTL's name for the bucket is that of old habits; a hub that is named is meant. */
const isFtlBucket = ({ hub }: InitFlags): boolean =>
  hub === undefined && first(process.env["FTL_BUCKET"]) !== undefined;

function refuseBoth(flags: InitFlags): void {
  if (flags.hub === undefined || !hasBucket(flags)) return;
  throw new SkeinError("AMBIGUOUS", "a cluster is made with a hub, or with a bucket in its place", {
    hint: "Leave --hub or --bucket (SKEIN_BUCKET) out.",
  });
}

export async function init(context: Context, flags: InitFlags): Promise<Result> {
  const { paths, signal, io } = context;
  refuseBoth(flags);
  if (hasBucket(flags) || isFtlBucket(flags))
    return await (await import("../bucket/bucket-bodies.ts")).initBucket(context, flags);
  const { where, hub } = await hubMeant(paths, flags.hub, signal);
  using client =
    where === "elsewhere" ? new HubClient({ hubs: [hub], identity: ephemeralIdentity() }) : undefined;
  if (client !== undefined) await refuseTaken(client, (await configIfThere(paths))?.cluster ?? null, signal);
  const hubs = hub === undefined ? [] : [hub];
  const made = await initCluster({
    paths,
    name: flags.name,
    key: flags.sshAgent === true ? "ssh-agent" : undefined,
    hubs,
    clock: systemClock,
  });
  if (client !== undefined) await offerCharter(client, made.charter, signal);
  tellMade(io, made, where === "here" && !(await isServed(hub, made, signal)));
  const { cluster, pin, operator, already } = made;
  return { cluster, fingerprint: pin, operator, already, hub };
}

/** `listed`: whoever types init again without a hub wants to see what is there, and no hub is asked. */
type HubMeant =
  | { readonly where: "here" | "elsewhere"; readonly hub: HubAddress }
  | { readonly where: "listed"; readonly hub: HubAddress | undefined };

/** The hub that a charter is to name: another machine's, which is told with its key, or this machine's own. */
async function hubMeant(paths: Paths, typed: string | undefined, signal: AbortSignal): Promise<HubMeant> {
  const last = (await readCharters(paths)).at(-1);
  const listed = last && listedHubs(readUnverified(last, "charter.1"));
  const elsewhere = typed === undefined ? undefined : parseHub(typed);
  if (elsewhere !== undefined) {
    refuseUnlisted(paths, listed, elsewhere);
    return { hub: elsewhere, where: "elsewhere" };
  }
  if (typed?.includes("#") === true)
    throw usage(`${typed} names no hub`, "Copy it as skein hub prints it: HOST:PORT# and 64 digits.");
  const here = await (await hubServer()).hubHere(paths, hostPortText(toldPlace(typed ?? HUB_HERE)));
  if (typed === undefined && listed !== undefined) {
    const own = listed.find(({ spki }) => spki === here.spki);
    return own === undefined ? { hub: listed[0], where: "listed" } : { hub: own, where: "here" };
  }
  refuseUnlisted(paths, listed, here);
  if ((await configIfThere(paths)) === undefined) await refuseKeyless(here, signal);
  return { hub: here, where: "here" };
}

/** Who leaves the key out would make a charter of a hub that only this machine could run, where another one answers. */
async function refuseKeyless(hub: HubAddress, signal: AbortSignal): Promise<void> {
  using client = new HubClient({ hubs: [hub], identity: ephemeralIdentity() });
  try {
    await client.hub(signal);
  } catch (err) {
    if (!isSkeinError(err, "PIN_MISMATCH")) return;
    throw new SkeinError("PIN_MISMATCH", `the hub at ${hub.address} is not this machine's own`, {
      hint: "Give its whole address, as skein hub prints it there: skein init --hub HOST:PORT#KEY",
      data: { address: hub.address },
      cause: err,
    });
  }
}

/** A hub that runs here already, without a charter, would otherwise have to be started anew. */
async function isServed(hub: HubAddress, { charter }: Initialised, signal: AbortSignal): Promise<boolean> {
  using client = new HubClient({ hubs: [hub], identity: ephemeralIdentity() });
  try {
    await offerCharter(client, charter, signal);
    return true;
  } catch (err) {
    if (isSkeinError(err, "HUB_UNREACHABLE", "PIN_MISMATCH")) return false;
    throw err;
  }
}

function tellMade(io: Io, made: Initialised, startsHub: boolean): void {
  if (made.already) io.say("There was a cluster here already; it was left as it is.");
  io.print(`cluster      ${made.cluster}`);
  io.print(`fingerprint  ${made.pin}`);
  io.print(`operator     ${made.operator}`);
  const starts = startsHub && !made.already;
  io.say(starts ? "next  on this machine: skein hub; then: skein node invite" : "next  skein node invite");
}

/** A hub that the charter does not list could be given it, and would serve nobody from then on. */
function refuseUnlisted(paths: Paths, listed: readonly HubAddress[] | undefined, hub: HubAddress): void {
  if (listed === undefined) return;
  const told = `${hub.address}#${hub.spki}`;
  const hubs = listed.map(({ address, spki }) => `${address}#${spki}`);
  if (hubs.includes(told)) return;
  throw new SkeinError(
    "WRONG_CLUSTER",
    `the cluster that was made here names ${hubs.length === 0 ? "no hub" : `another hub: ${hubs.join(" ")}`}`,
    {
      hint: `Leave --hub out to see it; where it is of no use yet, move ${operatorDir(paths)} away, and type this again.`,
      data: { hubs, told },
    },
  );
}

export async function upHere(context: Context, flags: UpFlags): Promise<Result> {
  const { paths, io, signal } = context;
  refuseNodeName(flags.name);
  const place = addresses(flags, LOOPBACK);
  await refuseNowhere(flags);
  kernel()?.keepStrays();
  openToApps();
  const listen = await listenHere(context, flags.listen);
  const { up } = await import("../../operator/server/up.ts");
  await up({
    paths,
    listen,
    name: flags.name,
    nameHere: nodeNameHere(),
    ...place,
    near: nearOf(flags),
    version: VERSION,
    log: io.verbose ? logOf(context) : warningsOf(io),
    ready: ({ hub: at, node, pin, made }) => {
      io.event({ type: "ready", hub: at, node, fingerprint: pin, made });
      if (made) io.say(`A new cluster; its fingerprint is ${pin}`);
      io.say(`hub ${at}, node ${node}. Ctrl-C stops both. In another terminal: skein deploy`);
    },
    signal,
  });
  io.say("Stopped. skein up brings everything back.");
  return {};
}

export async function hub(context: Context, flags: HubFlags): Promise<Result> {
  const { paths, io, signal } = context;
  kernel()?.returnMemory();
  const { spki: key } = await (await hubServer()).hubHere(paths, "");
  const all = everywhere(addressHere()());
  const listen =
    flags.listen === undefined
      ? (charter: Charter | undefined) => listedPlace(charter, key, all)
      : hostPort(flags.listen, all);
  const charters =
    flags.charter === undefined ? await readCharters(paths) : [await readCharter(flags.charter)];
  await using running = await (
    await hubServer()
  ).serveHub({
    paths,
    listen,
    charters,
    bucket: hubBucket(flags),
    limits: limitsOf(flags),
    log: logOf(context),
    version: VERSION,
    signal,
  });
  const { address, spki } = running;
  settleMemory();
  io.event({ type: "ready", hub: address, key: spki });
  io.say(`hub ${address}#${spki}`);
  if (running.hub.info().charterVersion === 0) {
    const reachable = address.replace(/^(0\.0\.0\.0|\[::\]):/, "HOST:");
    io.say(`It has no charter yet. On your own machine: skein init --hub ${reachable}#${spki}`);
  }
  warnOfStrangeKey(context, spki, running.hub.charters.current);
  await untilAborted(signal);
  logOf(context).info("hub ended");
  return { hub: address };
}

/** Where a backup was restored on a new machine, and the key was not. */
function warnOfStrangeKey(context: Context, spki: string, charter: Charter | undefined): void {
  if (charter === undefined || Object.hasOwn(charter.hubs, spki)) return;
  const what =
    "the charter lists no hub of this key, and nobody speaks to it: put the old hub's key in its place";
  const file = path.join(context.paths.etc, "hub.key");
  logOf(context).warn(what, { key: file, listed: Object.keys(charter.hubs) });
}

/** @throws SkeinError USAGE */
export function hubBucket({ depot: address, ...flags }: HubFlags): HubBucket | undefined {
  const cacheBytes = cacheBytesOf(flags);
  if (address === undefined) {
    if (cacheBytes === undefined) return undefined;
    throw usage(
      "--cache-size is of a hub whose depot is a bucket",
      "Name it with --depot, or leave --cache-size out.",
    );
  }
  if (isInBucket(address)) return { address, env: process.env, cacheBytes };
  throw usage(`--depot ${address} is no bucket`, "Write s3://BUCKET/PREFIX, or leave it out.");
}

async function readCharter(file: string): Promise<Envelope> {
  return parseEnvelope(await readFile(file, "utf8"));
}

/** Where `up` has its hub: as told, else where the charter says that this machine's is, else on loopback. */
async function listenHere({ paths }: Context, told: string | undefined): Promise<HostPort> {
  const last = (await readCharters(paths)).at(-1);
  const { spki } = await (await hubServer()).hubHere(paths, "");
  const charter = last && readUnverified(last, "charter.1");
  if (told === undefined) return listedPlace(charter, spki, LOOPBACK);
  const place = toldPlace(told);
  const listed = listedFor(charter, spki);
  if (listed.length === 0 || listed.some((at) => hostPort(at, LOOPBACK).port === place.port)) return place;
  throw usage(
    `the cluster that was made here has its hub at ${listed.join(" ")}, and is looked for nowhere else`,
    `Leave --listen out; or make another cluster: SKEIN_HOME=FOLDER skein up --listen ${told}`,
  );
}

/** One at which others look for a hub. @throws SkeinError USAGE */
function toldPlace(text: string): HostPort {
  const place = hostPort(text, LOOPBACK);
  if (place.port !== 0) return place;
  throw usage(
    `${text} names no port`,
    `Others look for the hub there: ${hostPortText({ ...place, port: DEFAULT_PORT })}`,
  );
}

export async function backup(context: Context, file: string): Promise<Result> {
  refuseStandard(file, "a backup");
  await (await hubServer()).backupHub(context.paths, file);
  context.io.print(`${file} is a whole copy of the hub's state`);
  const key = path.join(context.paths.etc, "hub.key");
  context.io.say(`Keep ${key} as well, once: everybody knows the hub by that key.`);
  return { file };
}

export async function restore(context: Context, file: string): Promise<Result> {
  refuseStandard(file, "a backup");
  const { revision, incarnation } = await (await hubServer()).restoreHub(context.paths, file);
  context.io.print(`restored at revision ${revision}; its agents tell the hub what they know since`);
  return { revision, incarnation };
}

/** Everything after `--` is the command; `run` before it was taken by the grammar. */
export async function agent(context: Context, words: readonly string[], flags: AgentFlags): Promise<Result> {
  const { paths, signal } = context;
  refuseNodeName(flags.name);
  const place = addresses(flags);
  kernel()?.returnMemory();
  kernel()?.keepStrays();
  openToApps();
  pinTold(flags);
  const { runAgent } = await import("../../agent/agent.ts");
  const log = logOf(context);
  using far =
    flags.source === undefined
      ? undefined
      : await (await import("./agent-source.ts")).bucketOptions(context, flags, log);
  settleMemory();
  await runAgent({
    paths,
    name: flags.name ?? nodeNameHere(),
    ...place,
    near: nearOf(flags),
    source: far?.source,
    begin: far?.begin,
    join: flags.join,
    command: words.length === 0 ? undefined : words,
    awaitKeeper: flags.keeper === false,
    version: VERSION,
    log,
    clock: systemClock,
    signal,
  });
  log.info("agent ended"); // by a signal: what crashes or is killed does not say so
  return {};
}

/** Becomes the keeper: it must be small, so nothing of this program stays in its memory. */
export async function keeper(
  { paths, io }: Context,
  flags: { readonly shutdown?: boolean },
): Promise<Result> {
  if (flags.shutdown === true) {
    const ended = await shutDown(paths.run);
    io.say(ended ? "The keeper has ended, and all that it ran." : `No keeper runs here (${paths.run}).`);
    return { ended };
  }
  if (process.execve === undefined)
    throw usage("the keeper cannot be started here", "The agent starts it by itself.");
  const env = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };
  process.execve(
    process.execPath,
    [process.execPath, ...KEEPER_NODE_FLAGS, programFile("keeper"), paths.run, "wait"],
    env,
  );
  throw new SkeinError("INTERNAL", "execve returned");
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
