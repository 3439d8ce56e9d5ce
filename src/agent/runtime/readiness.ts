import { setTimeout as sleep } from "node:timers/promises";
import type { KeeperEvent } from "../../keeper/protocol.ts";
import { tailOf } from "../../keeper/log-file.ts";
import { systemClock, timerMs } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { RunningTime } from "../../lib/time/own-time.ts";
import { formatDuration } from "../../lib/text/units.ts";
import { addressVariables } from "./address.ts";
import { runCheck } from "./checks.ts";
import { listensOn } from "./listening.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { argvOf, instanceName } from "./release-plan.ts";
import type { Started } from "./starter.ts";
import { unstartable } from "./unstartable.ts";
import { waitingOn } from "./socket-wait.ts";

const POLL_MS = 50;
const UNSEEN_MS = 2000;
/** The preload tells at once that it listens; only where it has said nothing for so long is the machine looked through. */
const WORDLESS_MS = 1000;
const TAIL_LINES = 20;

/** Watches one instance from its start on: its status lines, and its end. */
export class InstanceWatch implements Disposable {
  readonly said = new Set<string>();
  exit: Extract<KeeperEvent, { type: "exited" }> | undefined;
  readonly #ended = new AbortController();
  #wake = Promise.withResolvers<void>();
  readonly #stop: () => void;

  constructor(link: KeeperLink, key: string) {
    this.#stop = link.listen((event) => {
      if (!("key" in event) || event.key !== key) return;
      if (event.type === "status") this.said.add(event.line);
      if (event.type === "exited") {
        this.exit = event;
        this.#ended.abort();
      }
      this.#wake.resolve();
      this.#wake = Promise.withResolvers<void>();
    });
  }

  /** Aborts when the process has ended. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Until something happens, or `ms` at the longest. */
  async pause(ms: number, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const timer = sleep(ms, undefined, { signal: AbortSignal.any([signal, stop.signal]) });
    try {
      await Promise.race([timer, this.#wake.promise]);
    } finally {
      stop.abort();
      timer.catch(() => undefined);
      signal.throwIfAborted();
    }
  }

  [Symbol.dispose](): void {
    this.#stop();
  }
}

export interface Watched {
  readonly started: Started;
  readonly watch: InstanceWatch;
}

const NO_ANSWER = "there was no answer";

/**
 * Waits until the instance is ready by its manifest's own measure. Only time in which somebody could ask it counts.
 * @throws SkeinError APP_EXITED, START_FAILED, HEALTH_TIMEOUT, SOCKET_NOT_TAKEN
 */
export async function untilReady(watched: Watched, signal: AbortSignal): Promise<void> {
  const { started, watch } = watched;
  const { ready } = started.request.process;
  using lived = new RunningTime();
  let passes = 0;
  let reason: string | undefined;
  while (lived.ms < ready.withinMs) {
    if (watch.exit !== undefined) throw exitError(watched, watch.exit);
    const why = await askOnce(watched, lived.ms, signal);
    if (watch.exit !== undefined) throw exitError(watched, watch.exit);
    passes = why === null ? passes + 1 : 0;
    if (passes >= (ready.check === null ? 1 : ready.passes)) return;
    // The last check is often cut by the end of the time: what one before it said tells more.
    if (why !== null && (why !== NO_ANSWER || reason === undefined)) reason = why;
    await watch.pause(passes > 0 ? ready.everyMs : Math.min(ready.everyMs, POLL_MS), signal);
  }
  throw timeoutError(watched, reason ?? "it was never asked");
}

async function askOnce(watched: Watched, livedMs: number, signal: AbortSignal): Promise<string | null> {
  const { started } = watched;
  const { plan, process } = started.request;
  const { check, aliveMs } = process.ready;
  if (check === null) {
    if (started.addresses.length === 0) return livedMs >= aliveMs ? null : "it has not lived long enough";
    return takenReason(watched, livedMs);
  }
  if (check.type === "tcp" && takenReason(watched, livedMs) !== null) return "nothing listens on its sockets";
  const env = { ...started.env, ...addressVariables(started.addresses) };
  const left = AbortSignal.timeout(timerMs(Math.max(1, Math.ceil(process.ready.withinMs - livedMs))));
  const giveUp = AbortSignal.any([watched.watch.ended, left]);
  const context = { plan, env, addresses: started.addresses, clock: systemClock };
  try {
    return await runCheck(check, { ...context, signal: AbortSignal.any([signal, giveUp]) });
  } catch (err) {
    signal.throwIfAborted();
    if (giveUp.aborted) return NO_ANSWER;
    throw err;
  }
}

/** null when every socket of the instance is waited on, as far as can be seen. */
function takenReason(watched: Watched, livedMs: number): string | null {
  for (const address of watched.started.addresses) {
    const seen = socketSeen(watched, address.name, livedMs);
    if (seen !== "waits" && seen !== "unseen") return `nothing waits on the socket ${address.name}`;
  }
  return null;
}

/** A socket as its app finds it: most have one, and only know its port. */
const socketWord = ({ started }: Watched, name: string): string =>
  started.addresses[0]?.name === name ? `${name} ($PORT)` : name;

type Seen = "waits" | "unseen" | "no";

function socketSeen({ started, watch }: Watched, name: string, livedMs: number): Seen {
  const word = started.request.phase === "private" ? "listening" : "attached";
  if (watch.said.has(`${word} ${name}`)) return "waits";
  const inode = started.inodes.get(name);
  if (inode === undefined) {
    const address = started.addresses.find((one) => one.name === name);
    return address !== undefined && listensOn(started.pid, address) ? "waits" : "no";
  }
  if (started.style === "node" && livedMs < WORDLESS_MS) return "no";
  const waiting = waitingOn(started.pid, inode);
  if (waiting === "holds") return livedMs >= UNSEEN_MS && started.style === "socket" ? "unseen" : "no";
  return waiting;
}

/**
 * Waits until the instance is seen waiting on its public sockets; true when that could not be seen and it merely
 * holds them and lives (GATE_UNSEEN).
 * @throws SkeinError SOCKET_NOT_TAKEN, APP_EXITED
 */
export async function untilTaken(watched: Watched, signal: AbortSignal): Promise<boolean> {
  const { started, watch } = watched;
  using lived = new RunningTime();
  const { withinMs } = started.request.process.ready;
  for (;;) {
    if (watch.exit !== undefined) throw exitError(watched, watch.exit);
    const livedMs = lived.ms;
    const seen = started.addresses.map((address) => socketSeen(watched, address.name, livedMs));
    if (seen.every((one) => one !== "no")) return seen.includes("unseen");
    if (livedMs > withinMs) throw timeoutError(watched, "nothing listens on its sockets");
    await watch.pause(Math.min(POLL_MS, withinMs), signal);
  }
}

/** What it said itself: its log also has what earlier ones of its name said. */
function lastWords({ started: { log } }: Watched): string[] {
  return tailOf(log.file, TAIL_LINES, log.from);
}

const IN_USE = /EADDRINUSE|address (?:is )?already in use|Address in use|Errno 98/i;

/** Did it end because somebody else has the port? */
export function endedInUse(watched: Watched): boolean {
  return lastWords(watched).some((line) => IN_USE.test(line));
}

function exitError(watched: Watched, event: Extract<KeeperEvent, { type: "exited" }>): SkeinError {
  const name = nameOf(watched);
  const tail = lastWords(watched);
  const { code, signal } = event.exit;
  const how = signal === null ? `exit status ${code ?? "unknown"}` : `ended by ${signal}`;
  const data = { process: watched.started.request.process.name, code, signal, tail };
  if (watched.started.inodes.size > 0 && endedInUse(watched)) {
    return new SkeinError("SOCKET_NOT_TAKEN", `${name} binds its port itself and found it held (${how})`, {
      data: { ...data, modes: ["port", "gap"] },
    });
  }
  if (code === 127 || code === 126) {
    const why = unstartableOf(watched);
    return new SkeinError(
      "START_FAILED",
      `${name} could not be started (${how})${why === undefined ? "" : `: ${why}`}`,
      { data },
    );
  }
  // Whoever ends well did what it was started for: sent a daemon to the background, or was no service.
  const stay = code === 0 ? "; it has to stay, in the foreground" : "";
  return new SkeinError("APP_EXITED", `${name} ended before it was ready (${how}${stay})`, { data });
}

function unstartableOf({ started }: Watched): string | undefined {
  const { plan, process } = started.request;
  const [program = ""] = argvOf(process.run, started.env);
  return unstartable(plan.dir, program, started.env["PATH"] ?? "");
}

function timeoutError(watched: Watched, reason: string): SkeinError {
  const { started } = watched;
  const name = nameOf(watched);
  const { withinMs } = started.request.process.ready;
  const tail = lastWords(watched);
  const data = { process: started.request.process.name, reason, withinMs, tail };
  const idle = [...started.inodes.keys()].find((socket) => socketSeen(watched, socket, WORDLESS_MS) === "no");
  if (idle !== undefined) {
    return new SkeinError(
      "SOCKET_NOT_TAKEN",
      `${name} did not listen on its socket ${socketWord(watched, idle)} within ${formatDuration(withinMs)}`,
      {
        data: { ...data, modes: ["port", "gap"] },
      },
    );
  }
  return new SkeinError(
    "HEALTH_TIMEOUT",
    `${name} was not ready within ${formatDuration(withinMs)}: ${reason}`,
    { data },
  );
}

function nameOf({ started }: Watched): string {
  const { plan, process, index } = started.request;
  return `${plan.app} ${instanceName(process.name, index)}`;
}
