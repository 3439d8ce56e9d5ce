import path from "node:path";
import { SkeinError } from "../lib/errors/errors.ts";
import { faultPoint } from "../lib/process/fault.ts";
import { kernel } from "./ffi.ts";
import { Instance, type Surroundings } from "./instance.ts";
import { rotate } from "./log-file.ts";
import { PortLocks } from "./port-locks.ts";
import { bootId, signalGroup, statOf } from "./proc.ts";
import {
  PROTOCOL_VERSION,
  type Hello,
  type InstanceSpec,
  type InstanceView,
  type KeeperEvent,
  type OpArgs,
  type OpName,
  type OpResult,
  type SocketSpec,
  type SocketView,
  type StopResult,
} from "./protocol.ts";
import { recoverSockets, survivorOf } from "./recover.ts";
import { HeldSockets } from "./sockets.ts";
import { readState, saveState, type KeeperState } from "./state.ts";

const NOTE_BYTES = 65_536;
const EACH_MS = 1000;

/** The ops by name, each a function of its arguments. */
export type Handlers = {
  readonly [Name in OpName]: (args: OpArgs<Name>) => OpResult<Name> | Promise<OpResult<Name>>;
};

/** Sockets, instances and notes of one node, kept in `run` for a successor. */
export class Keeper {
  readonly #run: string;
  readonly #emit: (event: KeeperEvent) => void;
  readonly #sockets = new HeldSockets();
  readonly #ports = new PortLocks();
  readonly #instances = new Map<string, Instance>();
  readonly #notes = new Map<string, string>();
  readonly #lost: string[] = [];
  readonly #adopted: string[] = [];
  readonly #startedAt = new Date().toISOString();
  #recovering = false;
  /** What the disk has not taken yet. */
  #unsaved = false;

  constructor(run: string, emit: (event: KeeperEvent) => void) {
    this.#run = run;
    this.#emit = emit;
    this.#recover();
    setInterval(() => {
      this.#rotateLogs();
      if (this.#unsaved) this.#saveSoon();
    }, EACH_MS).unref();
  }

  hello(): Hello {
    return {
      version: PROTOCOL_VERSION,
      pid: process.pid,
      ffi: kernel() !== undefined,
      startedAt: this.#startedAt,
      lost: this.#lost,
      adopted: this.#adopted,
    };
  }

  listen(socket: SocketSpec): SocketView {
    const wasHeld = this.#sockets.has(socket.key);
    const view = this.#sockets.listen(socket);
    try {
      this.#save();
    } catch (err) {
      // Whoever connected to what nobody knows of would wait there for ever.
      if (!wasHeld) this.#sockets.close(socket.key);
      throw err;
    }
    faultPoint("keeper.listen");
    return view;
  }

  unlisten(key: string): void {
    this.#sockets.close(key);
    this.#saveSoon();
  }

  lockPort(key: string, host: string, avoid: readonly number[]): number {
    const port = this.#ports.take(key, host, avoid);
    this.#saveSoon();
    return port;
  }

  unlockPort(key: string): void {
    this.#ports.release(key);
    this.#saveSoon();
  }

  start(spec: InstanceSpec): InstanceView | Promise<InstanceView> {
    return onceCleared(this.#instances.get(spec.key), () => this.#start(spec));
  }

  #start(spec: InstanceSpec): InstanceView {
    const former = this.#instances.get(spec.key);
    if (former?.live === true) throw new SkeinError("CONFLICT", `instance ${spec.key} runs already`);
    former?.clean();
    const instance = new Instance(spec, this.#around());
    this.#instances.set(spec.key, instance);
    instance.start();
    faultPoint("keeper.started");
    return instance.view();
  }

  again(key: string): InstanceView | Promise<InstanceView> {
    const instance = this.#get(key);
    return onceCleared(instance, () => {
      if (!instance.live) instance.start();
      return instance.view();
    });
  }

  attach(key: string): InstanceView {
    const instance = this.#get(key);
    instance.attach();
    return instance.view();
  }

  signal(key: string, signal: string): void {
    const { pid } = this.#get(key).view();
    if (pid > 0) signalGroup(pid, signal as NodeJS.Signals);
  }

  async stop(key: string, withinMs?: number): Promise<StopResult> {
    const instance = this.#get(key);
    // Without another instance all connections wait there, from now until the next one accepts them.
    for (const socket of instance.spec.sockets) this.#sockets.restoreQueue(socket);
    return await instance.stop(withinMs);
  }

  forget(key: string): void {
    const instance = this.#instances.get(key);
    if (instance === undefined) return;
    if (instance.live) throw new SkeinError("CONFLICT", `instance ${key} still runs`);
    instance.clean();
    faultPoint("keeper.forget");
    this.#instances.delete(key);
    this.#saveSoon();
  }

  list(): OpResult<"list"> {
    return {
      instances: [...this.#instances.values()].map((instance) => instance.view()),
      sockets: this.#sockets.views(),
      notes: Object.fromEntries(this.#notes),
    };
  }

  note(key: string, value: string): void {
    if (value.length > NOTE_BYTES) throw new SkeinError("BAD_REQUEST", `note ${key} is too long`);
    if (value === "") this.#notes.delete(key);
    else this.#notes.set(key, value);
    this.#save();
  }

  /** Ends everything, for the end of the node. */
  async shutdown(): Promise<void> {
    await Promise.all([...this.#instances.values()].map((instance) => instance.stop()));
    for (const key of this.#instances.keys()) this.forget(key);
    for (const { key } of this.#sockets.views()) this.#sockets.close(key);
    this.#saveSoon();
  }

  // Private

  #get(key: string): Instance {
    const instance = this.#instances.get(key);
    if (instance === undefined) throw new SkeinError("NOT_FOUND", `the keeper has no instance ${key}`);
    return instance;
  }

  #around(): Surroundings {
    return {
      gates: path.join(this.#run, "gates"),
      socket: (key) => this.#sockets.get(key),
      held: (keys) => this.#sockets.views().filter(({ key }) => keys.includes(key)),
      passed: ({ key, sockets }) => {
        const used = this.#used(key);
        for (const socket of sockets) if (!used.has(socket)) this.#sockets.restore(socket);
      },
      emit: (event) => {
        this.#emit(event);
        if (event.type === "exited" && event.state === "failed") this.#closeUnused(event.key);
      },
      save: () => this.#save(),
      saveSoon: () => this.#saveSoon(),
    };
  }

  /** A restart limit was reached: nobody will accept on its sockets unless another instance shares them. */
  #closeUnused(key: string): void {
    const used = this.#used(key);
    for (const socket of this.#get(key).spec.sockets) if (!used.has(socket)) this.unlisten(socket);
  }

  /** Sockets of the instances that live, but for one. */
  #used(except: string): Set<string> {
    const others = [...this.#instances.values()].filter((one) => one.live && one.spec.key !== except);
    return new Set(others.flatMap((one) => one.spec.sockets));
  }

  #save(): void {
    if (this.#recovering) return;
    const state: KeeperState = {
      boot: bootId(),
      pid: process.pid,
      startTime: statOf(process.pid)?.startTime ?? "",
      sockets: this.#sockets.views(),
      ports: this.#ports.entries(),
      instances: [...this.#instances.values()].map((instance) => instance.record()),
      notes: Object.fromEntries(this.#notes),
    };
    saveState(this.#run, state);
    this.#unsaved = false;
  }

  /** What has happened is so whether or not it can be written down. */
  #saveSoon(): void {
    try {
      this.#save();
    } catch {
      this.#unsaved = true; // a full or vanished disk must not end the keeper
    }
  }

  /** Takes over what an earlier keeper left: a no-op after a clean start, a shutdown or a reboot. */
  #recover(): void {
    const before = readState(this.#run);
    if (before === undefined || before.boot !== bootId()) return;
    this.#recovering = true;
    for (const [key, value] of Object.entries(before.notes)) this.#notes.set(key, value);
    const living = new Map(before.instances.map((record) => [record.spec.key, survivorOf(record)]));
    recoverSockets(
      before.sockets,
      [...living.values()].flatMap((pid) => pid ?? []),
      this.#sockets,
      this.#lost,
    );
    for (const [key, port] of before.ports) this.#ports.retake(key, port);
    for (const record of before.instances) {
      const pid = living.get(record.spec.key);
      const instance = new Instance(record.spec, this.#around());
      this.#instances.set(record.spec.key, instance);
      instance.resume(record, pid);
      if (pid !== undefined) this.#adopted.push(record.spec.key);
      else if (record.pid > 0) this.#lost.push(`${record.spec.key} had ended (process ${record.pid})`);
    }
    this.#recovering = false;
    faultPoint("keeper.recover");
    this.#saveSoon();
  }

  #rotateLogs(): void {
    for (const instance of this.#instances.values()) {
      try {
        if (instance.live) rotate(instance.spec.log);
      } catch {
        // a full or vanished disk must not end the keeper; the next second tries again
      }
    }
  }
}

/** At once where nothing is to be waited for: what is asked next is to find it started. */
function onceCleared<T>(former: Instance | undefined, start: () => T): T | Promise<T> {
  return former?.clearing === undefined ? start() : former.clearing.then(start);
}
