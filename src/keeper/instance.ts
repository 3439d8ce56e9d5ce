import type { ChildProcess } from "node:child_process";
import fs from "node:fs";
import type { Readable } from "node:stream";
import { SkeinError } from "../lib/errors/errors.ts";
import { faultPoint } from "../lib/process/fault.ts";
import { makeCage, removeCage } from "./cgroup.ts";
import type { ClientSide } from "./connections.ts";
import { gateFile, makeGate, openGate, removeGate } from "./gate.ts";
import { descriptorsOf, launch } from "./launch.ts";
import { openLog, openLogOrNone } from "./log-file.ts";
import type {
  ExitView,
  InstanceSpec,
  InstanceState,
  InstanceView,
  KeeperEvent,
  SocketView,
  StopResult,
} from "./protocol.ts";
import { restartDelayMs } from "./restarts.ts";
import { runs, statOf } from "./proc.ts";
import { readStatus, STATUS_LINES } from "./status-lines.ts";
import { endGroup, killGroup, killStrays } from "./stopping.ts";

const ADOPTED_POLL_MS = 40;

/** What an instance needs of its keeper. */
export interface Surroundings {
  readonly gates: string;
  /** @throws SkeinError NOT_FOUND */
  socket(key: string): SocketView;
  /** Those of them that are held: an earlier keeper's may have been lost. */
  held(keys: readonly string[]): SocketView[];
  /** Its sockets are about to be passed to an instance. */
  passed(spec: InstanceSpec): void;
  emit(event: KeeperEvent): void;
  /** Called before every step that a later keeper must know of. @throws what the disk refuses */
  save(): void;
  /** The same after what has happened already: it is written as soon as the disk takes it. */
  saveSoon(): void;
}

/** All that a later keeper needs to take an instance over. */
export interface InstanceRecord {
  readonly spec: InstanceSpec;
  readonly state: InstanceState;
  readonly attached: boolean;
  readonly pid: number;
  readonly startTime: string;
  readonly since: string;
  readonly crashTimes: readonly number[];
  readonly exit: ExitView | null;
  readonly status: readonly string[];
  readonly unenforced: readonly string[];
  readonly cages: readonly string[];
}

/** One process with its group, from the first start over its restarts to its end. */
export class Instance {
  readonly spec: InstanceSpec;
  readonly #around: Surroundings;
  #state: InstanceState = "stopped";
  #attached: boolean;
  #pid = 0;
  #startTime = "";
  #since = now();
  #crashTimes: number[] = [];
  #exit: ExitView | null = null;
  #status: string[] = [];
  #unenforced: readonly string[] = [];
  #cages: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #ending: Promise<StopResult> | undefined;
  #clearing: Promise<void> | undefined;
  #gate = "";

  constructor(spec: InstanceSpec, around: Surroundings) {
    this.spec = spec;
    this.#around = around;
    this.#attached = spec.attached;
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** Is there a process, or will there be one without being asked again? */
  get live(): boolean {
    return this.#state === "running" || this.#state === "stopping" || this.#state === "waiting";
  }

  /**
   * What it left is being killed, by the mark that its next process has too: that one is not to be there before.
   * undefined: nothing is
   */
  get clearing(): Promise<void> | undefined {
    return this.#clearing;
  }

  view(): InstanceView {
    return {
      spec: this.spec,
      state: this.#state,
      attached: this.#attached,
      pid: this.#pid,
      since: this.#since,
      crashes: this.#crashTimes.length,
      exit: this.#exit,
      status: this.#status,
      unenforced: this.#unenforced,
    };
  }

  record(): InstanceRecord {
    const { spec, state, attached, pid, since, exit, status, unenforced } = this.view();
    const [startTime, crashTimes, cages] = [this.#startTime, this.#crashTimes, this.#cages];
    return { spec, state, attached, pid, since, exit, status, unenforced, startTime, crashTimes, cages };
  }

  /** @throws SkeinError START_FAILED, USER_REFUSED, NOT_FOUND (a socket), what the disk refuses; then nothing runs */
  start(): void {
    this.#crashTimes = [];
    this.#exit = null;
    this.#become("running", { pid: 0 });
    try {
      this.#spawn(openLog(this.spec.log));
    } catch (err) {
      this.#became("failed", { pid: 0 });
      throw err;
    }
  }

  attach(): void {
    const before = this.#attached;
    this.#attached = true;
    try {
      this.#around.save();
    } catch (err) {
      this.#attached = before; // its gate is shut: nobody may take it for open
      throw err;
    }
    faultPoint("keeper.attach");
    if (this.#gate !== "") openGate(this.#gate);
  }

  /** Continues what an earlier keeper's record says; `pid` is its living process, or undefined when that is gone. */
  resume(record: InstanceRecord, pid: number | undefined): void {
    this.#attached = record.attached;
    this.#since = record.since;
    this.#crashTimes = [...record.crashTimes];
    this.#exit = record.exit;
    this.#status = [...record.status];
    this.#unenforced = record.unenforced;
    this.#cages = record.cages;
    this.#state = record.state;
    if (this.spec.gate) this.#gate = gateFile(this.#around.gates, this.spec.key);
    if (this.#attached && this.#gate !== "") openGate(this.#gate); // the record comes before the deed
    if (pid === undefined) {
      if (this.live) this.#afterLoss(record);
      return;
    }
    this.#watchAdopted(pid);
    // Nobody may ask again: whoever did was answered that it is not known what came of it.
    if (record.state === "stopping") void this.stop().catch(() => undefined);
  }

  async stop(withinMs?: number): Promise<StopResult> {
    this.#ending ??= this.#end(withinMs ?? this.spec.stop.withinMs).finally(() => {
      this.#ending = undefined;
    });
    return await this.#ending;
  }

  /** Frees what a finished instance left behind on the machine. */
  clean(): void {
    clearTimeout(this.#timer);
    removeCage(this.#cages);
    if (this.#gate !== "") removeGate(this.#gate);
  }

  // Private

  /** @param log is closed */
  #spawn(log: number): void {
    const { spec } = this;
    let gate: number | undefined;
    try {
      const sockets = spec.sockets.map((key) => this.#around.socket(key).fd);
      this.#around.passed(spec);
      const cage = makeCage(spec.key, spec.limits);
      this.#cages = cage.folders;
      const wanted = spec.limits.files;
      const files = wanted === null ? null : descriptorsOf(wanted);
      this.#unenforced = [...cage.unenforced, ...(files === wanted ? [] : ["files"])];
      faultPoint("keeper.spawn");
      gate = spec.gate ? this.#newGate() : undefined;
      const fds = gate === undefined ? sockets : [...sockets, gate];
      const child = launch({ spec, log, fds, statusPipe: gate !== undefined, cages: cage.folders, files });
      this.#own(child, gate === undefined ? undefined : 3 + fds.length);
    } finally {
      fs.closeSync(log);
      if (gate !== undefined) fs.closeSync(gate);
    }
  }

  #newGate(): number {
    this.#gate = makeGate(this.#around.gates, this.spec.key, this.#attached);
    return fs.openSync(this.#gate, "r");
  }

  #own(child: ChildProcess, statusFd: number | undefined): void {
    const { pid } = child;
    if (pid === undefined) {
      throw new SkeinError(
        "START_FAILED",
        `${this.spec.key}: no process could be started in ${this.spec.cwd}`,
      );
    }
    faultPoint("keeper.spawned");
    this.#status = [];
    this.#became("running", { pid });
    child.once("exit", (code, signal) => this.#gone(pid, { code, signal, at: now() }));
    if (statusFd !== undefined) readStatus(child.stdio[statusFd] as Readable, (lines) => this.#said(lines));
    this.#around.emit({ type: "started", key: this.spec.key, pid });
  }

  #said(lines: readonly string[]): void {
    this.#status = [...this.#status, ...lines].slice(-STATUS_LINES);
    for (const line of lines) this.#around.emit({ type: "status", key: this.spec.key, line });
  }

  #watchAdopted(pid: number): void {
    this.#pid = pid;
    this.#startTime = statOf(pid)?.startTime ?? "";
    if (this.#state === "waiting") this.#state = "running";
    const timer = setInterval(() => {
      if (runs(pid, this.#startTime)) return;
      clearInterval(timer);
      this.#gone(pid, { code: null, signal: null, at: now() });
    }, ADOPTED_POLL_MS);
  }

  /** The process ended while no keeper looked. */
  #afterLoss(record: InstanceRecord): void {
    if (record.state === "stopping") this.#became("stopped", { pid: 0 });
    else this.#crashed(record.pid, { code: null, signal: null, at: now() });
  }

  #gone(pid: number, exit: ExitView): void {
    if (pid !== this.#pid) return;
    if (this.#state === "stopping") this.#exit = exit;
    else this.#crashed(pid, exit);
  }

  #crashed(pid: number, exit: ExitView): void {
    this.#exit = exit;
    const { restart } = this.spec;
    const delay = this.#attached ? restartDelayMs(this.#crashTimes, restart, Date.now()) : undefined;
    this.#crashTimes = [...this.#crashTimes, Date.now()].slice(-1000);
    const last = this.#attached && restart !== null ? "failed" : "exited";
    this.#became(delay === undefined ? last : "waiting", { pid: 0 });
    // Told before anything else is done: callers must not be led there any more.
    const restartInMs = delay ?? null;
    this.#around.emit({ type: "exited", key: this.spec.key, pid, exit, state: this.#state, restartInMs });
    const cleared = pid > 0 ? this.#clear(pid) : Promise.resolve();
    if (delay !== undefined) this.#restartIn(delay, cleared);
  }

  async #clear(group: number): Promise<void> {
    const clearing = killGroup(group, markOf(this.spec));
    this.#clearing = clearing;
    await clearing;
    if (this.#clearing === clearing) this.#clearing = undefined;
  }

  #restartIn(delay: number, cleared: Promise<void>): void {
    this.#timer = setTimeout(() => {
      void cleared.then(() => {
        if (this.#state === "waiting") this.#tryAgain();
      });
    }, delay);
  }

  /** Serving comes before being written down, and before a log. */
  #tryAgain(): void {
    this.#became("running", { pid: 0 });
    try {
      this.#spawn(openLogOrNone(this.spec.log));
    } catch {
      this.#crashed(0, { code: null, signal: null, at: now() });
    }
  }

  async #end(withinMs: number): Promise<StopResult> {
    const began = performance.now();
    clearTimeout(this.#timer);
    if (this.#state !== "running" && this.#state !== "stopping") {
      if (this.#state === "waiting") this.#become("stopped", { pid: 0 });
      await this.#clearing;
      return { cut: 0, forced: false, exit: this.#exit, ms: 0 };
    }
    const group = this.#pid;
    this.#become("stopping", { pid: group });
    faultPoint("keeper.stop");
    const ended = await endGroup(group, { ...this.spec.stop, withinMs }, this.#clientSide());
    await killStrays(markOf(this.spec));
    await new Promise((resolve) => setImmediate(resolve)); // lets the exit event of the leader come first
    this.#became("stopped", { pid: 0 });
    faultPoint("keeper.stopped");
    this.#around.emit({ type: "stopped", key: this.spec.key });
    const cut = ended.forced ? ended.cut : (this.#cutTold() ?? ended.cut);
    return {
      cut,
      forced: ended.forced,
      exit: this.#exit,
      ms: Math.round(performance.now() - began),
    };
  }

  /** A preload counts exactly what its process cut; undefined where none lived to say so. */
  #cutTold(): number | undefined {
    const told = this.#status.flatMap((line) => /^cut (\d+)$/.exec(line)?.[1] ?? []);
    return told.length === 0 ? undefined : told.reduce((sum, count) => sum + Number(count), 0);
  }

  #clientSide(): ClientSide {
    const sockets = this.#around.held(this.spec.sockets);
    const port = Number(this.spec.env["PORT"] ?? 0);
    return {
      ports: new Set([...sockets.map((socket) => socket.port), port].filter((n) => n > 0)),
      paths: new Set(sockets.flatMap((socket) => socket.path ?? [])),
    };
  }

  /** @throws what the disk refuses; then it is what it was */
  #become(state: InstanceState, { pid }: { pid: number }): void {
    const before = [this.#state, this.#pid, this.#startTime, this.#since] as const;
    this.#set(state, pid);
    try {
      this.#around.save();
    } catch (err) {
      [this.#state, this.#pid, this.#startTime, this.#since] = before;
      throw err;
    }
  }

  /** Nobody waits for it who could be told that it cannot be written down. */
  #became(state: InstanceState, { pid }: { pid: number }): void {
    this.#set(state, pid);
    this.#around.saveSoon();
  }

  #set(state: InstanceState, pid: number): void {
    this.#state = state;
    this.#pid = pid;
    this.#startTime = pid === 0 ? "" : (statOf(pid)?.startTime ?? "");
    this.#since = now();
  }
}

/** The entry of its environment by which an instance's processes are known. */
export function markOf({ env }: InstanceSpec): string | undefined {
  const key = env["SKEIN_KEY"];
  return key === undefined ? undefined : `SKEIN_KEY=${key}`;
}

const now = (): string => new Date().toISOString();
