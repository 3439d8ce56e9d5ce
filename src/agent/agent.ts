import { randomBytes } from "node:crypto";
import path from "node:path";
import type { HubAddress } from "../api/hub-address.ts";
import type { Reported } from "../api/schemas.ts";
import { allEnded } from "../lib/async/all-ended.ts";
import { messageOf } from "../lib/errors/errors.ts";
import type { Digest } from "../lib/text/ids.ts";
import { isSkewed } from "../trust/charter/charter.ts";
import { openParts, type AgentParts } from "./agent-parts.ts";
import type { AppContext, When } from "./attempt/app-context.ts";
import { CommandDesk } from "./commands/commands.ts";
import { NearDepots, type NearOptions } from "./source/depots.ts";
import { sweepLeft } from "./installs/gc.ts";
import { forever, type ForeverOptions } from "../lib/async/forever.ts";
import type { Pace } from "./plan/goal.ts";
import { HeldSource } from "./source/held-source.ts";
import { hubFor } from "./source/hub-link.ts";
import { takeIn } from "./node/intake.ts";
import { forgetJoining } from "./node/join.ts";
import type { KeptDocuments } from "./node/kept-documents.ts";
import { forgetUnnamed } from "./installs/named-documents.ts";
import { watchHealth } from "./health/live.ts";
import { Replaced } from "./attempt/unwell.ts";
import { lockHome } from "./node/lock.ts";
import { nodeKeys, type NodeKeys } from "./node/node-keys.ts";
import type { NodeStore } from "./node/node-store.ts";
import { Neighbours } from "./registry/neighbours.ts";
import { makeNodeFolders, openNode, type OpenNodeOptions } from "./node/open-node.ts";
import type { RegistryHost } from "./registry/registry-host.ts";
import type { ReleasesOptions } from "./installs/releases.ts";
import { openReserve } from "./node/reserve.ts";
import { Refusals } from "./reporting/refusals.ts";
import { Reminders } from "./reporting/reminders.ts";
import { ReportLoop } from "./reporting/report-loop.ts";
import { reportOf } from "./reporting/reports.ts";
import { AppRuntime } from "./runtime/runtime.ts";
import type { Offered, Source } from "./source/source.ts";
import { Untaken } from "./attempt/stuck.ts";
import { AppWorker } from "./attempt/worker.ts";

export interface AgentOptions extends OpenNodeOptions, Pick<ReleasesOptions, "leastSpareFiles"> {
  /** What others are told; asked at each report. */
  readonly address: () => string;
  /** What sockets bind to; numeric. */
  readonly bind: string;
  /** Runs in place of every service release's own processes. */
  readonly command?: readonly string[] | undefined;
  /** Asked besides the charter's hubs. */
  readonly hub?: HubAddress | undefined;
  /** In place of hubs. */
  readonly source?: ((keys: NodeKeys, store: NodeStore) => Promise<Source>) | undefined;
  readonly version?: string;
  readonly near?: NearOptions;
  /** A unit starts the keeper: wait for it. Default: the agent starts it. */
  readonly awaitKeeper?: boolean | undefined;
  /** Longest time between two reports, in ms; the port table forgets a node after 60 s. Default 20 000. */
  readonly reportEveryMs?: number;
}

const WAIT_MS = 30_000;
/** A hub that was silent for this long is taken as away; a restart of it is shorter. */
const AWAY_MS = 60_000;

/**
 * Runs a node's agent until `signal` aborts: joins if need be, brings back what should run, and converges to what it
 * is told from then on. What it started runs on when it ends.
 * @throws SkeinError AGENT_RUNNING, NOT_JOINED, KEY_UNREADABLE, STORE_CORRUPT, KEEPER_UNREACHABLE, and join's
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { paths } = options;
  const stateDir = path.join(paths.lib, "state");
  await makeNodeFolders(paths, stateDir);
  using _lock = await lockHome(paths.lib);
  const keys = await nodeKeys(paths.etc);
  const write = await openReserve(stateDir);
  const store = await openNode(options, stateDir, keys, write);
  await forgetJoining(paths.etc);
  await using runtime = await AppRuntime.open({
    run: paths.run,
    logs: paths.log,
    bind: options.bind,
    address: options.address,
    node: store.state.identity?.name ?? options.name,
    awaitKeeper: options.awaitKeeper,
    log: options.log,
  });
  await using near = await NearDepots.open({ options, signer: keys.signer, store });
  const parts = await openParts(options, { stateDir, keys, store, runtime, near, write });
  await using agent = new Agent(options, parts);
  await agent.run();
}

/** One running agent: the loops that listen, converge and report. */
class Agent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #keys: NodeKeys;
  readonly #store: NodeStore;
  readonly #runtime: AppRuntime;
  readonly #kept: KeptDocuments;
  readonly #registry: RegistryHost;
  readonly #context: AppContext;
  readonly #commands: CommandDesk;
  readonly #workers = new Map<string, AppWorker>();
  readonly #work = new Set<Promise<void>>();
  readonly #near: NearDepots;
  readonly #neighbours: Neighbours;
  readonly #replaced = new Replaced();
  readonly #untaken = new Untaken(() => this.#reports.tell("now"));
  readonly #boot = randomBytes(12).toString("hex");
  readonly #refusals: Refusals;
  readonly #reminders: Reminders;
  #gates: Pace["gates"] = new Map();
  readonly #source = new HeldSource((before) => this.#sourceAfter(before));
  #heardAt: number;
  #duplicate = false;
  #isSkewed = false;
  /** The clock was wrong, and is right now. */
  #isMended = false;
  #catchingUp = false;
  readonly #reports: ReportLoop;

  constructor(options: AgentOptions, parts: AgentParts) {
    this.#options = options;
    this.#keys = parts.keys;
    this.#store = parts.store;
    this.#runtime = parts.runtime;
    this.#kept = parts.kept;
    this.#registry = parts.registry;
    this.#heardAt = options.clock.now();
    this.#reports = new ReportLoop({
      ...this.#loop("report"),
      everyMs: options.reportEveryMs,
      source: () => this.#source.open(),
      report: () => this.#report(),
      delivered: (reported, skewMs) => this.#delivered(reported, skewMs),
    });
    this.#near = parts.near;
    this.#near.source = () => this.#source.current;
    this.#neighbours = new Neighbours({
      ...this.#loop("ports"),
      runDir: options.paths.run,
      registry: parts.registry,
      source: () => this.#source.open(),
    });
    this.#context = {
      ...parts.context,
      neighbours: this.#neighbours,
      pace: () => this.#pace(),
      depots: (how) => this.#near.readers(how),
      cache: this.#near.cache,
      doubt: (app) => this.#workers.get(app)?.doubt(),
      endHook: (app, order) => this.#workers.get(app)?.endHook(order),
      onNews: (when) => this.#reports.tell(when),
    };
    this.#commands = new CommandDesk(this.#context, this.#runtime);
    this.#refusals = new Refusals(this.#context, options.log);
    this.#reminders = new Reminders(parts.store, parts.remembered, options.clock, () =>
      parts.context.records.all().flatMap(({ lastReceipt }) => lastReceipt ?? []),
    );
  }

  async run(): Promise<void> {
    this.#options.log.info("agent started", { node: this.#store.state.identity?.name, boot: this.#boot });
    const stop = this.#runtime.onEvent((event) => {
      if (event.type === "keeper") for (const worker of this.#workers.values()) worker.doubt();
      this.#kickAll(this.#runtime.isOfJudged(event) ? "later" : "now");
    });
    // Before the workers: an install that a crash broke off goes on at once. No network is used here.
    await this.#source.open().catch(() => undefined);
    await sweepLeft(this.#context);
    this.#startWorkers();
    this.#track(this.#context.spares?.run(this.#options.signal) ?? Promise.resolve());
    try {
      await Promise.all([
        this.#listenLoop(),
        this.#reports.run(),
        this.#neighbours.run(),
        watchHealth(this.#context, this.#runtime, this.#replaced, this.#options.signal),
      ]);
    } finally {
      stop();
      await Promise.allSettled(this.#work);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }

  #pace(): Pace {
    const now = this.#options.clock.now();
    // Where the clock was set back, the time that a hub may be silent begins anew.
    this.#heardAt = Math.min(this.#heardAt, now);
    const isAway = now - this.#heardAt > AWAY_MS;
    return {
      gates: this.#gates,
      reachable: !isAway && this.#source.current?.paced !== false,
      duplicate: this.#duplicate,
    };
  }

  #startWorkers(): void {
    const { signal } = this.#options;
    const apps = Object.values(this.#store.state.apps).map(({ app }) => app);
    for (const app of new Set([...apps, ...this.#context.records.all().map((record) => record.app)])) {
      if (this.#workers.has(app)) continue;
      const worker = new AppWorker(app, this.#context);
      this.#workers.set(app, worker);
      this.#track(worker.run(signal));
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch((err: unknown) => {
      if (this.#options.signal.aborted) return;
      this.#options.log.error("a task of the agent ended", { "err.message": messageOf(err) });
    });
    this.#work.add(tracked);
    void tracked.then(() => this.#work.delete(tracked));
  }

  #kickAll(when: When): void {
    for (const worker of this.#workers.values()) worker.kick();
    this.#reports.tell(when);
  }

  /** Listens for what is wanted, for ever; everything else goes on while nobody answers. */
  async #listenLoop(): Promise<void> {
    let etag: string | undefined;
    // Only an answer in full shows which receipts a hub has that comes back with less than it had.
    const onFailure = (): void => (etag = undefined);
    await forever({ ...this.#loop("wanted"), onFailure }, async (signal) => {
      const source = await this.#source.open();
      const wanted = await source.wanted(etag, WAIT_MS, signal);
      this.#heardAt = this.#options.clock.now();
      if (this.#commands.takeUnanswered() || this.#isMended) etag = undefined;
      this.#isMended = false;
      if (wanted === undefined) return;
      await allEnded([this.#reminders.heard(wanted, source, signal), this.#take(wanted)]);
      if (this.#reminders.isDue()) this.#reports.tell("now");
      etag = wanted.etag;
    });
  }

  async #take(wanted: Offered): Promise<void> {
    const now = this.#options.clock.now();
    const taking = takeIn(wanted, this.#store, this.#kept, { now, self: this.#keys.signer.kid });
    for (const refusal of await this.#untaken.after(wanted.apps, taking))
      await this.#refusals.refuse(refusal);
    await forgetUnnamed(this.#kept, this.#context);
    this.#gates = new Map(
      wanted.apps.flatMap(({ gates }) => Object.entries(gates) as [Digest, "hold" | "go" | "undo"][]),
    );
    this.#duplicate = wanted.duplicate;
    this.#catchingUp = wanted.catchingUp;
    this.#refusals.alarm("DUPLICATE", wanted.duplicate ? "another live agent uses this node's key" : null);
    this.#startWorkers();
    this.#kickAll(wanted.catchingUp ? "now" : "later");
    for (const command of wanted.commands) {
      const answer = this.#commands.begin(command, this.#source.current, this.#options.signal);
      if (answer !== undefined) this.#track(answer);
    }
  }

  async #delivered(reported: Reported, skewMs: number): Promise<void> {
    this.#heardAt = this.#options.clock.now();
    this.#reminders.delivered();
    const { outbox } = this.#context;
    await outbox.delivered(reported.receipts);
    // A hub that takes none of them has forgotten their orders.
    if (!outbox.isEmpty) this.#reports.tell(reported.receipts.length > 0 ? "now" : "later");
    if (reported.catchingUp && !this.#catchingUp) this.#reports.tell("now");
    this.#catchingUp = reported.catchingUp;
    this.#duplicate = reported.duplicate;
    const skewed = isSkewed(skewMs);
    // What was refused for its date is to be heard again.
    this.#isMended ||= this.#isSkewed && !skewed;
    this.#isSkewed = skewed;
    const skew = skewed ? `the hub's clock differs by ${Math.round(skewMs / 1000)} s` : null;
    this.#refusals.alarm("CLOCK_SKEW", skew);
  }

  async #report(): ReturnType<typeof reportOf> {
    // Its address may be another one than when an instance came or went last.
    await this.#registry.refresh();
    return await reportOf({
      context: this.#context,
      runtime: this.#runtime,
      kept: this.#kept,
      workers: [...this.#workers.values()],
      replaced: this.#replaced,
      untaken: this.#untaken,
      boot: this.#boot,
      address: this.#options.address(),
      endpoint: await this.#near.endpoint(),
      version: this.#options.version ?? "0",
      all: this.#reminders.toTell(this.#catchingUp),
    });
  }

  async #sourceAfter(before: Source | undefined): Promise<Source> {
    const charterVersion = (): number => this.#store.state.charter.version;
    const papers = (): ReturnType<Reminders["papers"]> => this.#reminders.papers();
    const options = { ...this.#options, boot: this.#boot, charterVersion, kept: this.#kept, papers };
    if (options.source !== undefined) return before ?? (await options.source(this.#keys, this.#store));
    return await hubFor(this.#store.state.charter, this.#keys, options, before);
  }

  #loop(what: string): ForeverOptions {
    const { clock, log, signal } = this.#options;
    return { what, clock, log, signal };
  }
}
