import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf, fromWire, isSkeinError, messageOf, SkeinError } from "../lib/errors/errors.ts";
import { afterRunningMs } from "../lib/time/own-time.ts";
import { programFile } from "../lib/process/program.ts";
import { kernel } from "./ffi.ts";
import {
  lineReader,
  PROTOCOL_VERSION,
  type Hello,
  type KeeperEvent,
  type OpArgs,
  type OpName,
  type OpResult,
  type Reply,
  type SocketView,
} from "./protocol.ts";

const CALL_MS = 30_000;
const START_MS = 10_000;
/** Between two keepers that are started because none answers. */
const AGAIN_MS = 500;
/** Longer than any app's drain is likely to be. */
const SHUTDOWN_MS = 300_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (err: unknown) => void;
}

/** A connection to the keeper. Calls are answered in any order; events go to `onEvent` once `events` was called. */
export class KeeperClient implements AsyncDisposable {
  readonly hello: Hello;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
  onEvent: (event: KeeperEvent) => void = () => undefined;
  readonly #socket: net.Socket;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.hello = undefined as unknown as Hello;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#failAll(new SkeinError("KEEPER_UNREACHABLE", "the keeper closed the connection"));
        resolve();
      });
    });
    socket.on("error", () => socket.destroy());
    const read = lineReader((value) => this.#take(value as Reply), Infinity);
    socket.on("data", (chunk) => {
      try {
        read(chunk);
      } catch {
        socket.destroy();
      }
    });
  }

  /** @throws SkeinError KEEPER_UNREACHABLE, KEEPER_PROTOCOL; then no connection is left */
  static async connect(file: string, withinMs = CALL_MS): Promise<KeeperClient> {
    const socket = await connected(file);
    const client = new KeeperClient(socket);
    try {
      const hello = await client.call("hello", { version: PROTOCOL_VERSION }, withinMs);
      if (hello.version >= PROTOCOL_VERSION) return Object.assign(client, { hello });
      throw new SkeinError("KEEPER_PROTOCOL", `the keeper speaks version ${hello.version}`, {
        data: { ...hello },
      });
    } catch (err) {
      socket.destroy(); // one that is stopped may be asked again and again
      throw err;
    }
  }

  /** @throws the op's own errors; KEEPER_UNREACHABLE when no answer comes within `withinMs`, or the connection ends */
  async call<Name extends OpName>(op: Name, args: OpArgs<Name>, withinMs = CALL_MS): Promise<OpResult<Name>> {
    if (this.#socket.destroyed)
      throw new SkeinError("KEEPER_UNREACHABLE", "the connection to the keeper is closed");
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#socket.write(`${JSON.stringify({ ...args, id, op })}\n`);
    const callOff = afterRunningMs(withinMs, () => answer.reject(unanswered(op, withinMs)));
    try {
      return (await answer.promise) as OpResult<Name>;
    } finally {
      callOff();
      this.#waiting.delete(id);
    }
  }

  /**
   * A copy of a held socket's descriptor for this process to accept on.
   * @throws SkeinError HANDOVER_REFUSED where descriptors cannot be copied
   */
  takeSocket(view: SocketView): number {
    const calls = kernel();
    if (calls === undefined)
      throw new SkeinError("HANDOVER_REFUSED", "descriptors cannot be copied on this machine");
    return calls.takeFd(this.hello.pid, view.fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.closed;
  }

  #take(reply: Reply): void {
    if ("event" in reply) {
      this.onEvent(reply.event);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    if ("error" in reply) waiting?.reject(fromWire(reply.error));
    else waiting?.resolve(reply.ok);
  }

  #failAll(err: SkeinError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(err);
  }
}

function unanswered(op: OpName, withinMs: number): SkeinError {
  return new SkeinError("KEEPER_UNREACHABLE", `the keeper did not answer ${op} within ${withinMs} ms`, {
    data: { op },
  });
}

async function connected(file: string): Promise<net.Socket> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(file);
    socket.once("connect", () => resolve(socket));
    socket.once("error", (err) => {
      reject(new SkeinError("KEEPER_UNREACHABLE", `${file}: ${messageOf(err)}`, { cause: err }));
    });
  });
}

export interface EnsureOptions {
  /** Folder of the keeper's socket and state. */
  readonly run: string;
  /** Where a keeper that is started writes its own output. */
  readonly logFile: string;
  /** Something else starts it (a unit): wait until it answers. Default: start one, detached, when none answers. */
  readonly awaitKeeper?: boolean | undefined;
  readonly signal: AbortSignal;
}

/**
 * Connects to the keeper, whoever starts it; one that ends before it answers is followed by another.
 * @throws SkeinError KEEPER_UNREACHABLE when none answers within 10 s
 */
export async function ensureKeeper(options: EnsureOptions): Promise<KeeperClient> {
  const file = path.join(options.run, "keeper.sock");
  const there = await KeeperClient.connect(file).catch((err: unknown) => {
    // One that is there and says nothing is stopped, or its disk hangs: another would take its place.
    if (isSkeinError(err, "KEEPER_UNREACHABLE") && err.data["op"] === undefined) return undefined;
    throw err;
  });
  if (there !== undefined) return there;
  const until = performance.now() + START_MS;
  let started: Started | undefined;
  for (;;) {
    if (options.awaitKeeper !== true && isOver(started)) {
      started = { keeper: startKeeper(options), again: performance.now() + AGAIN_MS };
    }
    await sleep(20, undefined, { signal: options.signal });
    try {
      return await KeeperClient.connect(file);
    } catch (err) {
      if (performance.now() > until) throw err;
    }
  }
}

interface Started {
  readonly keeper: ChildProcess;
  /** When another one may be started, should this one have ended by then. */
  readonly again: number;
}

/** A keeper that was killed, or failed, before it answered is no reason to leave the instances without one. */
function isOver(started: Started | undefined): boolean {
  if (started === undefined) return true;
  const { pid, exitCode, signalCode } = started.keeper;
  const hasEnded = pid === undefined || exitCode !== null || signalCode !== null;
  return hasEnded && performance.now() >= started.again;
}

/**
 * Ends the keeper with all it runs, each app as its manifest says.
 * @returns false where there was none, which is as good
 * @throws SkeinError KEEPER_UNREACHABLE where there is one that this user may not tell anything
 */
export async function shutDown(run: string): Promise<boolean> {
  const found = await KeeperClient.connect(path.join(run, "keeper.sock")).catch(goneKeeper);
  if (found === undefined) return false;
  await using keeper = found;
  await keeper.call("shutdown", {}, SHUTDOWN_MS).catch(goneKeeper);
  return true;
}

function goneKeeper(err: unknown): undefined {
  if (!isSkeinError(err, "KEEPER_UNREACHABLE") || errnoOf(err.cause) === "EACCES") throw err;
}

/** Its environment is as bare as an app's: nothing of the agent's leaks into what outlives it. */
export function startKeeper({ run, logFile }: Pick<EnsureOptions, "run" | "logFile">): ChildProcess {
  fs.mkdirSync(run, { recursive: true, mode: 0o711 });
  fs.mkdirSync(path.dirname(logFile), { recursive: true, mode: 0o750 });
  const log = fs.openSync(logFile, "a", 0o640);
  const fault = process.env["SKEIN_KEEPER_FAULT"];
  const child = spawn(process.execPath, [...KEEPER_NODE_FLAGS, programFile("keeper"), run], {
    cwd: "/",
    detached: true,
    env: {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      ...(fault === undefined ? {} : { SKEIN_FAULT: fault }),
    },
    stdio: ["ignore", log, log],
  });
  child.on("error", () => undefined);
  child.unref();
  fs.closeSync(log);
  return child;
}

/** Small on purpose: it lives as long as the machine. */
export const KEEPER_NODE_FLAGS = [
  "--disable-warning=ExperimentalWarning",
  "--max-semi-space-size=1",
  "--max-old-space-size=128",
] as const;
