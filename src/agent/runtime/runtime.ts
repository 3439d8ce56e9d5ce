import type { SocketSpec } from "../../keeper/protocol.ts";
import { allEnded } from "../../lib/async/all-ended.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import { addressVariables } from "./address.ts";
import { attachInstance, type AttachOutcome } from "./attaching.ts";
import { closeUnused, endOne, forgetAll, startAgain, stopAll } from "./clearing.ts";
import { inTheWay, inTheWayOf, isAny, makeWay, refuseTwice, type Comer } from "./make-way.ts";
import type { Place } from "./instance-spec.ts";
import { KeeperLink, type LinkEvent } from "./keeper-link.ts";
import {
  belongs,
  gateIsOff,
  indexes,
  instanceName,
  runKey,
  sameRun,
  startOrder,
  type ProcessPlan,
  type ReleasePlan,
  type RunRef,
} from "./release-plan.ts";
import { placePreload } from "./preload.ts";
import { endedInUse, InstanceWatch, untilReady, type Watched } from "./readiness.ts";
import { startInstance, type Started } from "./starter.ts";
import { isServing, isTableOnly, ofRun, otherRuns, readStock, type Held, type Stock } from "./stock.ts";
import { styleOf } from "./handover-style.ts";
import type { Warning } from "./warning.ts";
import { rowsOf, type InstanceRow } from "./instance-rows.ts";

const PORT_TRIES = 3;

export interface RuntimeOptions {
  /** Folder of the keeper's socket; short. */
  readonly run: string;
  /** Root of the log folders. */
  readonly logs: string;
  /** What sockets bind to; numeric. */
  readonly bind: string;
  /** What others are told. */
  readonly address: () => string;
  /** This node's name. */
  readonly node: string;
  readonly awaitKeeper?: boolean | undefined;
  readonly log: Log;
}

export interface JudgeOptions {
  /** Runs that make way for this one; default: every other run of the app. */
  readonly replaces?: readonly RunRef[];
  /** Called once all instances are ready, with SKEIN_ADDRESS_<SOCKET> of the judged ones; throws to refuse them. */
  readonly verify?: (addresses: Readonly<Record<string, string>>, signal: AbortSignal) => Promise<void>;
}

export interface Outcome {
  readonly warnings: readonly Warning[];
}

export interface RetireOutcome extends Outcome {
  /** Client connections that were cut. */
  readonly cut: number;
}

/** What is remembered between judge and attach or abandon, in this process only; all else the keeper knows. */
interface Draft {
  /** Old instances that had to stop first, and what that cut. */
  readonly stopped: Held[];
  /** Sockets that were closed for it. */
  readonly closed: SocketSpec[];
  /** Instances of the very run that served before: neither judged again nor ended with it. */
  readonly serving: readonly Held[];
  readonly warnings: Warning[];
  /** When the first old instance without a held socket was told to stop. */
  gapBegan: number | undefined;
}

/** One run that is being judged. */
interface Judging {
  readonly plan: ReleasePlan;
  readonly replaces: readonly RunRef[];
  /** What was there when it began. */
  readonly stock: Stock;
  readonly draft: Draft;
  readonly signal: AbortSignal;
}

/**
 * Runs releases on this node through the keeper. A deployment is `judge`, `attach`, then `retire` of the old run, or
 * `abandon` of the new one; after a crash of the agent `reconcile` makes the node what the plans say.
 */
export class AppRuntime implements AsyncDisposable {
  readonly #link: KeeperLink;
  readonly #place: Place;
  readonly #drafts = new Map<string, Draft>();
  /** Keys of the runs that are being judged. */
  readonly #judging = new Set<string>();

  private constructor(link: KeeperLink, place: Place) {
    this.#link = link;
    this.#place = place;
  }

  /** Connects to the keeper, starting one if there is none. */
  static async open(options: RuntimeOptions): Promise<AppRuntime> {
    const { run, logs, bind, address, node } = options;
    const link = new KeeperLink(options);
    await link.client();
    const preload = await placePreload(run);
    return new AppRuntime(link, { run, logs, bind, address, node, preload });
  }

  /** The line to the keeper, for sockets and notes of the agent's own. */
  get link(): KeeperLink {
    return this.#link;
  }

  /** Hears of starts, ends (within 100 ms) and new keepers until the returned function is called. */
  onEvent(listener: (event: LinkEvent) => void): () => void {
    return this.#link.listen(listener);
  }

  /** Is it how one fares that is being judged? Nobody is led there yet, and what comes of it is told when it has. */
  isOfJudged(event: LinkEvent): boolean {
    if (event.type !== "started" && event.type !== "status") return false;
    return this.#judging.has(event.key.slice(0, event.key.lastIndexOf("/")));
  }

  /** Every instance with every socket of it: the local part of the port table. */
  async list(): Promise<InstanceRow[]> {
    return rowsOf(await readStock(this.#link), this.#place.address());
  }

  /**
   * Starts the run's instances where no client sees them and waits until they are ready and verified. Where two
   * versions may not run at once the old instances stop first. Instances of the run that serve already are left
   * alone. On failure everything is as before.
   * @throws SkeinError HANDOVER_REFUSED, PORT_TAKEN, START_FAILED, APP_EXITED, HEALTH_TIMEOUT, SOCKET_NOT_TAKEN,
   *   USER_REFUSED, or what `verify` throws
   */
  async judge(plan: ReleasePlan, options: JudgeOptions, signal: AbortSignal): Promise<Outcome> {
    const { hello } = await this.#link.client();
    const comers = plan.processes.map((process): Comer => {
      return { app: plan.app, process, style: styleOf(process, plan.dir, hello.ffi) };
    });
    const stock = await this.#clearRun(plan);
    const serving = ofRun(stock, plan).filter(isServing);
    const draft: Draft = { stopped: [], closed: [], serving, warnings: [], gapBegan: undefined };
    this.#drafts.set(runKey(plan), draft);
    this.#judging.add(runKey(plan));
    try {
      const replaces = options.replaces ?? otherRuns(stock, plan);
      const stays = stock.instances.filter(({ meta }) => {
        return meta.app === plan.app && ![plan, ...replaces].some((run) => sameRun(run, meta));
      });
      for (const comer of comers) refuseTwice(comer, stays, this.#place);
      const judged = serving.flatMap(({ meta: { process, checked } }) =>
        checked.map((address) => ({ ...address, process })),
      );
      const judging: Judging = { plan, replaces, stock, draft, signal };
      for (const group of startOrder(plan.processes)) {
        const one = async (process: ProcessPlan): Promise<Watched[]> =>
          await this.#judgeProcess(process, judging);
        const started = (await allEnded(group.map(one))).flat().map((watched) => watched.started);
        for (const { request, addresses } of started)
          judged.push(...addresses.map((address) => ({ ...address, process: request.process.name })));
      }
      await options.verify?.(addressVariables(judged), signal);
      return { warnings: draft.warnings };
    } catch (err) {
      await this.abandon(plan);
      throw err;
    } finally {
      this.#judging.delete(runKey(plan));
    }
  }

  /** Puts the judged instances on their public sockets. The old run may be retired when it resolves. */
  async attach(plan: ReleasePlan, signal: AbortSignal): Promise<Outcome> {
    const outcomes: AttachOutcome[] = [];
    for (const group of startOrder(plan.processes)) {
      const work = group.flatMap((process) =>
        indexes(process).map(async (index) => {
          const request = { plan, process, index, phase: "public", attached: true } as const;
          return await attachInstance(this.#link, this.#place, request, signal);
        }),
      );
      outcomes.push(...(await allEnded(work)));
    }
    const draft = this.#drafts.get(runKey(plan));
    return { warnings: [...(draft?.warnings ?? []), ...outcomes.flatMap((outcome) => outcome.warnings)] };
  }

  /**
   * Drains and stops a run and frees what only it used. Idempotent.
   * @param spare leave instances that are reached through the port table alone
   */
  async retire(run: RunRef, spare = false): Promise<RetireOutcome> {
    const all = ofRun(await readStock(this.#link), run);
    return await this.#end(
      run,
      all.filter(({ meta }) => !spare || !isTableOnly(meta)),
    );
  }

  /** The same for what a run has and its plan has not: the node's labels are other ones now. */
  async trim(plan: ReleasePlan): Promise<RetireOutcome> {
    const all = ofRun(await readStock(this.#link), plan);
    return await this.#end(
      plan,
      all.filter(({ meta }) => !belongs(plan, meta)),
    );
  }

  async #end(run: RunRef, held: readonly Held[]): Promise<RetireOutcome> {
    const { cut, forced } = await stopAll(this.#link, held);
    await forgetAll(this.#link, held);
    const warnings: Warning[] = [];
    if (cut > 0) {
      const message = `${cut} connections were cut when ${run.app} ${run.release.slice(0, 8)} stopped`;
      warnings.push({ code: "CONNECTIONS_CUT", message, data: { cut, forced } });
    }
    return { cut, warnings };
  }

  /**
   * Stops a new run, judged or already attached, and brings back what had made way for it.
   * @param served it served before, as far as it does now: that is left alone also where nobody remembers
   */
  async abandon(run: RunRef, served = false): Promise<void> {
    const draft = this.#drafts.get(runKey(run));
    this.#drafts.delete(runKey(run));
    const all = ofRun(await readStock(this.#link), run);
    const serving = draft?.serving ?? (served ? all.filter(isServing) : []);
    const spared = new Set(serving.map(({ view }) => view.spec.key));
    const held = all.filter(({ view }) => !spared.has(view.spec.key));
    await stopAll(this.#link, held);
    for (const socket of draft?.closed ?? []) await this.#link.call("listen", { socket });
    const known = new Set((await readStock(this.#link)).instances.map(({ view }) => view.spec.key));
    const stopped = new Set(draft?.stopped.map(({ view }) => view.spec.key));
    for (const key of stopped) if (known.has(key)) await this.#link.call("again", { key });
    await forgetAll(this.#link, held);
    await closeUnused(this.#link, new Set([run.app]));
  }

  /** Forgets the draft of a run that is there to stay. */
  settle(run: RunRef): void {
    this.#drafts.delete(runKey(run));
  }

  /**
   * Makes the node run exactly these plans of the apps they name, whatever a crash or reboot left: what serves is
   * left alone, what is missing starts publicly, the rest stops. An app that does not come up is told of in the
   * warnings, and keeps what else of it runs. `apps` names apps that are to run nothing.
   */
  async reconcile(
    plans: readonly ReleasePlan[],
    apps: readonly string[],
    signal: AbortSignal,
  ): Promise<Outcome> {
    const warnings: Warning[] = [];
    const names = new Set([...apps, ...plans.map((plan) => plan.app)]);
    const before = await readStock(this.#link);
    const extra = (stock: Stock): Held[] =>
      stock.instances.filter(({ meta }) => names.has(meta.app) && !plans.some((plan) => belongs(plan, meta)));
    const { ffi } = (await this.#link.client()).hello;
    await makeWay(this.#link, inTheWayOf(plans, extra(before), before, { place: this.#place, ffi }));
    const failed = new Set<string>();
    for (const plan of plans) {
      try {
        warnings.push(...(await this.attach(plan, signal)).warnings);
      } catch (err) {
        if (!isSkeinError(err)) throw err;
        failed.add(plan.app);
        warnings.push({ code: err.code, message: err.message, data: { app: plan.app, ...err.data } });
      }
    }
    const rest = extra(await readStock(this.#link)).filter(({ meta }) => !failed.has(meta.app));
    await stopAll(this.#link, rest);
    await forgetAll(this.#link, rest);
    return { warnings };
  }

  /** Stops one instance, drained, in its own time or in `withinMs`. @throws SkeinError NOT_FOUND */
  async stop(key: string, withinMs?: number): Promise<void> {
    await endOne(this.#link, key, withinMs);
  }

  /**
   * Stops one instance, drained, and starts it again as it was, unless it is being ended or has made way for a run that
   * is judged. @returns whether it was started again
   * @throws SkeinError NOT_FOUND
   */
  async bounce(key: string): Promise<boolean> {
    const madeWay = [...this.#drafts.values()].flatMap(({ stopped }) => stopped);
    if (madeWay.some(({ view }) => view.spec.key === key)) return false;
    return await startAgain(this.#link, key);
  }

  /** Holds a listening socket for the agent itself (the registry's) and gives this process a copy of it. */
  async holdOwn(spec: SocketSpec): Promise<{ readonly fd: number; readonly port: number }> {
    const client = await this.#link.client();
    const view = await client.call("listen", { socket: spec });
    return { fd: client.takeSocket(view), port: view.port };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link[Symbol.asyncDispose]();
  }

  // Private

  /** Ends what an earlier attempt at the same run left. @returns what is there then */
  async #clearRun(run: RunRef): Promise<Stock> {
    const stock = await readStock(this.#link);
    const left = ofRun(stock, run).filter((held) => !isServing(held));
    if (left.length === 0) return stock;
    await stopAll(this.#link, left);
    await forgetAll(this.#link, left);
    return await readStock(this.#link);
  }

  async #judgeProcess(process: ProcessPlan, judging: Judging): Promise<Watched[]> {
    const { plan, draft, signal } = judging;
    const { hello } = await this.#link.client();
    const style = styleOf(process, plan.dir, hello.ffi);
    await this.#makeWay({ app: plan.app, process, style }, judging);
    if (gateIsOff(process) && style === "socket") {
      const message = `${plan.app} ${process.name}: gate is off, it is attached without being judged`;
      draft.warnings.push({ code: "GATE_UNSEEN", message, data: { process: process.name } });
      return [];
    }
    const missing = indexes(process).filter(
      (index) => !draft.serving.some(({ meta }) => meta.process === process.name && meta.index === index),
    );
    const judged = await allEnded(
      missing.map(async (index) => await this.#judgeInstance(plan, process, index, signal)),
    );
    if (style === "gap" && draft.gapBegan !== undefined) {
      const ms = Math.round(performance.now() - draft.gapBegan);
      const message = `${plan.app} ${process.name}: nobody listened for ${ms} ms (handover: gap)`;
      draft.warnings.push({ code: "CONNECTIONS_CUT", message, data: { process: process.name, gapMs: ms } });
    }
    return judged;
  }

  async #makeWay(comer: Comer, { replaces, stock, draft }: Judging): Promise<void> {
    // Nothing comes to be in the way meanwhile, and what was may have ended for another process of the run.
    if (!isAny(inTheWay(comer, replaces, stock, this.#place))) return;
    const way = inTheWay(comer, replaces, await readStock(this.#link), this.#place);
    draft.closed.push(...way.sockets);
    draft.stopped.push(...way.instances);
    if (way.instances.length > 0 && comer.style === "gap") draft.gapBegan ??= performance.now();
    const { cut, forced } = await makeWay(this.#link, way);
    if (cut === 0) return;
    const { name } = comer.process;
    const message = `${cut} connections were cut when the old ${name} stopped`;
    draft.warnings.push({ code: "CONNECTIONS_CUT", message, data: { cut, forced, process: name } });
  }

  async #judgeInstance(
    plan: ReleasePlan,
    process: ProcessPlan,
    index: number,
    signal: AbortSignal,
  ): Promise<Watched> {
    const avoid: number[] = [];
    for (let n = 1; ; n++) {
      const name = instanceName(process.name, index);
      using watch = new InstanceWatch(this.#link, `${runKey(plan)}/${name}`);
      const request = { plan, process, index, phase: "private", attached: false, avoid } as const;
      const started: Started = await startInstance(this.#link, this.#place, request);
      const watched = { started, watch };
      try {
        await untilReady(watched, signal);
        return watched;
      } catch (err) {
        const again = started.style === "own" && isSkeinError(err, "APP_EXITED") && endedInUse(watched);
        if (!again || n >= PORT_TRIES) throw err;
        avoid.push(...started.addresses.map((address) => address.port));
      }
    }
  }
}
